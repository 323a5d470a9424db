//! Telemetry objects as they hold for one proxy: the mesh's, then the namespace's, then the workload's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_crd::mesh_config::{AccessLogEncoding, FileAccessLog};
use mesh_crd::networking::labels_match;
use mesh_crd::telemetry::{CustomTag as Tag, ModeMatch, TagOperation, Telemetry, WorkloadMode};
use mesh_model::expression::{Expression, Value};
use mesh_model::listener::{
    AccessLog, AccessLogFormat, ConnectionService, CustomTag, Direction, MetricRule, TagSource, Tracing,
};
use mesh_model::snapshot::Snapshot;

use crate::access::{Access, Workload};
use crate::index::Index;
use crate::{ProxyNode, World};

/// Provider of access logs that needs no configuration.
pub(crate) const BUILT_IN: &str = "envoy";
const STDOUT: &str = "/dev/stdout";
const MAX_PATH_TAG: u32 = 256;
const DEFAULT_SAMPLING_PERCENT: f64 = 1.0;

/// What holds for one side of a proxy.
#[derive(Debug, Clone, Default)]
struct Effective {
    access_logs: Vec<AccessLog>,
    tracing: Option<Tracing>,
    metrics: Vec<MetricRule>,
}

/// Both sides of a proxy.
#[derive(Debug, Clone, Default)]
struct Sides {
    /// Outbound, and all of a gateway.
    client: Effective,
    /// Inbound.
    server: Effective,
}

/// What holds for a workload.
fn of(world: &World, index: &Index, workload: Workload<'_>) -> Sides {
    let chosen = chosen(world, index, workload);
    let side = |mode| Effective {
        access_logs: access_logs(world, &chosen, mode),
        tracing: tracing(world, &chosen, mode),
        metrics: metrics(&chosen, mode),
    };
    Sides {
        client: side(WorkloadMode::Client),
        server: side(WorkloadMode::Server),
    }
}

/// Puts what holds into every listener of a proxy.
pub(crate) fn apply(world: &World, index: &Index, node: &ProxyNode, out: &mut Snapshot) {
    if index.accesses.telemetries.is_empty() && world.mesh().default_providers.access_logging.is_empty() {
        return;
    }
    let sides = of(
        world,
        index,
        Workload {
            namespace: &node.namespace,
            labels: &node.labels,
        },
    );
    for listener in out.listeners.values_mut() {
        let side = match listener.direction {
            Direction::Inbound => &sides.server,
            Direction::Outbound | Direction::Unspecified => &sides.client,
        };
        let listener = Arc::make_mut(listener);
        for chain in listener.chains.iter_mut().chain(&mut listener.default_chain) {
            match &mut chain.service {
                ConnectionService::Http(http) => {
                    http.access_logs.clone_from(&side.access_logs);
                    http.tracing.clone_from(&side.tracing);
                    http.metrics.clone_from(&side.metrics);
                }
                ConnectionService::Tcp(tcp) => tcp.access_logs.clone_from(&side.access_logs),
            }
        }
    }
}

/// The objects that hold, the widest first: of each width the oldest.
fn chosen<'a>(world: &World, index: &'a Index, workload: Workload<'_>) -> Vec<&'a Telemetry> {
    let root = world.mesh().root_namespace.as_str();
    let all = &index.accesses.telemetries;
    let bare = |t: &Telemetry| {
        t.target_refs.is_empty()
            && t.target_ref.is_none()
            && t.selector.as_ref().is_none_or(|s| s.match_labels.is_empty())
    };
    let of_namespace = |namespace: &str| all.iter().find(|t| t.key.namespace == namespace && bare(&t.spec));
    let own = all.iter().find(|t: &&Access<Telemetry>| {
        let targets = (t.spec.target_refs.as_slice(), t.spec.target_ref.as_ref());
        t.key.namespace == workload.namespace
            && !bare(&t.spec)
            && match &t.spec.selector {
                Some(selector) => labels_match(&selector.match_labels, workload.labels),
                None => workload.is_meant(world, &t.key, targets, None),
            }
    });
    let namespace = of_namespace(workload.namespace).filter(|_| workload.namespace != root);
    let list = [of_namespace(root), namespace, own];
    list.into_iter().flatten().map(|t| &t.spec).collect()
}

fn is_on(mode: WorkloadMode, matches: Option<ModeMatch>) -> bool {
    let asked = matches.unwrap_or_default().mode;
    asked == WorkloadMode::ClientAndServer || asked == mode
}

/// Logs by provider: a nearer object that names providers replaces those of wider ones.
fn access_logs(world: &World, chosen: &[&Telemetry], mode: WorkloadMode) -> Vec<AccessLog> {
    let mesh = world.mesh();
    let defaults = &mesh.default_providers.access_logging;
    let by_default: Vec<String> = match defaults.as_slice() {
        [] if mesh.access_log_file.is_empty() => Vec::new(),
        [] => vec![BUILT_IN.to_owned()],
        named => named.to_vec(),
    };
    let mut logs: BTreeMap<String, Option<Expression>> =
        by_default.iter().map(|name| (name.clone(), None)).collect();
    for telemetry in chosen {
        let entries = telemetry
            .access_logging
            .iter()
            .filter(|entry| is_on(mode, entry.r#match));
        let mut replaced = false;
        for entry in entries {
            let names: Vec<String> = match entry.providers.as_slice() {
                [] if logs.is_empty() && defaults.is_empty() => vec![BUILT_IN.to_owned()],
                [] if logs.is_empty() => defaults.clone(),
                [] => logs.keys().cloned().collect(),
                named => {
                    if entry.disabled != Some(true) && !std::mem::replace(&mut replaced, true) {
                        logs.clear();
                    }
                    named.iter().map(|p| p.name.clone()).collect()
                }
            };
            for name in names {
                if entry.disabled == Some(true) {
                    logs.remove(&name);
                    continue;
                }
                // Analysis says what is wrong with an expression; nothing is better than everything then.
                let filter = match entry.filter.as_ref().map(|f| Expression::new(&f.expression)) {
                    None => None,
                    Some(Ok(expression)) => Some(expression),
                    Some(Err(_)) => {
                        logs.remove(&name);
                        continue;
                    }
                };
                logs.insert(name, filter);
            }
        }
    }
    logs.into_iter()
        .filter_map(|(name, filter)| {
            let mut log = sink(world, &name)?;
            log.filter = filter;
            Some(log)
        })
        .collect()
}

/// The file of a provider; `None` for those that write no file.
pub(crate) fn sink(world: &World, name: &str) -> Option<AccessLog> {
    let mesh = world.mesh();
    let provider = mesh.extension_providers.iter().find(|p| p.name == name);
    match provider.map(|p| &p.envoy_file_access_log) {
        Some(Some(file)) => Some(file_log(file)),
        Some(None) => None,
        None if name == BUILT_IN => {
            let format = match (mesh.access_log_encoding, mesh.access_log_format.as_str()) {
                (AccessLogEncoding::Json, _) => AccessLogFormat::IstioJson,
                (AccessLogEncoding::Text, "") => AccessLogFormat::IstioText,
                (AccessLogEncoding::Text, format) => AccessLogFormat::Text(format.to_owned()),
            };
            let path = match mesh.access_log_file.as_str() {
                "" => STDOUT,
                file => file,
            };
            Some(AccessLog {
                path: path.to_owned(),
                format,
                filter: None,
            })
        }
        None => None,
    }
}

fn file_log(file: &FileAccessLog) -> AccessLog {
    let format = match &file.log_format {
        Some(format) if !format.text.is_empty() => AccessLogFormat::Text(format.text.clone()),
        Some(format) if !format.labels.is_empty() => {
            let text = |value: &serde_json::Value| match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let fields = format.labels.iter();
            AccessLogFormat::Json(fields.map(|(key, value)| (key.clone(), text(value))).collect())
        }
        _ => AccessLogFormat::IstioText,
    };
    AccessLog {
        path: if file.path.is_empty() { STDOUT } else { &file.path }.to_owned(),
        format,
        filter: None,
    }
}

/// Field by field: what a nearer object says replaces what wider ones say.
fn tracing(world: &World, chosen: &[&Telemetry], mode: WorkloadMode) -> Option<Tracing> {
    let mesh = world.mesh();
    if !mesh.enable_tracing {
        return None;
    }
    let configured = mesh.default_config.tracing.and_then(|t| t.sampling);
    let mut sampling = configured.unwrap_or(DEFAULT_SAMPLING_PERCENT);
    let mut disabled = false;
    let none = BTreeMap::new();
    let mut tags: &BTreeMap<String, Tag> = &none;
    let entries = chosen.iter().flat_map(|telemetry| &telemetry.tracing);
    for entry in entries.filter(|entry| is_on(mode, entry.r#match)) {
        sampling = entry.random_sampling_percentage.unwrap_or(sampling);
        disabled = entry.disable_span_reporting.unwrap_or(disabled);
        if !entry.custom_tags.is_empty() {
            tags = &entry.custom_tags;
        }
    }
    (!disabled).then(|| Tracing {
        sampling_percent: sampling.clamp(0.0, 100.0),
        collector_cluster: None,
        max_path_tag: MAX_PATH_TAG,
        custom_tags: tags
            .iter()
            .filter_map(|(name, tag)| custom_tag(name, tag))
            .collect(),
    })
}

fn custom_tag(name: &str, tag: &Tag) -> Option<CustomTag> {
    let value = match (&tag.literal, &tag.environment, &tag.header) {
        (Some(literal), _, _) => TagSource::Literal(literal.value.clone()),
        (None, Some(variable), _) => TagSource::Environment {
            name: variable.name.clone(),
            default: variable.default_value.clone(),
        },
        (None, None, Some(header)) => TagSource::Header {
            name: header.name.to_ascii_lowercase(),
            default: header.default_value.clone(),
        },
        (None, None, None) => return None,
    };
    Some(CustomTag {
        name: name.to_owned(),
        value,
    })
}

/// All changes, the widest first: a later one wins.
fn metrics(chosen: &[&Telemetry], mode: WorkloadMode) -> Vec<MetricRule> {
    let mut rules = Vec::new();
    let overrides = chosen.iter().flat_map(|t| &t.metrics).flat_map(|m| &m.overrides);
    for change in overrides {
        let matches = change.r#match.clone().unwrap_or_default();
        let both = matches.mode == WorkloadMode::ClientAndServer;
        if !(both || matches.mode == mode) || !matches.custom_metric.is_empty() {
            continue;
        }
        let mut rule = MetricRule {
            metric: match matches.metric.as_str() {
                "" | "ALL_METRICS" => String::new(),
                named => named.to_owned(),
            },
            disabled: change.disabled,
            ..MetricRule::default()
        };
        for (label, tag) in &change.tag_overrides {
            match (tag.operation, literal(&tag.value)) {
                (TagOperation::Remove, _) => rule.remove.push(label.clone()),
                (TagOperation::Upsert, Some(text)) => rule.set.push((label.clone(), text)),
                // Analysis says that it is not acted on.
                (TagOperation::Upsert, None) => {}
            }
        }
        rules.push(rule);
    }
    rules
}

/// The text of an expression that is one.
pub(crate) fn literal(expression: &str) -> Option<String> {
    struct Nothing;
    impl mesh_model::expression::ExpressionFacts for Nothing {
        fn attribute(&self, _: &str, _: Option<&str>) -> Option<Value> {
            None
        }
    }
    match Expression::new(expression).ok()?.value(&Nothing)? {
        Value::Text(text) => String::from_utf8(text).ok(),
        Value::Int(n) => Some(n.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

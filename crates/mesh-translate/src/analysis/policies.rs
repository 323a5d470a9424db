//! The other kinds.

use std::collections::BTreeMap;

use mesh_crd::core::Service;
use mesh_crd::networking::{ServiceEntry, Sidecar, labels_match};
use mesh_crd::object::Untyped;
use mesh_crd::problem::{Severity, code};
use mesh_crd::security::{PeerAuthentication, TargetRef};
use mesh_crd::telemetry::TagOperation;
use mesh_crd::{Object, ObjectKey, Problem, Resource};
use mesh_model::expression::Expression;

use crate::index::Index;
use crate::problem::Findings;
use crate::protocol::Protocol;
use crate::{KeySource, World};

pub(super) fn peer_authentication(
    world: &World,
    key: &ObjectKey,
    r: &Resource<PeerAuthentication>,
    findings: &mut Findings,
) {
    let Some(selector) = r.spec.selector.as_ref().filter(|s| !s.match_labels.is_empty()) else {
        return;
    };
    if key.namespace == world.mesh().root_namespace {
        findings.no_effect(
            key,
            "spec.selector".into(),
            "a selector in the root namespace selects nothing in other namespaces".into(),
            "put the policy into the workload's namespace, or remove the selector",
        );
        return;
    }
    let selected = world
        .pods()
        .any(|p| p.meta.namespace == key.namespace && labels_match(&selector.match_labels, &p.meta.labels));
    if !selected {
        findings.add(
            key,
            Problem::new(
                code::NO_MATCHING_WORKLOADS,
                Severity::Warning,
                "spec.selector",
                "No matching workloads for this resource with the following labels",
                "correct the labels",
            ),
        );
    }
}

pub(super) fn sidecar(index: &Index, key: &ObjectKey, r: &Resource<Sidecar>, findings: &mut Findings) {
    let bare = |r: &Resource<Sidecar>| {
        r.spec
            .workload_selector
            .as_ref()
            .is_none_or(|s| s.labels.is_empty())
    };
    let same = |other: &&Resource<Sidecar>| {
        other.meta.namespace == r.meta.namespace
            && other.meta.name != r.meta.name
            && bare(other) == bare(r)
            && (bare(r)
                || other.spec.workload_selector.as_ref().map(|s| &s.labels)
                    == r.spec.workload_selector.as_ref().map(|s| &s.labels))
    };
    if let Some(other) = index.sidecars().find(same) {
        let (code, what) = if bare(r) {
            (code::MULTIPLE_SIDECARS_WITHOUT_SELECTOR, "without selector")
        } else {
            (code::CONFLICTING_SIDECAR_SELECTORS, "with the same selector")
        };
        findings.add(
            key,
            Problem::new(
                code,
                Severity::Error,
                "spec.workloadSelector",
                format!(
                    "Sidecar {}/{} is {what} too: the older one is used",
                    other.meta.namespace, other.meta.name
                ),
                "keep one of them",
            ),
        );
    }
    for (i, listener) in r.spec.ingress.iter().enumerate() {
        if crate::inbound::application_port(&listener.default_endpoint, 1).is_none() {
            findings.unsupported(
                key,
                format!("spec.ingress[{i}].defaultEndpoint"),
                "applications are reached by address and port only: this port is closed",
                "write 127.0.0.1:PORT",
            );
        }
        if listener.tls.is_some() {
            findings.unsupported(
                key,
                format!("spec.ingress[{i}].tls"),
                "sidecars present the mesh's certificate only",
                "remove it, or end TLS at a gateway",
            );
        }
    }
    if r.spec
        .outbound_traffic_policy
        .as_ref()
        .is_some_and(|p| p.egress_proxy.is_some())
    {
        findings.unsupported(
            key,
            "spec.outboundTrafficPolicy.egressProxy".into(),
            "not acted on yet",
            "remove it",
        );
    }
    for (i, _) in r.spec.egress.iter().enumerate().filter(|(_, e)| e.port.is_some()) {
        findings.unsupported(
            key,
            format!("spec.egress[{i}].port"),
            "the hosts are imported on every port",
            "remove the port",
        );
    }
}

pub(super) fn service_entry(key: &ObjectKey, r: &Resource<ServiceEntry>, findings: &mut Findings) {
    for (i, port) in r.spec.ports.iter().enumerate() {
        let http = Protocol::by_name(&port.protocol).is_some_and(Protocol::is_http);
        if !http && r.spec.addresses.is_empty() && !port.protocol.is_empty() {
            findings.no_effect(
                key,
                format!("spec.ports[{i}]"),
                format!(
                    "port {} is no HTTP and the entry has no address: connections cannot be told apart by name",
                    port.number
                ),
                "add spec.addresses",
            );
        }
    }
}

pub(super) fn service(key: &ObjectKey, r: &Resource<Service>, findings: &mut Findings) {
    let system = matches!(key.namespace.as_str(), "kube-system" | "kube-public");
    for (i, port) in r.spec.ports.iter().enumerate().filter(|_| !system) {
        let protocol = Protocol::of_service_port(port.port, &port.name, &port.app_protocol, &port.protocol);
        if protocol == Protocol::Auto && r.spec.service_type != "ExternalName" {
            findings.add(
                key,
                Problem::new(
                    code::PORT_NAME_NOT_UNDER_CONVENTION,
                    Severity::Info,
                    format!("spec.ports[{i}].name"),
                    format!(
                        "Port name {} (port: {}) doesn't follow the naming convention of Istio port: the protocol is detected",
                        port.name, port.port
                    ),
                    "name it <protocol>[-<suffix>], or set appProtocol",
                ),
            );
        }
    }
}

/// Kinds that are kept but do nothing yet: that must not be silent, least of all for policies.
pub(super) fn untyped(
    world: &World,
    index: &Index,
    key: &ObjectKey,
    spec: &Untyped,
    findings: &mut Findings,
) {
    attached(key, spec, findings);
    if spec.spec.get("action").and_then(serde_json::Value::as_str) == Some("CUSTOM") {
        custom(world, index, key, spec, findings);
    }
    if key.kind == "RequestAuthentication" {
        issuers(world, index, key, findings);
    }
    let what = match spec.kind {
        "Telemetry" => return telemetry(world, index, key, findings),
        "AuthorizationPolicy" | "RequestAuthentication" | "WorkloadGroup" => return,
        _ => "this kind is kept but not acted on yet",
    };
    findings.add(
        key,
        Problem::new(
            code::NOT_SUPPORTED,
            Severity::Warning,
            "spec",
            what,
            "do not rely on it",
        ),
    );
}

/// Objects that policies are attached to have proxies of their own, or the policy holds nowhere.
fn attached(key: &ObjectKey, spec: &Untyped, findings: &mut Findings) {
    let text = |value: &serde_json::Value, name: &str| {
        let text = value.get(name).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let list = spec.spec.get("targetRefs").and_then(serde_json::Value::as_array);
    let targets = list.into_iter().flatten().enumerate();
    let targets = targets.map(|(i, value)| (format!("spec.targetRefs[{i}]"), value));
    let one = spec
        .spec
        .get("targetRef")
        .map(|value| ("spec.targetRef".to_owned(), value));
    for (field, value) in targets.chain(one) {
        let target = TargetRef {
            group: text(value, "group"),
            kind: text(value, "kind"),
            name: text(value, "name"),
        };
        if !crate::access::is_gateway(&target) {
            findings.no_effect(
                key,
                field,
                format!(
                    "a {} has no proxy of its own here: nothing is attached to {}",
                    target.kind, target.name
                ),
                "use spec.selector",
            );
        }
    }
}

/// What a CUSTOM policy matches is refused when its service cannot be asked.
fn custom(world: &World, index: &Index, key: &ObjectKey, spec: &Untyped, findings: &mut Findings) {
    let name = spec.spec.get("provider").and_then(|p| p.get("name"));
    let name = name.and_then(serde_json::Value::as_str).unwrap_or_default();
    if let Err(reason) = crate::access::custom::external(world, index, name) {
        findings.add(
            key,
            Problem::new(
                code::REFERENCED_RESOURCE_NOT_FOUND,
                Severity::Error,
                "spec.provider.name",
                format!("{reason}: what the rules match is refused"),
                "add the provider to extensionProviders in ConfigMap istio, or correct its service and port",
            ),
        );
    }
}

/// Issuers whose keys cannot be had: their tokens are refused.
fn issuers(world: &World, index: &Index, key: &ObjectKey, findings: &mut Findings) {
    let Some(policy) = index.accesses.tokens.iter().find(|policy| policy.key == *key) else {
        return;
    };
    for (i, rule) in policy.spec.jwt_rules.iter().enumerate() {
        let known = KeySource::of(rule).and_then(|source| world.keys(&source));
        let Some((problem, keys)) = known.and_then(|set| Some((set.problem.as_ref()?, &set.keys))) else {
            continue;
        };
        let (severity, effect) = match keys {
            Some(_) => (Severity::Warning, "the last keys hold for some hours"),
            None => (Severity::Error, "every token of this issuer is refused"),
        };
        findings.add(
            key,
            Problem::new(
                code::KEYS_UNAVAILABLE,
                severity,
                format!("spec.jwtRules[{i}].jwksUri"),
                format!("keys cannot be fetched: {problem}: {effect}"),
                "correct the URL, let the control plane reach it (--jwks-allow), or write the keys into jwks",
            ),
        );
    }
}

/// What of a Telemetry object has no effect here.
fn telemetry(world: &World, index: &Index, key: &ObjectKey, findings: &mut Findings) {
    let Some(telemetry) = index.accesses.telemetries.iter().find(|t| t.key == *key) else {
        return;
    };
    for (i, log) in telemetry.spec.access_logging.iter().enumerate() {
        let at = format!("spec.accessLogging[{i}]");
        for (n, provider) in log.providers.iter().enumerate() {
            if crate::telemetry::sink(world, &provider.name).is_none() {
                findings.unsupported(
                    key,
                    format!("{at}.providers[{n}].name"),
                    "no extension provider of this name writes access logs into a file: nothing is logged",
                    "use `envoy`, or an extension provider with envoyFileAccessLog",
                );
            }
        }
        let filter = log.filter.as_ref().map(|f| Expression::new(&f.expression));
        if let Some(Err(reason)) = filter {
            findings.add(
                key,
                Problem::invalid(
                    format!("{at}.filter.expression"),
                    format!("{reason}: nothing is logged"),
                    "correct the expression",
                ),
            );
        }
    }
    let overrides = telemetry.spec.metrics.iter().enumerate();
    let overrides = overrides.flat_map(|(i, m)| m.overrides.iter().enumerate().map(move |(n, o)| (i, n, o)));
    for (i, n, change) in overrides {
        let at = format!("spec.metrics[{i}].overrides[{n}]");
        if change
            .r#match
            .as_ref()
            .is_some_and(|m| !m.custom_metric.is_empty())
        {
            let field = format!("{at}.match.customMetric");
            findings.unsupported(key, field, "there are no metrics but Istio's", "remove it");
        }
        for (label, tag) in &change.tag_overrides {
            let set = tag.operation == TagOperation::Upsert;
            if set && crate::telemetry::literal(&tag.value).is_none() {
                findings.unsupported(
                    key,
                    format!("{at}.tagOverrides[{label}].value"),
                    "labels take no value that a client chooses: only a fixed text is set",
                    "write a text ('\"...\"'), or look at single requests in the console",
                );
            }
        }
    }
}

/// Only one Telemetry without selector counts in a namespace.
pub(super) fn several_telemetries(world: &World, findings: &mut Findings) {
    let mut first: BTreeMap<&str, &ObjectKey> = BTreeMap::new();
    for (key, object) in world.objects().filter(|(k, _)| k.kind == "Telemetry") {
        let Object::Other(r) = object.as_ref() else {
            continue;
        };
        if r.spec.spec.get("selector").is_some() || r.spec.spec.get("targetRefs").is_some() {
            continue;
        }
        if let Some(other) = first.insert(&key.namespace, key) {
            findings.add(
                key,
                Problem::new(
                    code::MULTIPLE_TELEMETRIES,
                    Severity::Error,
                    "spec",
                    format!(
                        "Telemetry {}/{} is without selector too",
                        other.namespace, other.name
                    ),
                    "keep one of them",
                ),
            );
        }
    }
}

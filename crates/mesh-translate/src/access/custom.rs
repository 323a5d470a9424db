//! AuthorizationPolicy CUSTOM: which service is asked. Whatever is unclear refuses what the rules match.

use std::sync::Arc;
use std::time::Duration;

use mesh_crd::mesh_config::{ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider};
use mesh_crd::security::{AuthorizationPolicy, PolicyActionSpec};
use mesh_model::authorization::{CheckBody, CheckProtocol, External, HttpCheck, PolicyRule};
use mesh_model::matching::StringMatch;

use super::{Access, condition};
use crate::World;
use crate::index::Index;
use crate::registry::MeshService;

/// As Istio asks when a provider says nothing.
const TIMEOUT: Duration = Duration::from_secs(600);
const STATUS_ON_ERROR: u16 = 403;

/// Who is asked about the requests of a workload.
#[derive(Debug)]
pub(super) enum Custom {
    /// Nobody: there is no policy that asks.
    Unused,
    /// Nobody can be asked; what the rules match is refused.
    Bad,
    /// This service.
    Ask(Box<External>, Arc<MeshService>),
}

/// Name of the provider of a policy.
pub(super) fn provider(spec: &AuthorizationPolicy) -> &str {
    spec.provider.as_ref().map_or("", |p| p.name.as_str())
}

/// Name of a rule, as Istio writes it.
pub(super) fn rule_name(policy: &Access<AuthorizationPolicy>, number: usize) -> String {
    let key = &policy.key;
    format!(
        "istio-ext-authz-{}-ns[{}]-policy[{}]-rule[{number}]",
        provider(&policy.spec),
        key.namespace,
        key.name
    )
}

/// The one service that the policies of a workload ask. Several providers are none, as in Istio's sidecars.
pub(super) fn of(world: &World, index: &Index, selected: &[&Access<AuthorizationPolicy>]) -> Custom {
    let mut asking = selected
        .iter()
        .filter(|p| p.spec.action == PolicyActionSpec::Custom && !p.dry_run)
        .map(|p| provider(&p.spec));
    let Some(name) = asking.next() else {
        return Custom::Unused;
    };
    if asking.any(|other| other != name) {
        return Custom::Bad;
    }
    match external(world, index, name) {
        Ok((mut external, service)) => {
            external.when = Some(rules(world, selected));
            Custom::Ask(Box::new(external), service)
        }
        Err(_) => Custom::Bad,
    }
}

fn rules(world: &World, selected: &[&Access<AuthorizationPolicy>]) -> Vec<PolicyRule> {
    let mut list = Vec::new();
    for policy in selected
        .iter()
        .filter(|p| p.spec.action == PolicyActionSpec::Custom && !p.dry_run)
    {
        let place = condition::Place {
            tcp: false,
            allow: false,
            trust_domain: &world.mesh().trust_domain,
            namespace: &policy.key.namespace,
        };
        for (i, rule) in policy.spec.rules.iter().enumerate() {
            if let Some((permissions, principals)) = place.rule(rule) {
                list.push(PolicyRule {
                    name: rule_name(policy, i),
                    permissions,
                    principals,
                });
            }
        }
    }
    // The wire has them by name.
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

/// The question to a provider, without the rules; or why it cannot be asked.
pub(crate) fn external(
    world: &World,
    index: &Index,
    name: &str,
) -> Result<(External, Arc<MeshService>), String> {
    let provider = world
        .mesh()
        .extension_providers
        .iter()
        .find(|p| p.name == name)
        .ok_or_else(|| format!("no extension provider {name:?} in the mesh configuration"))?;
    let (service, port) = place(provider)?;
    let host = service.split_once('/').map_or(service, |(_, host)| host);
    let found = index
        .registry
        .by_host(&host.to_ascii_lowercase())
        .filter(|s| service.split_once('/').is_none_or(|(ns, _)| s.namespace == ns))
        .ok_or_else(|| format!("provider {name:?} names service {service:?}, which does not exist"))?;
    let number = u16::try_from(port)
        .ok()
        .filter(|n| found.port(*n).is_some())
        .ok_or_else(|| format!("provider {name:?} names port {port}, which {host} does not have"))?;
    let cluster = format!("outbound|{number}||{}", found.host);
    let made = match (&provider.envoy_ext_authz_http, &provider.envoy_ext_authz_grpc) {
        (Some(http), _) => over_http(name, cluster, http),
        (None, Some(grpc)) => over_grpc(name, cluster, &found.host, grpc),
        (None, None) => return Err(format!("extension provider {name:?} is none for authorization")),
    };
    Ok((made, Arc::clone(found)))
}

fn place(provider: &ExtensionProvider) -> Result<(&str, u32), String> {
    match (&provider.envoy_ext_authz_http, &provider.envoy_ext_authz_grpc) {
        (Some(http), _) => Ok((&http.service, http.port)),
        (None, Some(grpc)) => Ok((&grpc.service, grpc.port)),
        (None, None) => Err(format!(
            "extension provider {:?} is none for authorization",
            provider.name
        )),
    }
}

fn over_http(name: &str, cluster: String, http: &ExtAuthzHttp) -> External {
    let shown = http
        .include_request_headers_in_check
        .iter()
        .chain(&http.include_headers_in_check);
    External {
        provider: name.to_owned(),
        when: None,
        cluster,
        protocol: CheckProtocol::Http(Box::new(HttpCheck {
            path_prefix: http.path_prefix.clone(),
            shown: shown.map(|text| header(text)).collect(),
            add: http
                .include_additional_headers_in_check
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect(),
            to_upstream: headers(&http.headers_to_upstream_on_allow),
            to_client_on_deny: headers(&http.headers_to_downstream_on_deny),
            to_client_on_allow: headers(&http.headers_to_downstream_on_allow),
        })),
        timeout: http.timeout.unwrap_or(TIMEOUT),
        fail_open: http.fail_open,
        status_on_error: http.status_on_error.unwrap_or(STATUS_ON_ERROR),
        body: http.include_request_body_in_check.map(body),
        clear_route_cache: http.clear_route_cache,
    }
}

fn over_grpc(name: &str, cluster: String, host: &str, grpc: &ExtAuthzGrpc) -> External {
    External {
        provider: name.to_owned(),
        when: None,
        cluster,
        protocol: CheckProtocol::Grpc {
            authority: host.to_owned(),
        },
        timeout: grpc.timeout.unwrap_or(TIMEOUT),
        fail_open: grpc.fail_open,
        status_on_error: grpc.status_on_error.unwrap_or(STATUS_ON_ERROR),
        body: grpc.include_request_body_in_check.map(body),
        clear_route_cache: grpc.clear_route_cache,
    }
}

fn body(from: ExtAuthzBody) -> CheckBody {
    CheckBody {
        max_bytes: from.max_request_bytes,
        allow_partial: from.allow_partial_message,
        as_bytes: from.pack_as_bytes,
    }
}

fn headers(list: &[String]) -> Vec<StringMatch> {
    list.iter().map(|text| header(text)).collect()
}

/// `name`, `prefix*`, `*suffix`.
fn header(text: &str) -> StringMatch {
    let text = text.to_ascii_lowercase();
    if let Some(prefix) = text.strip_suffix('*') {
        StringMatch::Prefix(prefix.to_owned())
    } else if let Some(suffix) = text.strip_prefix('*') {
        StringMatch::Suffix(suffix.to_owned())
    } else {
        StringMatch::Exact(text)
    }
}

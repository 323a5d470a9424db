//! Kept requests as the API shows them (pure). Recorded texts go through unchanged: they are text everywhere.

use mesh_api::requests::KeptRequest;
use mesh_model::record;
use mesh_model::workload::{UNKNOWN, Workload};

/// `namespace/workload`, or `unknown`.
pub(in crate::query) fn node(workload: &Workload) -> String {
    if workload.name == UNKNOWN {
        UNKNOWN.into()
    } else {
        format!("{}/{}", workload.namespace, workload.name)
    }
}

/// `namespace/app`, or `unknown`.
pub(in crate::query) fn app(workload: &Workload) -> String {
    if workload.app == UNKNOWN {
        UNKNOWN.into()
    } else {
        format!("{}/{}", workload.namespace, workload.app)
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with less precision anyway")]
pub(in crate::query) fn number(value: u64) -> f64 {
    value as f64
}

/// RFC 3339 with microseconds.
pub(in crate::query) fn time(ns: u64) -> String {
    let micros = i64::try_from(ns / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .map(|at| format!("{at:.6}"))
        .unwrap_or_default()
}

/// The name of a filter's parameter: `virtual_service` is `virtualService`.
pub(super) fn parameter(field: &str) -> String {
    let mut parts = field.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

pub(super) fn request(request: &record::KeptRequest) -> KeptRequest {
    let key = &request.key;
    KeptRequest {
        trace: request.trace_id.to_string(),
        span: request.span_id.to_string(),
        proxy: request.proxy.clone(),
        started: time(request.started_ns),
        duration_ms: number(request.duration_ns) / 1e6,
        reason: request.reason.as_str().to_owned(),
        reporter: key.reporter.as_str().to_owned(),
        source: node(&key.source),
        destination: node(&key.destination),
        source_app: app(&key.source),
        destination_app: app(&key.destination),
        destination_version: key.destination.version.clone(),
        source_principal: key.source_principal.clone(),
        service: key.service.host.clone(),
        protocol: key.protocol.as_str().to_owned(),
        code: key.response_code,
        grpc_status: key.grpc_status,
        flags: key.flags.to_string(),
        details: request.details.clone(),
        mutual_tls: key.mutual_tls,
        virtual_service: key.origin.virtual_service.clone(),
        route: key.origin.route.clone(),
        match_name: key.origin.match_name.clone(),
        revision: key.origin.revision.clone(),
        method: request.method.clone(),
        authority: request.authority.clone(),
        path: request.path.clone(),
        http_version: request.http_version.clone(),
        user_agent: request.user_agent.clone(),
        request_id: request.request_id.clone(),
        upstream_host: request.upstream_host.clone(),
        upstream_cluster: request.upstream_cluster.clone(),
        downstream_remote: request.downstream_remote.clone(),
        attempts: request.attempts,
        request_bytes: request.request_bytes,
        response_bytes: request.response_bytes,
        headers: request.headers.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parameter, time};

    #[test]
    fn names_and_times() {
        for (field, wanted) in [
            ("code", "code"),
            ("virtual_service", "virtualService"),
            ("a_b_c", "aBC"),
        ] {
            assert_eq!(parameter(field), wanted);
        }
        assert_eq!(time(1_700_002_800_000_001_999), "2023-11-14T23:00:00.000001Z");
    }
}

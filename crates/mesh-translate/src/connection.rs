//! Settings of HTTP connections, access logs and tracing that hold for a whole proxy.

use std::time::Duration;

use mesh_crd::mesh_config::Normalization;
use mesh_model::authorization::Policies;
use mesh_model::listener::{AccessLog, Codec, ForwardClientCert, HttpConnection, RouteSource, Tracing};

use crate::World;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Gateways cut clients that send their headers slowly.
const GATEWAY_HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_PATH_TAG: u32 = 256;
const DEFAULT_SAMPLING_PERCENT: f64 = 1.0;

/// Which place a connection has in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the application.
    Outbound,
    /// To the application.
    Inbound,
    /// From outside.
    Gateway,
}

/// An HTTP connection with the mesh's settings.
pub(crate) fn http(world: &World, place: Place, stat_prefix: String, routes: RouteSource) -> HttpConnection {
    let gateway = place == Place::Gateway;
    let normalization = world.mesh().path_normalization.normalization;
    HttpConnection {
        stat_prefix,
        routes,
        codec: Codec::Auto,
        server_name: Some(match place {
            Place::Outbound => "envoy".into(),
            Place::Inbound | Place::Gateway => "istio-envoy".into(),
        }),
        server_name_if_absent: false,
        use_remote_address: gateway,
        trusted_hops: 0,
        forward_client_cert: match place {
            Place::Inbound => ForwardClientCert::AppendForward,
            Place::Gateway => ForwardClientCert::SanitizeSet,
            Place::Outbound => ForwardClientCert::Sanitize,
        },
        accept_http_10: false,
        normalize_path: normalization != Normalization::None,
        merge_slashes: matches!(
            normalization,
            Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes
        ),
        preserve_external_request_id: !gateway,
        generate_request_id: true,
        stream_idle_timeout: None,
        request_headers_timeout: gateway.then_some(GATEWAY_HEADERS_TIMEOUT),
        idle_timeout: Some(IDLE_TIMEOUT),
        max_request_headers_kib: 60,
        max_headers_count: 100,
        access_logs: access_logs(world),
        tracing: tracing(world),
        metrics: Vec::new(),
        scheme_from_transport: gateway,
        external: Vec::new(),
        tokens: None,
        policies: Policies::default(),
    }
}

/// Sinks as the mesh configuration says; Telemetry objects have the last word.
pub(crate) fn access_logs(world: &World) -> Vec<AccessLog> {
    if world.mesh().access_log_file.is_empty() {
        return Vec::new();
    }
    crate::telemetry::sink(world, crate::telemetry::BUILT_IN)
        .into_iter()
        .collect()
}

fn tracing(world: &World) -> Option<Tracing> {
    let mesh = world.mesh();
    mesh.enable_tracing.then(|| Tracing {
        sampling_percent: mesh
            .default_config
            .tracing
            .and_then(|t| t.sampling)
            .unwrap_or(DEFAULT_SAMPLING_PERCENT)
            .clamp(0.0, 100.0),
        collector_cluster: None,
        max_path_tag: MAX_PATH_TAG,
        custom_tags: Vec::new(),
    })
}

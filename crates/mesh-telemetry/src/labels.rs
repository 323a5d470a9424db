//! Label names: Istio's, then ours.

/// Which proxy reports: `source`, `destination`.
pub const REPORTER: &str = "reporter";

/// Workload of the client.
pub const SOURCE_WORKLOAD: &str = "source_workload";
/// Namespace of the client's workload.
pub const SOURCE_WORKLOAD_NAMESPACE: &str = "source_workload_namespace";
/// SPIFFE id of the client.
pub const SOURCE_PRINCIPAL: &str = "source_principal";
/// `app` of the client.
pub const SOURCE_APP: &str = "source_app";
/// `version` of the client.
pub const SOURCE_VERSION: &str = "source_version";
/// Cluster id of the client.
pub const SOURCE_CLUSTER: &str = "source_cluster";
/// Canonical service of the client.
pub const SOURCE_CANONICAL_SERVICE: &str = "source_canonical_service";
/// Canonical revision of the client.
pub const SOURCE_CANONICAL_REVISION: &str = "source_canonical_revision";

/// Workload of the server.
pub const DESTINATION_WORKLOAD: &str = "destination_workload";
/// Namespace of the server's workload.
pub const DESTINATION_WORKLOAD_NAMESPACE: &str = "destination_workload_namespace";
/// SPIFFE id of the server.
pub const DESTINATION_PRINCIPAL: &str = "destination_principal";
/// `app` of the server.
pub const DESTINATION_APP: &str = "destination_app";
/// `version` of the server.
pub const DESTINATION_VERSION: &str = "destination_version";
/// Cluster id of the server.
pub const DESTINATION_CLUSTER: &str = "destination_cluster";
/// FQDN of the service that was called.
pub const DESTINATION_SERVICE: &str = "destination_service";
/// Short name of the service that was called.
pub const DESTINATION_SERVICE_NAME: &str = "destination_service_name";
/// Namespace of the service that was called.
pub const DESTINATION_SERVICE_NAMESPACE: &str = "destination_service_namespace";
/// Canonical service of the server.
pub const DESTINATION_CANONICAL_SERVICE: &str = "destination_canonical_service";
/// Canonical revision of the server.
pub const DESTINATION_CANONICAL_REVISION: &str = "destination_canonical_revision";

/// `http`, `grpc`, `tcp`.
pub const REQUEST_PROTOCOL: &str = "request_protocol";
/// HTTP status, `0` if none was sent. HTTP metrics only.
pub const RESPONSE_CODE: &str = "response_code";
/// gRPC status as a number, empty unless gRPC. HTTP metrics only.
pub const GRPC_RESPONSE_STATUS: &str = "grpc_response_status";
/// Envoy's flags, `-` for none.
pub const RESPONSE_FLAGS: &str = "response_flags";
/// `mutual_tls` or `none` at the destination, `unknown` at the source.
pub const CONNECTION_SECURITY_POLICY: &str = "connection_security_policy";

/// Ours: `namespace/name` of the VirtualService that decided, empty for generated rules.
pub const VIRTUAL_SERVICE: &str = "virtual_service";
/// Ours: name of the rule that decided.
pub const ROUTE: &str = "route";
/// Ours: name of the match that decided.
pub const MATCH: &str = "match";
/// Ours, OTLP only: revision of the VirtualService that decided.
pub const ROUTE_REVISION: &str = "route_revision";
/// Ours, OTLP only: `true` if the hop was mutual TLS; known at both sides.
pub const MUTUAL_TLS: &str = "mutual_tls";

/// Labels of every Istio standard metric, in the order in which they are written.
pub const STANDARD: &[&str] = &[
    REPORTER,
    SOURCE_WORKLOAD,
    SOURCE_CANONICAL_SERVICE,
    SOURCE_CANONICAL_REVISION,
    SOURCE_WORKLOAD_NAMESPACE,
    SOURCE_PRINCIPAL,
    SOURCE_APP,
    SOURCE_VERSION,
    SOURCE_CLUSTER,
    DESTINATION_WORKLOAD,
    DESTINATION_WORKLOAD_NAMESPACE,
    DESTINATION_PRINCIPAL,
    DESTINATION_APP,
    DESTINATION_VERSION,
    DESTINATION_SERVICE,
    DESTINATION_CANONICAL_SERVICE,
    DESTINATION_CANONICAL_REVISION,
    DESTINATION_SERVICE_NAME,
    DESTINATION_SERVICE_NAMESPACE,
    DESTINATION_CLUSTER,
    REQUEST_PROTOCOL,
    RESPONSE_FLAGS,
    CONNECTION_SECURITY_POLICY,
];

/// Further labels of the HTTP and gRPC metrics.
pub const HTTP_ONLY: &[&str] = &[RESPONSE_CODE, GRPC_RESPONSE_STATUS];

/// Labels of the `sightline_route_*` metrics, in the order in which they are written.
pub const PER_ROUTE: &[&str] = &[
    REPORTER,
    SOURCE_WORKLOAD,
    SOURCE_WORKLOAD_NAMESPACE,
    DESTINATION_SERVICE,
    DESTINATION_SERVICE_NAMESPACE,
    DESTINATION_WORKLOAD,
    DESTINATION_VERSION,
    VIRTUAL_SERVICE,
    ROUTE,
    MATCH,
    RESPONSE_CODE,
    RESPONSE_FLAGS,
    REQUEST_PROTOCOL,
];

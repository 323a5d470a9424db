//! Span attributes: Envoy's and Istio's tags, then ours.

macro_rules! attributes {
    ($($name:ident = $key:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: &str = $key;)*
    };
}

attributes! {
    COMPONENT = "component", "Always `proxy`.";
    NODE_ID = "node_id", "Node id of the proxy.";
    REQUEST_ID = "guid:x-request-id", "Request id.";
    HTTP_URL = "http.url", "URL, path cut at 256 bytes.";
    HTTP_METHOD = "http.method", "Method.";
    HTTP_PROTOCOL = "http.protocol", "Protocol.";
    HTTP_STATUS_CODE = "http.status_code", "Status.";
    USER_AGENT = "user_agent", "User agent.";
    REQUEST_SIZE = "request_size", "Request bytes.";
    RESPONSE_SIZE = "response_size", "Response bytes.";
    RESPONSE_FLAGS = "response_flags", "Flags.";
    PEER_ADDRESS = "peer.address", "Address of the peer.";
    UPSTREAM_CLUSTER = "upstream_cluster", "Cluster.";
    UPSTREAM_CLUSTER_NAME = "upstream_cluster.name", "Cluster, observability name.";
    DOWNSTREAM_CLUSTER = "downstream_cluster", "Cluster of the caller.";
    ZONE = "zone", "Zone.";
    ERROR = "error", "`true` on 5xx and resets.";
    ISTIO_MESH_ID = "istio.mesh_id", "Mesh id.";
    ISTIO_NAMESPACE = "istio.namespace", "Namespace.";
    ISTIO_CLUSTER_ID = "istio.cluster_id", "Cluster id.";
    ISTIO_CANONICAL_SERVICE = "istio.canonical_service", "Canonical service.";
    ISTIO_CANONICAL_REVISION = "istio.canonical_revision", "Canonical revision.";
    SIGHTLINE_VIRTUAL_SERVICE = "sightline.virtual_service", "`namespace/name` of the VirtualService that decided.";
    SIGHTLINE_ROUTE = "sightline.route", "Name of its rule.";
    SIGHTLINE_MATCH = "sightline.match", "Name of its match.";
    SIGHTLINE_SAMPLED = "sightline.sampled", "Head decision (boolean); between proxy and control plane only.";
    ISTIO_SOURCE_WORKLOAD = "istio.source_workload", "Workload of the caller.";
    ISTIO_DESTINATION_WORKLOAD = "istio.destination_workload", "Workload of the server.";
    UPSTREAM_ADDRESS = "upstream_address", "Endpoint of the last attempt.";
    GRPC_STATUS_CODE = "grpc.status_code", "gRPC status, as a number.";
    SIGHTLINE_ATTEMPTS = "sightline.attempts", "Upstream attempts.";
    SIGHTLINE_DETAILS = "sightline.response_code_details", "Why this status.";
    SERVICE_NAME = "service.name", "Resource: `<app>.<namespace>`.";
    SERVICE_VERSION = "service.version", "Resource: canonical revision.";
    SERVICE_INSTANCE_ID = "service.instance.id", "Resource: node id of the proxy.";
    K8S_NAMESPACE_NAME = "k8s.namespace.name", "Resource: namespace.";
    K8S_WORKLOAD_NAME = "k8s.deployment.name", "Resource: workload.";
    K8S_CLUSTER_NAME = "k8s.cluster.name", "Resource: cluster id.";
}

//! Access-log fields: Istio's default text format and JSON keys, then ours.

/// Istio's default text format, as Envoy writes it (command operators), with the final newline.
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
);

macro_rules! keys {
    ($list:ident, $list_doc:literal; $($name:ident = $key:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: &str = $key;)*
        #[doc = $list_doc]
        pub const $list: &[&str] = &[$($name),*];
    };
}

keys! {
    ISTIO_KEYS, "Istio's JSON keys. Numbers stay numbers; what is absent is null.";
    START_TIME = "start_time", "Start of the request, ISO 8601 with milliseconds, UTC.";
    ROUTE_NAME = "route_name", "Name of the rule.";
    METHOD = "method", "Method.";
    PATH = "path", "Path as the client sent it.";
    PROTOCOL = "protocol", "`HTTP/1.1`, `HTTP/2`.";
    RESPONSE_CODE = "response_code", "Status; 0 if none was sent.";
    RESPONSE_FLAGS = "response_flags", "Flags; `-` if none.";
    RESPONSE_CODE_DETAILS = "response_code_details", "Why this status.";
    CONNECTION_TERMINATION_DETAILS = "connection_termination_details", "Why the connection was ended.";
    BYTES_RECEIVED = "bytes_received", "Body bytes of the request.";
    BYTES_SENT = "bytes_sent", "Body bytes of the response.";
    DURATION = "duration", "Milliseconds, first byte in to last byte out.";
    UPSTREAM_SERVICE_TIME = "upstream_service_time", "Milliseconds that the upstream took.";
    X_FORWARDED_FOR = "x_forwarded_for", "Header of the request.";
    USER_AGENT = "user_agent", "Header of the request.";
    REQUEST_ID = "request_id", "`x-request-id`.";
    AUTHORITY = "authority", "Authority of the request.";
    UPSTREAM_HOST = "upstream_host", "Endpoint of the last attempt.";
    UPSTREAM_CLUSTER = "upstream_cluster", "Cluster of the last attempt.";
    UPSTREAM_LOCAL_ADDRESS = "upstream_local_address", "Own address toward the upstream.";
    DOWNSTREAM_LOCAL_ADDRESS = "downstream_local_address", "Own address toward the client.";
    DOWNSTREAM_REMOTE_ADDRESS = "downstream_remote_address", "The client's address.";
    REQUESTED_SERVER_NAME = "requested_server_name", "SNI.";
    UPSTREAM_TRANSPORT_FAILURE_REASON = "upstream_transport_failure_reason", "TLS failure toward the upstream.";
}

keys! {
    OWN_KEYS, "Keys that we add in JSON; the text format stays Istio's.";
    VIRTUAL_SERVICE = "virtual_service", "`namespace/name` of the VirtualService that decided.";
    ROUTE = "route", "Name of its rule.";
    MATCH = "match", "Name of its match.";
    SOURCE_WORKLOAD = "source_workload", "Workload of the client.";
    DESTINATION_WORKLOAD = "destination_workload", "Workload of the server.";
    ATTEMPTS = "attempts", "Upstream attempts.";
    TRACE_ID = "trace_id", "Trace id, if there is one.";
    POLICY = "policy", "Authorization policy that decided, if one did.";
}

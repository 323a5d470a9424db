//! Short names for Envoy's generated message types, and the wrappers that both directions use.

pub(crate) use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
pub(crate) use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
pub(crate) use envoy_types::pb::envoy::config::cluster::v3 as cluster;
pub(crate) use envoy_types::pb::envoy::config::core::v3 as core;
pub(crate) use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
pub(crate) use envoy_types::pb::envoy::config::listener::v3 as listener;
pub(crate) use envoy_types::pb::envoy::config::rbac::v3 as rbac;
pub(crate) use envoy_types::pb::envoy::config::route::v3 as route;
pub(crate) use envoy_types::pb::envoy::config::trace::v3 as trace;
pub(crate) use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file_log;
pub(crate) use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3 as cel;
pub(crate) use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream_log;
pub(crate) use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_fault;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3 as ext_authz;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as jwt;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http_rbac;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::router::v3 as router;
pub(crate) use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3 as http_inspector;
pub(crate) use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3 as original_dst;
pub(crate) use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
pub(crate) use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
pub(crate) use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as tcp_rbac;
pub(crate) use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
pub(crate) use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3 as previous_hosts;
pub(crate) use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3 as raw_buffer;
pub(crate) use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
pub(crate) use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;
pub(crate) use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
pub(crate) use envoy_types::pb::envoy::r#type::tracing::v3 as tag;
pub(crate) use envoy_types::pb::envoy::r#type::v3 as kind;
pub(crate) use envoy_types::pb::google::protobuf::{
    BoolValue, Duration, Empty, ListValue, Struct, UInt32Value, UInt64Value, Value, value::Kind,
};

use crate::Any;

pub(crate) use crate::external;

/// Where Istio's policies find the facts of a verified token.
pub(crate) const CLAIMS_FILTER: &str = "istio_authn";

/// Claims in Istio's form, and where Envoy's filter for tokens puts them.
pub(crate) const CLAIMS: &str = "request.auth.claims";
pub(crate) const PAYLOAD: &str = "payload";

/// Filter names that real configurations use.
pub(crate) mod name {
    pub(crate) const HCM: &str = "envoy.filters.network.http_connection_manager";
    pub(crate) const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";
    pub(crate) const ROUTER: &str = "envoy.filters.http.router";
    pub(crate) const FAULT: &str = "envoy.filters.http.fault";
    pub(crate) const CORS: &str = "envoy.filters.http.cors";
    pub(crate) const JWT: &str = "envoy.filters.http.jwt_authn";
    pub(crate) const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
    pub(crate) const HTTP_RBAC: &str = "envoy.filters.http.rbac";
    pub(crate) const TCP_RBAC: &str = "envoy.filters.network.rbac";
    pub(crate) const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";
    pub(crate) const HTTP_INSPECTOR: &str = "envoy.filters.listener.http_inspector";
    pub(crate) const ORIGINAL_DST: &str = "envoy.filters.listener.original_dst";
    pub(crate) const TLS: &str = "envoy.transport_sockets.tls";
    pub(crate) const RAW_BUFFER: &str = "envoy.transport_sockets.raw_buffer";
    pub(crate) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    pub(crate) const CEL_FILTER: &str = "envoy.access_loggers.extension_filters.cel";
    pub(crate) const FILE_LOG: &str = "envoy.access_loggers.file";
    pub(crate) const PREVIOUS_HOSTS: &str = "envoy.retry_host_predicates.previous_hosts";
    pub(crate) const OTEL: &str = "envoy.tracers.opentelemetry";
    pub(crate) const SOCKET_MATCH: &str = "envoy.transport_socket_match";
}

pub(crate) fn duration(value: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// `None` means "never" and must be said as zero, because Envoy's default is a finite time.
pub(crate) fn duration_or_zero(value: Option<std::time::Duration>) -> Duration {
    duration(value.unwrap_or_default())
}

pub(crate) fn yes(value: bool) -> BoolValue {
    BoolValue { value }
}

pub(crate) fn number(value: u32) -> UInt32Value {
    UInt32Value { value }
}

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.into())),
    }
}

pub(crate) fn structure(fields: impl IntoIterator<Item = (String, Value)>) -> Struct {
    Struct {
        fields: fields.into_iter().collect(),
    }
}

pub(crate) fn nested(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value {
        kind: Some(Kind::StructValue(structure(fields))),
    }
}

/// The text of a string field; empty when absent or of another kind.
pub(crate) fn get_text<'a>(fields: &'a Struct, key: &str) -> &'a str {
    match fields.fields.get(key).and_then(|v| v.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        _ => "",
    }
}

/// The inner structure of a field.
pub(crate) fn get_struct<'a>(fields: &'a Struct, key: &str) -> Option<&'a Struct> {
    match fields.fields.get(key).and_then(|v| v.kind.as_ref()) {
        Some(Kind::StructValue(inner)) => Some(inner),
        _ => None,
    }
}

pub(crate) fn metadata(entries: impl IntoIterator<Item = (&'static str, Struct)>) -> Option<core::Metadata> {
    let filter_metadata: std::collections::HashMap<String, Struct> =
        entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    (!filter_metadata.is_empty()).then(|| core::Metadata {
        filter_metadata,
        ..core::Metadata::default()
    })
}

pub(crate) fn pack<T: prost::Message + prost::Name>(value: &T) -> Any {
    Any {
        type_url: T::type_url(),
        value: value.encode_to_vec(),
    }
}

pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..core::ConfigSource::default()
    }
}

pub(crate) fn address(at: std::net::SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(socket_address(
            &at.ip().to_string(),
            at.port(),
        ))),
    }
}

pub(crate) fn socket_address(host: &str, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(u32::from(port))),
        ..core::SocketAddress::default()
    }
}

//! HTTP connection managers.

use mesh_model::listener::{
    Codec, CustomTag, ForwardClientCert, HttpConnection, RouteSource, TagSource, Tracing,
};

use super::{authorization, external, log, route};
use crate::Any;
use crate::pb::hcm::http_connection_manager as inner;
use crate::pb::{self, core, hcm, name, number, tag, trace};

pub(super) fn connection_manager(from: &HttpConnection) -> hcm::HttpConnectionManager {
    let (server_name, transformation) = match (&from.server_name, from.server_name_if_absent) {
        (None, _) => (String::new(), inner::ServerHeaderTransformation::PassThrough),
        (Some(name), false) => (name.clone(), inner::ServerHeaderTransformation::Overwrite),
        (Some(name), true) => (name.clone(), inner::ServerHeaderTransformation::AppendIfAbsent),
    };
    hcm::HttpConnectionManager {
        stat_prefix: from.stat_prefix.clone(),
        codec_type: match from.codec {
            Codec::Auto => inner::CodecType::Auto,
            Codec::Http1 => inner::CodecType::Http1,
            Codec::Http2 => inner::CodecType::Http2,
        }
        .into(),
        route_specifier: Some(routes(&from.routes)),
        http_filters: filters(from),
        server_name,
        server_header_transformation: transformation.into(),
        use_remote_address: Some(pb::yes(from.use_remote_address)),
        xff_num_trusted_hops: from.trusted_hops,
        forward_client_cert_details: forward(from.forward_client_cert).into(),
        set_current_client_cert_details: Some(inner::SetCurrentClientCertDetails {
            subject: Some(pb::yes(true)),
            uri: true,
            dns: true,
            ..inner::SetCurrentClientCertDetails::default()
        }),
        http_protocol_options: from.accept_http_10.then(|| core::Http1ProtocolOptions {
            accept_http_10: true,
            ..core::Http1ProtocolOptions::default()
        }),
        normalize_path: Some(pb::yes(from.normalize_path)),
        merge_slashes: from.merge_slashes,
        preserve_external_request_id: from.preserve_external_request_id,
        generate_request_id: Some(pb::yes(from.generate_request_id)),
        stream_idle_timeout: Some(pb::duration_or_zero(from.stream_idle_timeout)),
        request_headers_timeout: from.request_headers_timeout.map(pb::duration),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: Some(pb::duration_or_zero(from.idle_timeout)),
            max_headers_count: Some(number(from.max_headers_count)),
            ..core::HttpProtocolOptions::default()
        }),
        max_request_headers_kb: Some(number(from.max_request_headers_kib)),
        access_log: from.access_logs.iter().map(log::access_log).collect(),
        tracing: from.tracing.as_ref().map(tracing),
        upgrade_configs: vec![inner::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..inner::UpgradeConfig::default()
        }],
        ..hcm::HttpConnectionManager::default()
    }
}

fn routes(from: &RouteSource) -> inner::RouteSpecifier {
    let rds = |name: &str| {
        inner::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(pb::ads()),
            route_config_name: name.to_owned(),
        })
    };
    match from {
        RouteSource::Inline(table) => inner::RouteSpecifier::RouteConfig(route::route_table(table)),
        RouteSource::Named(name) => rds(name),
        RouteSource::ByAuthorityPort { fallback, .. } => rds(fallback),
    }
}

/// The filters that per-route settings need in Envoy; ours does their work natively.
fn filters(from: &HttpConnection) -> Vec<hcm::HttpFilter> {
    let filter = |name: &str, config: Any| hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    };
    let mut all: Vec<_> = external::filters(&from.external)
        .into_iter()
        .map(|(name, config)| filter(name, config))
        .collect();
    if let Some(tokens) = &from.tokens {
        all.push(filter(name::JWT, pb::pack(&authorization::tokens(tokens))));
    }
    all.extend(
        authorization::http_filters(&from.policies).map(|set| filter(name::HTTP_RBAC, pb::pack(&set))),
    );
    all.extend([
        filter(name::FAULT, pb::pack(&pb::fault::HttpFault::default())),
        filter(name::CORS, pb::pack(&pb::cors::Cors::default())),
        filter(name::ROUTER, pb::pack(&pb::router::Router::default())),
    ]);
    all
}

fn forward(from: ForwardClientCert) -> inner::ForwardClientCertDetails {
    match from {
        ForwardClientCert::Sanitize => inner::ForwardClientCertDetails::Sanitize,
        ForwardClientCert::ForwardOnly => inner::ForwardClientCertDetails::ForwardOnly,
        ForwardClientCert::AppendForward => inner::ForwardClientCertDetails::AppendForward,
        ForwardClientCert::SanitizeSet => inner::ForwardClientCertDetails::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => inner::ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

fn custom_tag(from: &CustomTag) -> tag::CustomTag {
    use tag::custom_tag::{Environment, Header, Literal, Type};
    tag::CustomTag {
        tag: from.name.clone(),
        r#type: Some(match &from.value {
            TagSource::Literal(value) => Type::Literal(Literal { value: value.clone() }),
            TagSource::Environment { name, default } => Type::Environment(Environment {
                name: name.clone(),
                default_value: default.clone(),
            }),
            TagSource::Header { name, default } => Type::RequestHeader(Header {
                name: name.clone(),
                default_value: default.clone(),
            }),
        }),
    }
}

fn tracing(from: &Tracing) -> inner::Tracing {
    let provider = from.collector_cluster.as_ref().map(|cluster| {
        let config = trace::OpenTelemetryConfig {
            grpc_service: Some(core::GrpcService {
                target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                    core::grpc_service::EnvoyGrpc {
                        cluster_name: cluster.clone(),
                        ..core::grpc_service::EnvoyGrpc::default()
                    },
                )),
                ..core::GrpcService::default()
            }),
            ..trace::OpenTelemetryConfig::default()
        };
        trace::tracing::Http {
            name: name::OTEL.to_owned(),
            config_type: Some(trace::tracing::http::ConfigType::TypedConfig(pb::pack(&config))),
        }
    });
    inner::Tracing {
        random_sampling: Some(pb::kind::Percent {
            value: from.sampling_percent,
        }),
        max_path_tag_length: Some(number(from.max_path_tag)),
        custom_tags: from.custom_tags.iter().map(custom_tag).collect(),
        provider,
        ..inner::Tracing::default()
    }
}

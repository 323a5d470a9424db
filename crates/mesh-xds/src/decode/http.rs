//! HTTP connection managers.

use std::sync::Arc;
use std::time::Duration;

use mesh_model::authorization::{External, Policies, PolicyRule, RuleSet};
use mesh_model::listener::{
    Codec, CustomTag, ForwardClientCert, HttpConnection, RouteSource, TagSource, Tracing,
};
use mesh_model::token::TokenRules;

use super::value::{flag, limit, number};
use super::{Path, authorization, external, is_type, log, route, unpack};
use crate::Invalid;
use crate::pb::hcm::http_connection_manager as inner;
use crate::pb::{core, ext_authz, hcm, http_rbac, jwt, router, tag, trace};

const STREAM_IDLE: Duration = Duration::from_secs(300);
const CONNECTION_IDLE: Duration = Duration::from_secs(3600);

pub(super) fn connection_manager(
    from: &hcm::HttpConnectionManager,
    path: &Path<'_>,
) -> Result<HttpConnection, Invalid> {
    ends_with_router(from, path)?;
    upgrades(from, path)?;
    let transformation = from.server_header_transformation();
    let server_name = match (transformation, from.server_name.as_str()) {
        (inner::ServerHeaderTransformation::PassThrough, _) => None,
        (_, "") => Some("envoy".to_owned()),
        (_, name) => Some(name.to_owned()),
    };
    let use_remote_address = flag(from.use_remote_address.as_ref(), false);
    let common = from.common_http_protocol_options.unwrap_or_default();
    let access = access(from, path)?;
    Ok(HttpConnection {
        stat_prefix: from.stat_prefix.clone(),
        routes: routes(from, path)?,
        codec: codec(from, path)?,
        server_name,
        server_name_if_absent: transformation == inner::ServerHeaderTransformation::AppendIfAbsent,
        use_remote_address,
        trusted_hops: from.xff_num_trusted_hops,
        forward_client_cert: forward(from, path)?,
        accept_http_10: from
            .http_protocol_options
            .as_ref()
            .is_some_and(|o| o.accept_http_10),
        normalize_path: flag(from.normalize_path.as_ref(), false),
        merge_slashes: from.merge_slashes,
        preserve_external_request_id: from.preserve_external_request_id,
        generate_request_id: flag(from.generate_request_id.as_ref(), true),
        stream_idle_timeout: limit(
            from.stream_idle_timeout.as_ref(),
            Some(STREAM_IDLE),
            &path.field("stream_idle_timeout"),
        )?,
        request_headers_timeout: limit(
            from.request_headers_timeout.as_ref(),
            None,
            &path.field("request_headers_timeout"),
        )?,
        idle_timeout: limit(
            common.idle_timeout.as_ref(),
            Some(CONNECTION_IDLE),
            &path.field("common_http_protocol_options").field("idle_timeout"),
        )?,
        max_request_headers_kib: number(from.max_request_headers_kb.as_ref(), 60),
        max_headers_count: number(common.max_headers_count.as_ref(), 100),
        access_logs: log::access_logs(&from.access_log, path)?,
        tracing: from
            .tracing
            .as_ref()
            .map(|t| tracing(t, &path.field("tracing")))
            .transpose()?,
        // Travels in the listener's metadata.
        metrics: Vec::new(),
        scheme_from_transport: use_remote_address,
        external: access.external,
        tokens: access.tokens,
        policies: Policies(access.policies),
    })
}

#[derive(Default)]
struct Access {
    external: Vec<External>,
    tokens: Option<Box<TokenRules>>,
    policies: Vec<RuleSet>,
}

/// What the filters before the router ask: services, then tokens, then policies, each in order.
fn access(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<Access, Invalid> {
    let Access {
        mut external,
        mut tokens,
        mut policies,
    } = Access::default();
    // Rules that say what the next services are asked about.
    let mut asking: Option<Vec<PolicyRule>> = None;
    for (i, filter) in from.http_filters.iter().enumerate().filter(|(_, f)| !f.disabled) {
        let Some(hcm::http_filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
            continue;
        };
        let path = path.item("http_filters", i);
        let path = path.field("typed_config");
        if is_type::<jwt::JwtAuthentication>(any) {
            if tokens.is_some() {
                return Err(path.invalid("one filter for tokens at most"));
            }
            tokens = Some(Box::new(authorization::tokens(&unpack(any, &path)?, &path)?));
        } else if is_type::<http_rbac::Rbac>(any) {
            let set: http_rbac::Rbac = unpack(any, &path)?;
            let rules = authorization::rule_set(set.rules.as_ref(), set.shadow_rules.as_ref(), &path)?;
            if external::asks(&rules, &set.shadow_rules_stat_prefix) {
                let asking = asking.get_or_insert_default();
                asking.extend(rules.shadow.into_iter().flatten());
            } else {
                policies.push(rules);
            }
        } else if is_type::<ext_authz::ExtAuthz>(any) {
            if tokens.is_some() || !policies.is_empty() {
                // Its answer must not come after what it may change.
                return Err(path.invalid("must stand before filters for tokens and policies"));
            }
            external.push(external::external(
                &unpack(any, &path)?,
                asking.as_deref(),
                &path,
            )?);
        }
    }
    Ok(Access {
        external,
        tokens,
        policies,
    })
}

fn ends_with_router(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<(), Invalid> {
    let last = from.http_filters.last().and_then(|f| f.config_type.as_ref());
    match last {
        Some(hcm::http_filter::ConfigType::TypedConfig(any)) if is_type::<router::Router>(any) => Ok(()),
        _ => Err(path
            .field("http_filters")
            .invalid("must end with envoy.filters.http.router")),
    }
}

fn upgrades(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<(), Invalid> {
    for (i, upgrade) in from.upgrade_configs.iter().enumerate() {
        if !upgrade.upgrade_type.eq_ignore_ascii_case("websocket") {
            return Err(path
                .item("upgrade_configs", i)
                .field("upgrade_type")
                .invalid(format!(
                    "{:?} is not supported; websocket is",
                    upgrade.upgrade_type
                )));
        }
    }
    Ok(())
}

fn routes(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<RouteSource, Invalid> {
    match &from.route_specifier {
        Some(inner::RouteSpecifier::Rds(rds)) if !rds.route_config_name.is_empty() => {
            Ok(RouteSource::Named(rds.route_config_name.clone()))
        }
        Some(inner::RouteSpecifier::RouteConfig(table)) => Ok(RouteSource::Inline(Arc::new(
            route::route_table(table, &path.field("route_config"))?,
        ))),
        _ => Err(path.invalid("give route_config, or rds with a route_config_name")),
    }
}

fn codec(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<Codec, Invalid> {
    match from.codec_type() {
        inner::CodecType::Auto => Ok(Codec::Auto),
        inner::CodecType::Http1 => Ok(Codec::Http1),
        inner::CodecType::Http2 => Ok(Codec::Http2),
        inner::CodecType::Http3 => Err(path.field("codec_type").invalid("HTTP3 is not supported")),
    }
}

fn forward(from: &hcm::HttpConnectionManager, path: &Path<'_>) -> Result<ForwardClientCert, Invalid> {
    use inner::ForwardClientCertDetails as D;
    let details = D::try_from(from.forward_client_cert_details).map_err(|_| {
        path.field("forward_client_cert_details")
            .invalid(format!("{} is unknown", from.forward_client_cert_details))
    })?;
    Ok(match details {
        D::Sanitize => ForwardClientCert::Sanitize,
        D::ForwardOnly => ForwardClientCert::ForwardOnly,
        D::AppendForward => ForwardClientCert::AppendForward,
        D::SanitizeSet => ForwardClientCert::SanitizeSet,
        D::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    })
}

fn tracing(from: &inner::Tracing, path: &Path<'_>) -> Result<Tracing, Invalid> {
    let sampling_percent = from.random_sampling.as_ref().map_or(100.0, |p| p.value);
    if !(0.0..=100.0).contains(&sampling_percent) {
        return Err(path.field("random_sampling").invalid("must be 0 to 100"));
    }
    Ok(Tracing {
        sampling_percent,
        collector_cluster: from
            .provider
            .as_ref()
            .map(|p| collector(p, &path.field("provider")))
            .transpose()?
            .flatten(),
        max_path_tag: number(from.max_path_tag_length.as_ref(), 256),
        custom_tags: from.custom_tags.iter().filter_map(custom_tag).collect(),
    })
}

/// Tags from metadata are Istio's own, which are written natively.
fn custom_tag(from: &tag::CustomTag) -> Option<CustomTag> {
    use tag::custom_tag::Type;
    let value = match from.r#type.as_ref()? {
        Type::Literal(literal) => TagSource::Literal(literal.value.clone()),
        Type::Environment(variable) => TagSource::Environment {
            name: variable.name.clone(),
            default: variable.default_value.clone(),
        },
        Type::RequestHeader(header) => TagSource::Header {
            name: header.name.to_ascii_lowercase(),
            default: header.default_value.clone(),
        },
        _ => return None,
    };
    Some(CustomTag {
        name: from.tag.clone(),
        value,
    })
}

fn collector(from: &trace::tracing::Http, path: &Path<'_>) -> Result<Option<String>, Invalid> {
    let Some(trace::tracing::http::ConfigType::TypedConfig(any)) = &from.config_type else {
        return Ok(None);
    };
    let path = path.field("typed_config");
    if is_type::<trace::ZipkinConfig>(any) {
        let zipkin: trace::ZipkinConfig = unpack(any, &path)?;
        return Ok(Some(zipkin.collector_cluster).filter(|c| !c.is_empty()));
    }
    let otel: trace::OpenTelemetryConfig = unpack(any, &path)?;
    if let Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(grpc)) =
        otel.grpc_service.and_then(|s| s.target_specifier)
    {
        return Ok(Some(grpc.cluster_name));
    }
    let http = otel
        .http_service
        .and_then(|s| s.http_uri)
        .and_then(|u| u.http_upstream_type)
        .map(|core::http_uri::HttpUpstreamType::Cluster(cluster)| cluster);
    Ok(http)
}

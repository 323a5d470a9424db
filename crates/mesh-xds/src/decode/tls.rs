//! TLS contexts.

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, Transport, UpstreamTls};
use mesh_model::listener::DownstreamTls;
use mesh_model::secret::Secret;

use super::value::{flag, inline_text};
use super::{Path, is_type, unpack};
use crate::Invalid;
use crate::pb::core::data_source::Specifier;
use crate::pb::matcher::string_matcher::MatchPattern;
use crate::pb::tls::common_tls_context::ValidationContextType;
use crate::pb::tls::subject_alt_name_matcher::SanType;
use crate::pb::tls::tls_parameters::TlsProtocol;
use crate::pb::{self, core, matcher, tls};

fn config<'a>(socket: &'a core::TransportSocket, path: &Path<'_>) -> Result<&'a crate::Any, Invalid> {
    match &socket.config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(any)) => Ok(any),
        None => Err(path.field("typed_config").invalid("is missing")),
    }
}

pub(super) fn downstream(
    socket: &core::TransportSocket,
    path: &Path<'_>,
) -> Result<Option<DownstreamTls>, Invalid> {
    if socket.name == pb::name::RAW_BUFFER && socket.config_type.is_none() {
        return Ok(None);
    }
    let any = config(socket, path)?;
    if is_type::<pb::raw_buffer::RawBuffer>(any) {
        return Ok(None);
    }
    let path = path.field("typed_config");
    let context: tls::DownstreamTlsContext = unpack(any, &path)?;
    let common = context.common_tls_context.unwrap_or_default();
    let path = path.field("common_tls_context");
    let certificates = certificates(&common, &path)?;
    if certificates.is_empty() {
        return Err(path.invalid("needs tls_certificates or tls_certificate_sds_secret_configs"));
    }
    Ok(Some(DownstreamTls {
        certificates,
        validation: common_validation(&common, &path)?,
        require_client_certificate: flag(context.require_client_certificate.as_ref(), false),
        alpn: common.alpn_protocols,
    }))
}

/// `None` for a plaintext socket.
pub(super) fn upstream(
    socket: &core::TransportSocket,
    path: &Path<'_>,
) -> Result<Option<UpstreamTls>, Invalid> {
    if socket.name == pb::name::RAW_BUFFER && socket.config_type.is_none() {
        return Ok(None);
    }
    let any = config(socket, path)?;
    if is_type::<pb::raw_buffer::RawBuffer>(any) {
        return Ok(None);
    }
    let path = path.field("typed_config");
    let context: tls::UpstreamTlsContext = unpack(any, &path)?;
    let common = context.common_tls_context.unwrap_or_default();
    let path = path.field("common_tls_context");
    let mut certificates = certificates(&common, &path)?;
    if certificates.len() > 1 {
        return Err(path
            .field("tls_certificates")
            .invalid("one client certificate at most"));
    }
    Ok(Some(UpstreamTls {
        sni: Some(context.sni).filter(|s| !s.is_empty()),
        certificate: certificates.pop().unwrap_or_default(),
        validation: common_validation(&common, &path)?,
        alpn: common.alpn_protocols,
    }))
}

/// The transport of a cluster from its one socket or from Istio's two matches.
pub(super) fn transport(from: &pb::cluster::Cluster, path: &Path<'_>) -> Result<Transport, Invalid> {
    if from.transport_socket_matches.is_empty() {
        let Some(socket) = &from.transport_socket else {
            return Ok(Transport::Plain);
        };
        return Ok(upstream(socket, &path.field("transport_socket"))?
            .map_or(Transport::Plain, |tls| Transport::Tls(Box::new(tls))));
    }
    let mut mutual = None;
    for (i, one) in from.transport_socket_matches.iter().enumerate() {
        let path = path.item("transport_socket_matches", i);
        let socket = one
            .transport_socket
            .as_ref()
            .ok_or_else(|| path.field("transport_socket").invalid("is missing"))?;
        let context = upstream(socket, &path.field("transport_socket"))?;
        let conditions = one.r#match.as_ref().map_or(0, |m| m.fields.len());
        let on_istio = one
            .r#match
            .as_ref()
            .is_some_and(|m| pb::get_text(m, "tlsMode") == "istio");
        match (conditions, context) {
            (1, Some(tls)) if on_istio && mutual.is_none() => mutual = Some(tls),
            (0, None) if i + 1 == from.transport_socket_matches.len() => {}
            _ => {
                return Err(path.invalid(
                    "only Istio's two matches are supported: TLS on {tlsMode: istio}, then plaintext on {}",
                ));
            }
        }
    }
    mutual.map(|tls| Transport::Auto(Box::new(tls))).ok_or_else(|| {
        path.field("transport_socket_matches")
            .invalid("has no match on {tlsMode: istio}")
    })
}

fn certificates(common: &tls::CommonTlsContext, path: &Path<'_>) -> Result<Vec<CertificateSource>, Invalid> {
    if let Some(params) = &common.tls_params {
        let path = path.field("tls_params");
        let path = path.field("tls_maximum_protocol_version");
        if matches!(
            params.tls_maximum_protocol_version(),
            TlsProtocol::TlSv10 | TlsProtocol::TlSv11
        ) {
            return Err(path.invalid("TLS 1.2 and 1.3 are supported"));
        }
    }
    let mut all = Vec::new();
    for (i, one) in common.tls_certificates.iter().enumerate() {
        all.push(certificate(one, &path.item("tls_certificates", i))?);
    }
    all.extend(
        common
            .tls_certificate_sds_secret_configs
            .iter()
            .map(|secret| match secret.name.as_str() {
                "default" => CertificateSource::Workload,
                name => CertificateSource::Secret(name.to_owned()),
            }),
    );
    Ok(all)
}

/// A certificate with its key, both from files or both inline.
pub(crate) fn certificate(from: &tls::TlsCertificate, path: &Path<'_>) -> Result<CertificateSource, Invalid> {
    let source = |field: &Option<core::DataSource>| field.as_ref().and_then(|d| d.specifier.clone());
    match (source(&from.certificate_chain), source(&from.private_key)) {
        (Some(Specifier::Filename(chain)), Some(Specifier::Filename(key))) => {
            Ok(CertificateSource::Files { chain, key })
        }
        (None, _) => Err(path.field("certificate_chain").invalid("is missing")),
        (_, None) => Err(path.field("private_key").invalid("is missing")),
        (Some(Specifier::Filename(_)), _) | (_, Some(Specifier::Filename(_))) => {
            Err(path.invalid("give certificate_chain and private_key both as filename or both inline"))
        }
        _ => {
            let text = |field: &Option<core::DataSource>, name| {
                field
                    .as_ref()
                    .map_or(Ok(String::new()), |d| inline_text(d, &path.field(name)))
            };
            Ok(CertificateSource::Inline {
                chain: text(&from.certificate_chain, "certificate_chain")?,
                key: text(&from.private_key, "private_key")?,
            })
        }
    }
}

fn common_validation(common: &tls::CommonTlsContext, path: &Path<'_>) -> Result<PeerValidation, Invalid> {
    let by_name = |name: &str| match name {
        "ROOTCA" => RootSource::Mesh,
        other => RootSource::Secret(other.to_owned()),
    };
    match &common.validation_context_type {
        None => Ok(PeerValidation::default()),
        Some(ValidationContextType::ValidationContext(context)) => {
            validation(context, &path.field("validation_context"))
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => Ok(PeerValidation {
            roots: by_name(&secret.name),
            subject_alt_names: Vec::new(),
        }),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let path = path.field("combined_validation_context");
            let mut found = match &combined.default_validation_context {
                Some(context) => validation(context, &path.field("default_validation_context"))?,
                None => PeerValidation::default(),
            };
            let secret = combined
                .validation_context_sds_secret_config
                .as_ref()
                .ok_or_else(|| {
                    path.field("validation_context_sds_secret_config")
                        .invalid("is missing")
                })?;
            found.roots = by_name(&secret.name);
            Ok(found)
        }
        Some(_) => Err(path.invalid("certificate providers are not supported; use SDS or files")),
    }
}

/// Roots and expected names.
pub(crate) fn validation(
    from: &tls::CertificateValidationContext,
    path: &Path<'_>,
) -> Result<PeerValidation, Invalid> {
    let roots = match from.trusted_ca.as_ref().map(|d| (d, &d.specifier)) {
        None => RootSource::None,
        Some((_, Some(Specifier::Filename(file)))) => RootSource::File(file.clone()),
        Some((data, _)) => RootSource::Inline(inline_text(data, &path.field("trusted_ca"))?),
    };
    let mut subject_alt_names = Vec::new();
    for (i, one) in from.match_typed_subject_alt_names.iter().enumerate() {
        let path = path.item("match_typed_subject_alt_names", i);
        if !matches!(one.san_type(), SanType::Uri | SanType::Dns) {
            return Err(path.field("san_type").invalid("URI and DNS are supported"));
        }
        subject_alt_names.push(exact(one.matcher.as_ref(), &path.field("matcher"))?);
    }
    for (i, one) in from.match_subject_alt_names.iter().enumerate() {
        subject_alt_names.push(exact(Some(one), &path.item("match_subject_alt_names", i))?);
    }
    Ok(PeerValidation {
        roots,
        subject_alt_names,
    })
}

/// Key material that came over SDS: always inline.
pub(super) fn secret(from: &tls::Secret, path: &Path<'_>) -> Result<Secret, Invalid> {
    match &from.r#type {
        Some(tls::secret::Type::TlsCertificate(inner)) => {
            let path = path.field("tls_certificate");
            match certificate(inner, &path)? {
                CertificateSource::Inline { chain, key } => Ok(Secret::Certificate { chain, key }),
                _ => Err(path.invalid("must be inline")),
            }
        }
        Some(tls::secret::Type::ValidationContext(inner)) => {
            let path = path.field("validation_context");
            match validation(inner, &path)?.roots {
                RootSource::Inline(pem) => Ok(Secret::Roots(pem)),
                _ => Err(path.field("trusted_ca").invalid("must be inline")),
            }
        }
        _ => Err(path.invalid("needs tls_certificate or validation_context")),
    }
}

fn exact(from: Option<&matcher::StringMatcher>, path: &Path<'_>) -> Result<String, Invalid> {
    match from.and_then(|m| m.match_pattern.as_ref()) {
        Some(MatchPattern::Exact(name)) => Ok(name.clone()),
        _ => Err(path.invalid("only exact names are supported")),
    }
}

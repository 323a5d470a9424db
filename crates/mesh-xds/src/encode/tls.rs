//! TLS contexts.

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, UpstreamTls};
use mesh_model::listener::DownstreamTls;
use mesh_model::secret::Secret;

use crate::pb::core::data_source::Specifier;
use crate::pb::tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use crate::pb::tls::subject_alt_name_matcher::SanType;
use crate::pb::{self, core, matcher, name, tls};

pub(super) fn plain_socket() -> core::TransportSocket {
    core::TransportSocket {
        name: name::RAW_BUFFER.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pb::pack(
            &pb::raw_buffer::RawBuffer::default(),
        ))),
    }
}

pub(super) fn upstream_socket(from: &UpstreamTls) -> core::TransportSocket {
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(common(
            std::slice::from_ref(&from.certificate),
            &from.validation,
            &from.alpn,
        )),
        sni: from.sni.clone().unwrap_or_default(),
        auto_host_sni: from.sni.is_none(),
        ..tls::UpstreamTlsContext::default()
    };
    socket(pb::pack(&context))
}

pub(super) fn downstream_socket(from: &DownstreamTls) -> core::TransportSocket {
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(common(&from.certificates, &from.validation, &from.alpn)),
        require_client_certificate: Some(pb::yes(from.require_client_certificate)),
        ..tls::DownstreamTlsContext::default()
    };
    socket(pb::pack(&context))
}

fn socket(config: crate::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: name::TLS.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    }
}

fn common(
    certificates: &[CertificateSource],
    validation: &PeerValidation,
    alpn: &[String],
) -> tls::CommonTlsContext {
    let mut to = tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13.into(),
            ..tls::TlsParameters::default()
        }),
        alpn_protocols: alpn.to_vec(),
        validation_context_type: validation_context(validation),
        ..tls::CommonTlsContext::default()
    };
    for source in certificates {
        match source {
            CertificateSource::None => {}
            CertificateSource::Workload => to.tls_certificate_sds_secret_configs.push(secret("default")),
            CertificateSource::Secret(name) => to.tls_certificate_sds_secret_configs.push(secret(name)),
            CertificateSource::Files { chain, key } => to.tls_certificates.push(certificate(
                Specifier::Filename(chain.clone()),
                Specifier::Filename(key.clone()),
            )),
            CertificateSource::Inline { chain, key } => to.tls_certificates.push(certificate(
                Specifier::InlineString(chain.clone()),
                Specifier::InlineString(key.clone()),
            )),
        }
    }
    to
}

/// A workload's own key material comes from the agent beside it and never from the control plane: Istio's cluster
/// `sds-grpc`. Ours makes it itself.
fn secret(name: &str) -> tls::SdsSecretConfig {
    let own = matches!(name, "default" | "ROOTCA");
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(if own { agent() } else { pb::ads() }),
    }
}

fn agent() -> core::ConfigSource {
    use core::{ApiConfigSource, ApiVersion, api_config_source::ApiType, grpc_service};
    let target = grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
        cluster_name: "sds-grpc".to_owned(),
        ..grpc_service::EnvoyGrpc::default()
    });
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![core::GrpcService {
            target_specifier: Some(target),
            ..core::GrpcService::default()
        }],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    };
    core::ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(
            source,
        )),
        initial_fetch_timeout: Some(pb::duration_or_zero(None)),
        ..core::ConfigSource::default()
    }
}

fn certificate(chain: Specifier, key: Specifier) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: Some(data(chain)),
        private_key: Some(data(key)),
        ..tls::TlsCertificate::default()
    }
}

pub(super) fn secret_message(name: &str, from: &Secret) -> tls::Secret {
    use tls::secret::Type as T;
    tls::Secret {
        name: name.to_owned(),
        r#type: Some(match from {
            Secret::Certificate { chain, key } => T::TlsCertificate(certificate(
                Specifier::InlineString(chain.clone()),
                Specifier::InlineString(key.clone()),
            )),
            Secret::Roots(pem) => T::ValidationContext(tls::CertificateValidationContext {
                trusted_ca: Some(data(Specifier::InlineString(pem.clone()))),
                ..tls::CertificateValidationContext::default()
            }),
        }),
    }
}

fn data(specifier: Specifier) -> core::DataSource {
    core::DataSource {
        specifier: Some(specifier),
        ..core::DataSource::default()
    }
}

fn validation_context(from: &PeerValidation) -> Option<ValidationContextType> {
    let trusted_ca = match &from.roots {
        RootSource::None | RootSource::Mesh | RootSource::Secret(_) => None,
        RootSource::File(path) => Some(data(Specifier::Filename(path.clone()))),
        RootSource::Inline(pem) => Some(data(Specifier::InlineString(pem.clone()))),
    };
    let context = tls::CertificateValidationContext {
        trusted_ca,
        match_typed_subject_alt_names: from.subject_alt_names.iter().map(|n| san(n)).collect(),
        ..tls::CertificateValidationContext::default()
    };
    let by_secret = |name: &str| {
        ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
            default_validation_context: Some(context.clone()),
            validation_context_sds_secret_config: Some(secret(name)),
            ..CombinedCertificateValidationContext::default()
        })
    };
    match &from.roots {
        RootSource::None if from.subject_alt_names.is_empty() => None,
        RootSource::Mesh => Some(by_secret("ROOTCA")),
        RootSource::Secret(name) => Some(by_secret(name)),
        RootSource::None | RootSource::File(_) | RootSource::Inline(_) => {
            Some(ValidationContextType::ValidationContext(context))
        }
    }
}

fn san(name: &str) -> tls::SubjectAltNameMatcher {
    let kind = if name.contains("://") {
        SanType::Uri
    } else {
        SanType::Dns
    };
    tls::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(matcher::StringMatcher {
            match_pattern: Some(matcher::string_matcher::MatchPattern::Exact(name.to_owned())),
            ignore_case: false,
        }),
        ..tls::SubjectAltNameMatcher::default()
    }
}

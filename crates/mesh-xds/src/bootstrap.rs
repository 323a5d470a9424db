//! Envoy's bootstrap file: the documented subset that a proxy runs on.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_model::cluster::{
    CertificateSource, Cluster, Discovery, PeerValidation, RootSource, Transport, UpstreamTls,
};
use mesh_model::listener::{ConnectionService, Listener, RouteSource};
use mesh_model::snapshot::Snapshot;
use prost::Message as _;

use crate::decode::{self, Path};
use crate::discovery::Node;
use crate::json::{Descriptors, JsonError};
use crate::pb::tls::secret::Type as SecretType;
use crate::pb::{self, bootstrap, core};
use crate::{Any, Ignored, Invalid, fields};

/// A parsed bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// Who this proxy is; sent to the control plane.
    pub node: Node,
    /// Where the admin page listens; `None` = nowhere.
    pub admin: Option<SocketAddr>,
    /// Listeners of the file.
    pub listeners: Vec<Listener>,
    /// Clusters of the file.
    pub clusters: Vec<Cluster>,
    /// Where configuration comes from; `None` = from the file only.
    pub discovery: Option<DiscoverySource>,
    /// What has no effect: one start-up warning each.
    pub ignored: Vec<Ignored>,
    /// The file as a protobuf message, for `/config_dump`; private keys are left out.
    pub message: Any,
}

/// The aggregated discovery service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoverySource {
    /// Name of its static cluster.
    pub cluster: String,
    /// Its addresses, in the order to try.
    pub addresses: Vec<(String, u16)>,
    /// TLS to it; `None` = plaintext.
    pub tls: Option<UpstreamTls>,
    /// `:authority` to send, if given.
    pub authority: Option<String>,
    /// gRPC metadata to send with the stream.
    pub metadata: Vec<(String, String)>,
}

/// Why a bootstrap cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Neither YAML nor JSON.
    #[error("not YAML or JSON: {0}")]
    Syntax(String),
    /// It does not fit Envoy's bootstrap message.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field or value is not supported.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Reads YAML or JSON text.
pub fn parse(text: &str) -> Result<Bootstrap, BootstrapError> {
    // JSON is a part of YAML, but its own parser is many times faster on large files.
    let json: serde_json::Value = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(_) => serde_saphyr::from_str(text).map_err(|e| BootstrapError::Syntax(e.to_string()))?,
    };
    let bytes = Descriptors::load()?.from_json(fields::BOOTSTRAP.name, &json)?;
    let ignored = fields::check(&fields::BOOTSTRAP, &bytes, "bootstrap")?;
    let message = bootstrap::Bootstrap::decode(bytes.as_slice())
        .map_err(|e| Invalid::new("bootstrap", format!("is not valid protobuf: {e}")))?;
    read(message, ignored)
}

fn read(message: bootstrap::Bootstrap, ignored: Vec<Ignored>) -> Result<Bootstrap, BootstrapError> {
    let root = Path::root("bootstrap");
    let admin = match message.admin.as_ref().and_then(|a| a.address.as_ref()) {
        None => None,
        Some(address) => Some(socket(address, &root.field("admin").field("address"))?),
    };
    let resources = message.static_resources.clone().unwrap_or_default();
    let path = root.field("static_resources");
    let mut clusters = Vec::with_capacity(resources.clusters.len());
    for (i, one) in resources.clusters.iter().enumerate() {
        clusters.push(decode::cluster_message(one, &path.item("clusters", i))?);
    }
    let mut listeners = Vec::with_capacity(resources.listeners.len());
    for (i, one) in resources.listeners.iter().enumerate() {
        listeners.push(decode::listener_message(one, &path.item("listeners", i))?);
    }
    let secrets = secrets(&resources.secrets, &path)?;
    resolve_secrets(&secrets, &mut listeners, &mut clusters);
    let discovery = discovery(&message, &clusters, &root)?;
    let has_discovery = discovery.is_some();
    if !has_discovery {
        no_references_without_discovery(&listeners, &clusters)?;
    }
    if has_discovery && message.node.as_ref().is_none_or(|n| n.id.is_empty()) {
        return Err(root
            .field("node")
            .field("id")
            .invalid("is needed with dynamic_resources")
            .into());
    }
    Ok(Bootstrap {
        node: message.node.clone().unwrap_or_default(),
        admin,
        listeners,
        clusters,
        discovery,
        ignored,
        message: pb::pack(&without_keys(message)),
    })
}

fn socket(address: &core::Address, path: &Path<'_>) -> Result<SocketAddr, Invalid> {
    let Some(core::address::Address::SocketAddress(socket)) = &address.address else {
        return Err(path.invalid("needs a socket_address"));
    };
    let port = match socket.port_specifier {
        Some(core::socket_address::PortSpecifier::PortValue(port)) => u16::try_from(port).ok(),
        _ => Some(0),
    };
    match (socket.address.parse(), port) {
        (Ok(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(path
            .field("socket_address")
            .invalid("needs an IP address and a port")),
    }
}

type Secrets = std::collections::HashMap<String, Secret>;

enum Secret {
    Certificate(CertificateSource),
    Validation(PeerValidation),
}

fn secrets(from: &[pb::tls::Secret], path: &Path<'_>) -> Result<Secrets, Invalid> {
    let mut all = Secrets::new();
    for (i, one) in from.iter().enumerate() {
        let path = path.item("secrets", i);
        let secret = match &one.r#type {
            Some(SecretType::TlsCertificate(c)) => {
                Secret::Certificate(decode::tls_certificate(c, &path.field("tls_certificate"))?)
            }
            Some(SecretType::ValidationContext(v)) => {
                Secret::Validation(decode::tls_validation(v, &path.field("validation_context"))?)
            }
            _ => return Err(path.invalid("give tls_certificate or validation_context")),
        };
        all.insert(one.name.clone(), secret);
    }
    Ok(all)
}

/// Replaces references to secrets of the file by what they hold, also `default` and `ROOTCA`.
fn resolve_secrets(secrets: &Secrets, listeners: &mut [Listener], clusters: &mut [Cluster]) {
    for listener in listeners {
        for chain in listener.chains.iter_mut().chain(&mut listener.default_chain) {
            if let Some(tls) = &mut chain.tls {
                for certificate in &mut tls.certificates {
                    resolve_certificate(secrets, certificate);
                }
                resolve_validation(secrets, &mut tls.validation);
            }
        }
    }
    for cluster in clusters {
        if let Transport::Tls(tls) | Transport::Auto(tls) = &mut cluster.transport {
            resolve_certificate(secrets, &mut tls.certificate);
            resolve_validation(secrets, &mut tls.validation);
        }
    }
}

fn resolve_certificate(secrets: &Secrets, certificate: &mut CertificateSource) {
    let name = match &*certificate {
        CertificateSource::Workload => "default",
        CertificateSource::Secret(name) => name.as_str(),
        _ => return,
    };
    if let Some(Secret::Certificate(found)) = secrets.get(name) {
        *certificate = found.clone();
    }
}

fn resolve_validation(secrets: &Secrets, validation: &mut PeerValidation) {
    let name = match &validation.roots {
        RootSource::Mesh => "ROOTCA",
        RootSource::Secret(name) => name.as_str(),
        _ => return,
    };
    if let Some(Secret::Validation(found)) = secrets.get(name) {
        let mut names = found.subject_alt_names.clone();
        names.append(&mut validation.subject_alt_names);
        *validation = PeerValidation {
            roots: found.roots.clone(),
            subject_alt_names: names,
        };
    }
}

fn discovery(
    message: &bootstrap::Bootstrap,
    clusters: &[Cluster],
    root: &Path<'_>,
) -> Result<Option<DiscoverySource>, Invalid> {
    let Some(dynamic) = &message.dynamic_resources else {
        return Ok(None);
    };
    let path = root.field("dynamic_resources");
    let path = path.field("ads_config");
    let Some(ads) = &dynamic.ads_config else {
        return Err(path.invalid("is missing; lds_config and cds_config are taken over ADS only"));
    };
    use core::api_config_source::ApiType;
    if !matches!(
        ads.api_type(),
        ApiType::DeltaGrpc | ApiType::Grpc | ApiType::AggregatedDeltaGrpc | ApiType::AggregatedGrpc
    ) {
        return Err(path.field("api_type").invalid("must be DELTA_GRPC"));
    }
    let service = match ads.grpc_services.as_slice() {
        [one] => one,
        _ => return Err(path.field("grpc_services").invalid("needs exactly one entry")),
    };
    let path = path.item("grpc_services", 0);
    let Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(grpc)) = &service.target_specifier else {
        return Err(path.field("envoy_grpc").invalid("is missing"));
    };
    let at = path.field("envoy_grpc");
    let at = at.field("cluster_name");
    let cluster = clusters
        .iter()
        .find(|c| c.name == grpc.cluster_name)
        .ok_or_else(|| at.invalid(format!("{:?} is not a static cluster", grpc.cluster_name)))?;
    let addresses = match &cluster.discovery {
        Discovery::Static(endpoints) => endpoints
            .0
            .iter()
            .map(|e| (e.address.ip().to_string(), e.address.port()))
            .collect(),
        Discovery::StrictDns(hosts) => hosts.clone(),
        Discovery::LogicalDns(host, port) => vec![(host.clone(), *port)],
        Discovery::Eds(_) | Discovery::OriginalDestination => Vec::new(),
    };
    if addresses.is_empty() {
        return Err(at.invalid("must be a STATIC or DNS cluster with an endpoint"));
    }
    Ok(Some(DiscoverySource {
        cluster: cluster.name.clone(),
        addresses,
        tls: match &cluster.transport {
            Transport::Plain => None,
            Transport::Tls(tls) | Transport::Auto(tls) => Some((**tls).clone()),
        },
        authority: Some(grpc.authority.clone()).filter(|a| !a.is_empty()),
        metadata: service
            .initial_metadata
            .iter()
            .map(|h| (h.key.clone(), h.value.clone()))
            .collect(),
    }))
}

/// A file without discovery must hold everything that it names.
fn no_references_without_discovery(listeners: &[Listener], clusters: &[Cluster]) -> Result<(), Invalid> {
    for listener in listeners {
        for chain in listener.chains.iter().chain(&listener.default_chain) {
            if let ConnectionService::Http(http) = &chain.service
                && !matches!(http.routes, RouteSource::Inline(_))
            {
                return Err(Invalid::new(
                    format!("Listener({}).rds", listener.name),
                    "there is no dynamic_resources.ads_config; give route_config",
                ));
            }
        }
    }
    for cluster in clusters {
        if matches!(cluster.discovery, Discovery::Eds(_)) {
            return Err(Invalid::new(
                format!("Cluster({}).type", cluster.name),
                "there is no dynamic_resources.ads_config; EDS needs it",
            ));
        }
    }
    Ok(())
}

/// The same message without private keys.
fn without_keys(mut message: bootstrap::Bootstrap) -> bootstrap::Bootstrap {
    if let Some(resources) = &mut message.static_resources {
        for secret in &mut resources.secrets {
            if let Some(SecretType::TlsCertificate(certificate)) = &mut secret.r#type {
                redact(certificate);
            }
        }
        for listener in &mut resources.listeners {
            let chains = listener
                .filter_chains
                .iter_mut()
                .chain(&mut listener.default_filter_chain);
            for socket in chains.filter_map(|c| c.transport_socket.as_mut()) {
                redact_socket::<pb::tls::DownstreamTlsContext>(socket, |c| c.common_tls_context.as_mut());
            }
        }
        for cluster in &mut resources.clusters {
            let matches = cluster.transport_socket_matches.iter_mut();
            let sockets = matches
                .filter_map(|m| m.transport_socket.as_mut())
                .chain(cluster.transport_socket.as_mut());
            for socket in sockets {
                redact_socket::<pb::tls::UpstreamTlsContext>(socket, |c| c.common_tls_context.as_mut());
            }
        }
    }
    message
}

fn redact_socket<T: prost::Message + prost::Name + Default>(
    socket: &mut core::TransportSocket,
    common: impl Fn(&mut T) -> Option<&mut pb::tls::CommonTlsContext>,
) {
    if let Some(core::transport_socket::ConfigType::TypedConfig(any)) = &mut socket.config_type
        && any.type_url.rsplit('/').next() == Some(T::full_name().as_str())
        && let Ok(mut context) = T::decode(any.value.as_slice())
    {
        for certificate in common(&mut context)
            .into_iter()
            .flat_map(|c| &mut c.tls_certificates)
        {
            redact(certificate);
        }
        any.value = context.encode_to_vec();
    }
}

/// A file name is no secret; an inline key is.
fn redact(certificate: &mut pb::tls::TlsCertificate) {
    use core::data_source::Specifier;
    if let Some(key) = &mut certificate.private_key
        && !matches!(key.specifier, Some(Specifier::Filename(_)) | None)
    {
        key.specifier = Some(Specifier::InlineString("[redacted]".to_owned()));
    }
}

impl Bootstrap {
    /// The file's own resources as a snapshot (without discovery, the only one there is).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            revision: "bootstrap".to_owned(),
            ..Snapshot::default()
        };
        for listener in &self.listeners {
            snapshot
                .listeners
                .insert(listener.name.clone(), Arc::new(listener.clone()));
        }
        for cluster in &self.clusters {
            snapshot
                .clusters
                .insert(cluster.name.clone(), Arc::new(cluster.clone()));
        }
        snapshot
    }
}

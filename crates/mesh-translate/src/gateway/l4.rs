//! Servers of a gateway that speak TLS or TCP: chains by server name, certificates, opaque routes.

use std::collections::BTreeSet;

use mesh_crd::host;
use mesh_crd::networking::gateway::{ServerTls, ServerTlsMode};
use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource};
use mesh_model::listener::{ChainMatch, ConnectionService, DownstreamTls, FilterChain, TcpProxy};

use super::{Chosen, intersection};
use crate::l4;
use crate::protocol::Protocol;
use crate::route::RouteContext;
use crate::visible::Visible;

/// How a server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Plaintext HTTP.
    Http,
    /// HTTP inside TLS that ends here.
    Https,
    /// Opaque bytes, plain or inside TLS that ends here.
    Opaque,
    /// TLS that goes on untouched.
    Passthrough,
}

impl Kind {
    pub(super) fn of(protocol: Protocol, tls: Option<&ServerTls>) -> Self {
        let through = tls.is_some_and(|t| {
            matches!(
                t.mode,
                None | Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
            )
        });
        match protocol {
            Protocol::Tls | Protocol::Https if through => Self::Passthrough,
            Protocol::Https => Self::Https,
            _ if protocol.is_http() => Self::Http,
            _ => Self::Opaque,
        }
    }

    /// Whether connections are told apart by their server name.
    pub(super) fn is_tls(self, tls: Option<&ServerTls>) -> bool {
        match self {
            Self::Https | Self::Passthrough => true,
            Self::Opaque => tls.is_some(),
            Self::Http => false,
        }
    }
}

/// Termination as the server says; `None` when TLS does not end here.
pub(super) fn termination(tls: Option<&ServerTls>, http: bool) -> Option<DownstreamTls> {
    let tls = tls?;
    let mode = tls.mode?;
    let secret = |name: &str| format!("kubernetes://{name}");
    let certificates = match mode {
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => return None,
        ServerTlsMode::IstioMutual => vec![CertificateSource::Workload],
        _ if !tls.credential_names.is_empty() => tls
            .credential_names
            .iter()
            .map(|name| CertificateSource::Secret(secret(name)))
            .collect(),
        _ if !tls.credential_name.is_empty() => vec![CertificateSource::Secret(secret(&tls.credential_name))],
        _ if !tls.tls_certificates.is_empty() => tls
            .tls_certificates
            .iter()
            .map(|c| files(&c.server_certificate, &c.private_key))
            .collect(),
        _ => vec![files(&tls.server_certificate, &tls.private_key)],
    };
    let roots = match mode {
        ServerTlsMode::IstioMutual => RootSource::Mesh,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if !tls.ca_cert_credential_name.is_empty() {
                RootSource::Secret(secret(&tls.ca_cert_credential_name))
            } else if let Some(name) = tls.credential_names.first() {
                RootSource::Secret(secret(&format!("{name}-cacert")))
            } else if !tls.credential_name.is_empty() {
                RootSource::Secret(secret(&format!("{}-cacert", tls.credential_name)))
            } else {
                RootSource::File(tls.ca_certificates.clone())
            }
        }
        _ => RootSource::None,
    };
    Some(DownstreamTls {
        certificates,
        validation: PeerValidation {
            roots,
            subject_alt_names: tls.subject_alt_names.clone(),
        },
        require_client_certificate: matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual),
        alpn: match (http, mode) {
            (true, _) => vec!["h2".to_owned(), "http/1.1".to_owned()],
            (false, ServerTlsMode::IstioMutual) => vec!["istio".to_owned()],
            (false, _) => Vec::new(),
        },
    })
}

fn files(chain: &str, key: &str) -> CertificateSource {
    CertificateSource::Files {
        chain: chain.to_owned(),
        key: key.to_owned(),
    }
}

/// Server names of a server, without those that an earlier one has.
pub(super) fn server_names(chosen: &Chosen<'_>, taken: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let names: Vec<String> = chosen
        .server
        .hosts
        .iter()
        .map(|pattern| pattern.rsplit('/').next().unwrap_or(pattern).to_ascii_lowercase())
        .filter(|name| taken.insert(name.clone()))
        .collect();
    if names.is_empty() {
        return None;
    }
    // Any name, also none.
    Some(if names.iter().any(|n| n == "*") {
        Vec::new()
    } else {
        names
    })
}

/// Chains of an opaque or passthrough server; none when no VirtualService routes it.
pub(super) fn chains(
    context: &RouteContext<'_>,
    visible: &Visible<'_>,
    chosen: &Chosen<'_>,
    kind: Kind,
    listener: &str,
    taken: &mut BTreeSet<String>,
) -> Vec<FilterChain> {
    let bound: Vec<_> = visible
        .bound
        .iter()
        .filter(|b| b.is_on(&chosen.name) && !intersection(chosen, b).is_empty())
        .collect();
    let mut out = Vec::new();
    if kind == Kind::Passthrough {
        for b in &bound {
            let admitted = intersection(chosen, b);
            for route in l4::tls(context, b, &[], listener).into_iter().flatten() {
                // Names that the server has, and nobody before.
                let names: Vec<String> = route
                    .server_names
                    .into_iter()
                    .filter(|name| {
                        admitted
                            .iter()
                            .any(|h| host::covers(h, name) || host::covers(name, h))
                    })
                    .filter(|name| taken.insert(name.clone()))
                    .collect();
                if !names.is_empty() {
                    out.push(chain(
                        format!("{listener}-{}", names.join(",")),
                        Some(names),
                        None,
                        route.proxy,
                    ));
                }
            }
        }
        return out;
    }
    let Some(proxy) = bound
        .iter()
        .find_map(|b| l4::tcp(context, b, &[], listener))
        .filter(|proxy| !proxy.clusters.is_empty())
    else {
        return out;
    };
    let tls = termination(chosen.server.tls.as_ref(), false);
    let names = match &tls {
        None => None,
        Some(_) => match server_names(chosen, taken) {
            Some(names) => Some(names),
            None => return out,
        },
    };
    out.push(chain(listener.to_owned(), names, tls, proxy));
    out
}

fn chain(
    name: String,
    server_names: Option<Vec<String>>,
    tls: Option<DownstreamTls>,
    proxy: TcpProxy,
) -> FilterChain {
    FilterChain {
        name,
        matches: ChainMatch {
            tls: server_names.is_some().then_some(true),
            server_names: server_names
                .into_iter()
                .flatten()
                .filter(|name| name != "*")
                .collect(),
            ..ChainMatch::default()
        },
        tls,
        service: ConnectionService::Tcp(proxy),
    }
}

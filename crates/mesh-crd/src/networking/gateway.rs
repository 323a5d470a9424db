//! Gateway.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `Gateway.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Gateway pods; none = every gateway.
    pub selector: BTreeMap<String, String>,
    /// Servers.
    pub servers: Vec<Server>,
}

/// `servers[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Name.
    pub name: String,
    /// Port.
    pub port: Port,
    /// Bind address.
    pub bind: String,
    /// Hosts: `host`, `ns/host`, `./host`, `*/host`.
    pub hosts: Vec<String>,
    /// TLS.
    pub tls: Option<ServerTls>,
}

/// `servers[].port`, `egress[].port`, `ingress[].port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Number.
    pub number: u32,
    /// Protocol.
    pub protocol: String,
    /// Name.
    pub name: String,
    /// Deprecated.
    pub target_port: u32,
}

/// `servers[].tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Plaintext is redirected.
    pub https_redirect: bool,
    /// Mode.
    pub mode: Option<ServerTlsMode>,
    /// Certificate file.
    pub server_certificate: String,
    /// Key file.
    pub private_key: String,
    /// CA file.
    pub ca_certificates: String,
    /// Secret name.
    pub credential_name: String,
    /// Secret names.
    pub credential_names: Vec<String>,
    /// Secret of the CA.
    pub ca_cert_credential_name: String,
    /// Certificates by file.
    pub tls_certificates: Vec<TlsCertificate>,
    /// Accepted client names.
    pub subject_alt_names: Vec<String>,
    /// Cipher suites.
    pub cipher_suites: Vec<String>,
}

/// `tlsCertificates[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// Certificate file.
    pub server_certificate: String,
    /// Key file.
    pub private_key: String,
    /// CA file.
    pub ca_certificates: String,
}

/// `servers[].tls.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// By SNI to the destination.
    #[default]
    Passthrough,
    /// Terminated.
    Simple,
    /// Terminated, client certificate required.
    Mutual,
    /// SNI names the cluster.
    AutoPassthrough,
    /// Mesh certificates.
    IstioMutual,
    /// Terminated, client certificate optional.
    OptionalMutual,
}

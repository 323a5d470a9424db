//! Who asks for configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// Sidecar or gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `sidecar~...`
    Sidecar,
    /// `router~...`
    Router,
}

/// How a sidecar's traffic comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interception {
    /// It is addressed: a plain process, or a gateway.
    #[default]
    None,
    /// By rewritten destinations.
    Redirect,
    /// By a transparent socket.
    Tproxy,
}

/// A proxy as its node id and metadata describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyNode {
    /// The whole node id.
    pub id: String,
    /// Kind.
    pub kind: ProxyKind,
    /// Address in the node id: where its inbound listeners are.
    pub address: IpAddr,
    /// Pod name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Service account.
    pub service_account: String,
    /// `CLUSTER_ID`.
    pub cluster_id: String,
    /// `SIGHTLINE_APPLICATION_ADDRESS`.
    pub application: Option<IpAddr>,
    /// `SIGHTLINE_OUTBOUND`.
    pub outbound: Option<SocketAddr>,
    /// `SIGHTLINE_GATEWAY_BIND`.
    pub gateway_bind: Option<IpAddr>,
    /// `INTERCEPTION_MODE`.
    pub interception: Interception,
    /// `INSTANCE_IPS`: every address of the pod, the one in the id too.
    pub addresses: Vec<IpAddr>,
    /// `DNS_CAPTURE`: the application's lookups come to the sidecar, so that addresses can be made up.
    pub dns_capture: bool,
}

/// Why a node cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The id has another form.
    #[error("node id {0:?} is not <sidecar|router>~<ip>~<pod>.<namespace>~<domain>")]
    Id(String),
    /// A metadata value cannot be read.
    #[error("node metadata {key} = {value:?}: {reason}")]
    Metadata {
        /// Key.
        key: &'static str,
        /// Value.
        value: String,
        /// Why.
        reason: String,
    },
}

impl ProxyNode {
    /// Reads a node id and its metadata (a JSON object).
    pub fn parse(id: &str, metadata: &Value) -> Result<Self, NodeError> {
        let bad = || NodeError::Id(id.to_owned());
        let mut parts = id.split('~');
        let mut next = || parts.next().filter(|p| !p.is_empty()).ok_or_else(bad);
        let kind = match next()? {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            _ => return Err(bad()),
        };
        let address: IpAddr = next()?.parse().map_err(|_| bad())?;
        let (name, namespace) = next()?.rsplit_once('.').ok_or_else(bad)?;
        let domain = next()?;
        if domain.split('.').next() != Some(namespace) || parts.next().is_some() {
            return Err(bad());
        }
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let labels = metadata.get("LABELS").and_then(Value::as_object);
        let interception = match text("INTERCEPTION_MODE") {
            "" | "NONE" => Interception::None,
            "REDIRECT" => Interception::Redirect,
            "TPROXY" => Interception::Tproxy,
            other => {
                return Err(NodeError::Metadata {
                    key: "INTERCEPTION_MODE",
                    value: other.to_owned(),
                    reason: "is none of REDIRECT, TPROXY, NONE".to_owned(),
                });
            }
        };
        let mut addresses = vec![address];
        addresses.extend(
            text("INSTANCE_IPS")
                .split(',')
                .filter_map(|ip| ip.trim().parse::<IpAddr>().ok())
                .filter(|ip| *ip != address),
        );
        Ok(Self {
            id: id.to_owned(),
            kind,
            address,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect(),
            service_account: match text("SERVICE_ACCOUNT") {
                "" => "default".to_owned(),
                name => name.to_owned(),
            },
            cluster_id: match text("CLUSTER_ID") {
                "" => "Kubernetes".to_owned(),
                id => id.to_owned(),
            },
            application: address_of(metadata, "SIGHTLINE_APPLICATION_ADDRESS")?,
            outbound: address_of(metadata, "SIGHTLINE_OUTBOUND")?,
            gateway_bind: address_of(metadata, "SIGHTLINE_GATEWAY_BIND")?,
            interception,
            addresses,
            dns_capture: text("DNS_CAPTURE") == "true",
        })
    }
}

impl ProxyNode {
    /// Whether the kernel sends it its traffic.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.interception != Interception::None
    }

    /// The address on which it takes everything of a kind.
    #[must_use]
    pub(crate) fn any_address(&self) -> IpAddr {
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            // Takes IPv4 too.
            IpAddr::from([0_u16; 8])
        } else {
            IpAddr::from([0_u8; 4])
        }
    }
}

fn address_of<T>(metadata: &Value, key: &'static str) -> Result<Option<T>, NodeError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match metadata.get(key).and_then(Value::as_str) {
        None | Some("") => Ok(None),
        Some(value) => value.parse().map(Some).map_err(|e: T::Err| NodeError::Metadata {
            key,
            value: value.to_owned(),
            reason: e.to_string(),
        }),
    }
}

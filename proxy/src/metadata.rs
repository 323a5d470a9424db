//! Istio's metadata exchange: how two sidecars learn each other's workload.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use base64::Engine as _;
use mesh_model::identity::SpiffeId;
use mesh_model::workload::{UNKNOWN, Workload};
use prost::Message as _;
use prost_types::Struct;
use prost_types::value::Kind;

use crate::compile::next_id;

/// A peer as it named itself, held against what its certificate proves.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    /// Distinguishes it in counters; 0 = nothing known.
    pub id: u32,
    /// Workload.
    pub workload: Workload,
    /// SPIFFE id, or empty.
    pub principal: String,
    /// A gateway, as its own proxy says.
    pub is_gateway: bool,
}

/// Peers that one worker has met.
#[derive(Default)]
pub struct Peers {
    known: HashMap<(String, Vec<u8>), Rc<Peer>>,
}

/// Peers remembered; beyond that the table starts again.
const PEERS_MAX: usize = 10_000;

impl Peers {
    /// The peer with this principal (if any) that sent this metadata (base64, if any).
    pub fn find(&mut self, principal: Option<&str>, metadata: Option<&[u8]>) -> Rc<Peer> {
        // The key is built per lookup; connections remember their last peer, so this is rare.
        let key = (
            principal.unwrap_or_default().to_owned(),
            metadata.unwrap_or_default().to_vec(),
        );
        if let Some(peer) = self.known.get(&key) {
            return Rc::clone(peer);
        }
        if self.known.len() >= PEERS_MAX {
            self.known.clear();
        }
        let peer = Rc::new(Peer {
            id: if key.0.is_empty() && key.1.is_empty() {
                0
            } else {
                next_id()
            },
            workload: workload_of(principal, metadata),
            principal: key.0.clone(),
            is_gateway: !key.0.is_empty()
                && metadata.is_some_and(|m| told_kind(m).as_deref() == Some(ROUTER)),
        });
        self.known.insert(key, Rc::clone(&peer));
        peer
    }
}

/// The namespace is the certificate's; metadata that names another one is not believed.
fn workload_of(principal: Option<&str>, metadata: Option<&[u8]>) -> Workload {
    let proven = principal.and_then(SpiffeId::parse).map(|id| id.namespace);
    let told = metadata.and_then(read_metadata);
    match (told, proven) {
        (Some(told), Some(namespace)) if told.namespace != namespace => Workload {
            namespace,
            ..Workload::unknown()
        },
        (Some(told), _) => told,
        (None, Some(namespace)) => Workload {
            namespace,
            ..Workload::unknown()
        },
        (None, None) => Workload::unknown(),
    }
}

/// Key under which a proxy says what it is; its applications cannot, since the header is the proxy's own.
pub(crate) const KIND: &str = "SIGHTLINE_PROXY_KIND";
/// A gateway.
pub(crate) const ROUTER: &str = "router";

fn told_kind(value: &[u8]) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let metadata = Struct::decode(bytes.as_slice()).ok()?;
    match metadata.fields.get(KIND)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// Reads the base64 header value.
#[must_use]
pub fn read_metadata(value: &[u8]) -> Option<Workload> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let metadata = Struct::decode(bytes.as_slice()).ok()?;
    let text = |key: &str| match metadata.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let mut labels = BTreeMap::new();
    if let Some(Kind::StructValue(found)) = metadata.fields.get("LABELS").and_then(|v| v.kind.as_ref()) {
        for (key, value) in &found.fields {
            if let Some(Kind::StringValue(value)) = &value.kind {
                labels.insert(key.clone(), value.clone());
            }
        }
    }
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.into());
    Some(Workload::from_labels(
        &or_unknown(text("NAMESPACE")),
        &or_unknown(text("WORKLOAD_NAME")),
        &or_unknown(text("CLUSTER_ID")),
        &labels,
    ))
}

/// The metadata of a workload, serialised: what a sidecar without a richer node description says of itself.
#[must_use]
pub fn write_metadata(workload: &Workload) -> Vec<u8> {
    let text = |text: &str| prost_types::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let labels = Struct {
        fields: [
            ("service.istio.io/canonical-name".to_owned(), text(&workload.app)),
            (
                "service.istio.io/canonical-revision".to_owned(),
                text(&workload.version),
            ),
        ]
        .into(),
    };
    Struct {
        fields: [
            ("NAMESPACE".to_owned(), text(&workload.namespace)),
            ("WORKLOAD_NAME".to_owned(), text(&workload.name)),
            ("CLUSTER_ID".to_owned(), text(&workload.cluster)),
            (
                "LABELS".to_owned(),
                prost_types::Value {
                    kind: Some(Kind::StructValue(labels)),
                },
            ),
        ]
        .into(),
    }
    .encode_to_vec()
}

/// As it stands in the header.
#[must_use]
pub fn encode_header(metadata: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews() -> Workload {
        Workload {
            namespace: "default".into(),
            name: "reviews-v1".into(),
            app: "reviews".into(),
            version: "v1".into(),
            cluster: "Kubernetes".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let header = encode_header(&write_metadata(&reviews()));
        assert_eq!(read_metadata(header.as_bytes()), Some(reviews()));
        assert_eq!(read_metadata(b"!!"), None);
    }

    #[test]
    fn fixed_vectors() {
        // As Istio's proxies say it: every key, labels in no order.
        const ISTIO: &str = "\
            ChwKDElOU1RBTkNFX0lQUxIMGgoxMC4yNDQuMC43CjoKCElERU5USVRZEi4aLHNwaWZmZTovL2NsdXN0ZXIubG9jYWwvbnMvZGVm\
            YXVsdC9zYS9yZXZpZXdzCk4KBU9XTkVSEkUaQ2t1YmVybmV0ZXM6Ly9hcGlzL2FwcHMvdjEvbmFtZXNwYWNlcy9kZWZhdWx0L2Rl\
            cGxveW1lbnRzL3Jldmlld3MtdjEKFgoJTkFNRVNQQUNFEgkaB2RlZmF1bHQKiwEKBkxBQkVMUxKAASp+Cg8KB3ZlcnNpb24SBBoC\
            djEKLAofc2VydmljZS5pc3Rpby5pby9jYW5vbmljYWwtbmFtZRIJGgdyZXZpZXdzChAKA2FwcBIJGgdyZXZpZXdzCisKI3NlcnZp\
            Y2UuaXN0aW8uaW8vY2Fub25pY2FsLXJldmlzaW9uEgQaAnYxCh0KDVdPUktMT0FEX05BTUUSDBoKcmV2aWV3cy12MQoaCgpDTFVT\
            VEVSX0lEEgwaCkt1YmVybmV0ZXMKFwoRUExBVEZPUk1fTUVUQURBVEESAioAChgKBE5BTUUSEBoOcmV2aWV3cy12MS01Yjg=";
        const OURS: &str = "\
            ChoKCkNMVVNURVJfSUQSDBoKS3ViZXJuZXRlcwpnCgZMQUJFTFMSXSpbCiwKH3NlcnZpY2UuaXN0aW8uaW8vY2Fub25pY2Fs\
            LW5hbWUSCRoHcmV2aWV3cworCiNzZXJ2aWNlLmlzdGlvLmlvL2Nhbm9uaWNhbC1yZXZpc2lvbhIEGgJ2MQoWCglOQU1FU1BB\
            Q0USCRoHZGVmYXVsdAodCg1XT1JLTE9BRF9OQU1FEgwaCnJldmlld3MtdjE=";
        assert_eq!(read_metadata(ISTIO.as_bytes()), Some(reviews()));
        assert_eq!(encode_header(&write_metadata(&reviews())), OURS);
    }

    #[test]
    fn a_certificate_beats_what_a_peer_says() {
        let header = encode_header(&write_metadata(&reviews()));
        let mut peers = Peers::default();
        let same = peers.find(
            Some("spiffe://cluster.local/ns/default/sa/x"),
            Some(header.as_bytes()),
        );
        assert_eq!(same.workload, reviews());
        let other = peers.find(
            Some("spiffe://cluster.local/ns/evil/sa/x"),
            Some(header.as_bytes()),
        );
        assert_eq!(
            (other.workload.namespace.as_str(), other.workload.name.as_str()),
            ("evil", UNKNOWN)
        );
        assert_eq!(peers.find(None, None).id, 0);
    }
}

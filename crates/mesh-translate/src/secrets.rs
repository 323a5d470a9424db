//! Key material that a gateway's TLS contexts refer to, from the Secrets of its own namespace.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_model::cluster::{CertificateSource, RootSource, Transport};
use mesh_model::secret::Secret;
use mesh_model::snapshot::Snapshot;

use crate::World;
use crate::node::ProxyNode;

/// Before the name of a Kubernetes Secret.
const PREFIX: &str = "kubernetes://";
/// After the name of one that holds trust anchors, as in Istio; they may be beside the certificate instead.
const ROOTS: &str = "-cacert";

/// Adds what is there; what is not there is waited for by the proxy.
pub(crate) fn build(world: &World, node: &ProxyNode, out: &mut Snapshot) {
    let (mut certificates, mut roots) = (BTreeSet::new(), BTreeSet::new());
    let mut certificate = |source: &CertificateSource| {
        if let CertificateSource::Secret(name) = source {
            certificates.insert(name.clone());
        }
    };
    let mut root = |source: &RootSource| {
        if let RootSource::Secret(name) = source {
            roots.insert(name.clone());
        }
    };
    let chains = out.listeners.values().flat_map(|l| &l.chains);
    for tls in chains.filter_map(|c| c.tls.as_ref()) {
        tls.certificates.iter().for_each(&mut certificate);
        root(&tls.validation.roots);
    }
    for cluster in out.clusters.values() {
        if let Transport::Tls(tls) | Transport::Auto(tls) = &cluster.transport {
            certificate(&tls.certificate);
            root(&tls.validation.roots);
        }
    }
    let find = |name: &str| world.secret(&node.namespace, name.strip_prefix(PREFIX)?);
    for name in certificates {
        if let Some((chain, key)) = find(&name).and_then(|m| m.certificate.clone()) {
            out.secrets
                .insert(name, Arc::new(Secret::Certificate { chain, key }));
        }
    }
    for name in roots {
        let beside = || find(name.strip_suffix(ROOTS)?);
        let material = find(&name).or_else(beside);
        if let Some(pem) = material.and_then(|m| m.roots.clone()) {
            out.secrets.insert(name, Arc::new(Secret::Roots(pem)));
        }
    }
}

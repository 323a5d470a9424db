//! Watches Secrets for key material of gateways. Nothing of them is stored, logged or shown.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use mesh_translate::KeyMaterial;
use tokio::sync::mpsc;

use crate::watch::Change;

type Known = BTreeMap<(String, String), KeyMaterial>;

/// Runs until nobody listens.
pub(crate) async fn run(client: kube::Client, changes: mpsc::Sender<Change>) {
    let stream = watcher::watcher(Api::<Secret>::all(client), watcher::Config::default()).default_backoff();
    futures::pin_mut!(stream);
    let (mut known, mut listing) = (Known::new(), Known::new());
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(secret)) => {
                take(&mut listing, secret);
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listing),
            Ok(Event::Apply(secret)) => take(&mut known, secret),
            Ok(Event::Delete(secret)) => {
                known.remove(&key(&secret));
            }
            Err(error) => {
                tracing::debug!(%error, "watch of secrets");
                continue;
            }
        }
        if changes.send(Change::Secrets(known.clone())).await.is_err() {
            return;
        }
    }
}

fn key(secret: &Secret) -> (String, String) {
    let metadata = &secret.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn take(known: &mut Known, secret: Secret) {
    let at = key(&secret);
    match material(&secret) {
        Some(material) => {
            known.insert(at, material);
        }
        None => {
            known.remove(&at);
        }
    }
}

/// Istio's keys: those of `kubernetes.io/tls`, else `cert`, `key` and `cacert`.
fn material(secret: &Secret) -> Option<KeyMaterial> {
    let data = secret.data.as_ref()?;
    let text = |names: [&str; 2]| {
        let bytes = names.iter().find_map(|name| data.get(*name))?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let found = KeyMaterial {
        certificate: text(["tls.crt", "cert"]).zip(text(["tls.key", "key"])),
        roots: text(["ca.crt", "cacert"]),
    };
    (found != KeyMaterial::default()).then_some(found)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[track_caller]
    fn check(keys: &[&str], certificate: bool, roots: bool) {
        let data = keys
            .iter()
            .map(|k| ((*k).to_owned(), ByteString(b"x".to_vec())))
            .collect();
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        let found = material(&secret).unwrap_or_default();
        assert_eq!(
            (found.certificate.is_some(), found.roots.is_some()),
            (certificate, roots),
            "{keys:?}"
        );
    }

    #[test]
    fn keys_of_secrets() {
        check(&["tls.crt", "tls.key"], true, false);
        check(&["tls.crt", "tls.key", "ca.crt"], true, true);
        check(&["cert", "key", "cacert"], true, true);
        check(&["tls.crt"], false, false);
        check(&["password"], false, false);
    }
}

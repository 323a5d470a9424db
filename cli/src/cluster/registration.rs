//! Each workload is a pod with a number; the number gives its addresses and stays with it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, PodSpec};
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use mesh_model::address::AddressBase;
use rand::Rng;
use serde_json::json;

use crate::cluster::workload::{Registered, Role, Workload};
use crate::failure::{Code, Failure, Tried};

/// Says which workload a pod is; a cluster tells it from owner references.
const WORKLOAD_LABEL: &str = "sightline.io/workload";

/// The pod's number.
const NUMBER_ANNOTATION: &str = "sightline.io/workload-number";

/// A pod must name an image; these are plain processes.
const IMAGE: &str = "process";

/// Numbers from here on belong to processes outside the mesh (the load generator).
pub(crate) const FIRST_RESERVED: u8 = 250;

/// A pod that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    pod: String,
    number: Option<u8>,
}

/// `namespace/workload`.
type Key = (String, String);

/// Gives each workload its pod, number and addresses, the same as last time.
pub(crate) async fn register(
    client: &Client,
    base: AddressBase,
    workloads: &[Workload],
) -> Result<Vec<Registered>, Failure> {
    let known = known(client).await?;
    let keys: Vec<Key> = workloads.iter().map(key).collect();
    let numbers = allocate(&known, &keys)?;
    let mut registered = Vec::new();
    for ((workload, key), number) in workloads.iter().zip(&keys).zip(numbers) {
        let pod = known
            .get(key)
            .map_or_else(|| pod_name(&workload.name), |known| known.pod.clone());
        let entry = Registered {
            workload: workload.clone(),
            pod,
            number,
            addresses: base.workload(number),
        };
        write_pod(client, &entry).await?;
        registered.push(entry);
    }
    Ok(registered)
}

fn key(workload: &Workload) -> Key {
    (workload.namespace.clone(), workload.name.clone())
}

async fn known(client: &Client) -> Result<BTreeMap<Key, Known>, Failure> {
    let pods: Api<Pod> = Api::all(client.clone());
    let list = pods
        .list(&ListParams::default().labels(WORKLOAD_LABEL))
        .await
        .tried(|| "cannot list the registered workloads".to_owned())?;
    Ok(list
        .into_iter()
        .filter_map(|pod| {
            let ObjectMeta {
                name,
                namespace,
                labels,
                annotations,
                ..
            } = pod.metadata;
            let workload = labels?.get(WORKLOAD_LABEL)?.clone();
            let number = annotations.and_then(|all| all.get(NUMBER_ANNOTATION)?.parse().ok());
            Some(((namespace?, workload), Known { pod: name?, number }))
        })
        .collect())
}

/// Keeps the numbers that are known, and gives the lowest free ones to the others.
fn allocate(known: &BTreeMap<Key, Known>, wanted: &[Key]) -> Result<Vec<u8>, Failure> {
    let mut taken: BTreeSet<u8> = known.values().filter_map(|known| known.number).collect();
    wanted
        .iter()
        .map(|key| {
            if let Some(number) = known.get(key).and_then(|known| known.number) {
                return Ok(number);
            }
            let number = (1..FIRST_RESERVED)
                .find(|number| !taken.contains(number))
                .ok_or_else(|| {
                    Failure::unavailable(format!(
                        "no address is free for workload {}/{}: the address base has room for {} workloads",
                        key.0,
                        key.1,
                        FIRST_RESERVED - 1
                    ))
                })?;
            taken.insert(number);
            Ok(number)
        })
        .collect()
}

fn pod_name(workload: &str) -> String {
    // The alphabet that Kubernetes uses for generated names: no vowels, so no words.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .filter_map(|_| {
            ALPHABET
                .get(random.random_range(0..ALPHABET.len()))
                .copied()
                .map(char::from)
        })
        .collect();
    format!("{workload}-{suffix}")
}

/// Makes the pod what it should be, not ready, whether it is there or not.
pub(crate) async fn write_pod(client: &Client, entry: &Registered) -> Result<(), Failure> {
    let what = || format!("cannot register workload {}", entry.workload.name);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &entry.workload.namespace);
    let pod = pod(entry);
    if pods.get_opt(&entry.pod).await.tried(what)?.is_none() {
        pods.create(&PostParams::default(), &pod).await.tried(what)?;
    } else {
        let metadata =
            json!({ "metadata": { "labels": pod.metadata.labels, "annotations": pod.metadata.annotations } });
        pods.patch(&entry.pod, &PatchParams::default(), &Patch::Merge(metadata))
            .await
            .tried(what)?;
    }
    set_status(client, entry, false).await
}

fn pod(entry: &Registered) -> Pod {
    let Workload {
        name,
        app,
        version,
        namespace,
        service_account,
        role,
    } = &entry.workload;
    let mut labels = BTreeMap::from([
        ("app".to_owned(), app.clone()),
        (WORKLOAD_LABEL.to_owned(), name.clone()),
        ("security.istio.io/tlsMode".to_owned(), "istio".to_owned()),
        ("service.istio.io/canonical-name".to_owned(), app.clone()),
        (
            "service.istio.io/canonical-revision".to_owned(),
            if version.is_empty() {
                "latest".to_owned()
            } else {
                version.clone()
            },
        ),
    ]);
    if !version.is_empty() {
        labels.insert("version".to_owned(), version.clone());
    }
    let port = match role {
        Role::Sidecar { port } => *port,
        Role::Gateway { bind } => {
            labels.insert("istio".to_owned(), "ingressgateway".to_owned());
            bind.port()
        }
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(entry.pod.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(
                NUMBER_ANNOTATION.to_owned(),
                entry.number.to_string(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            service_account_name: Some(service_account.clone()),
            containers: vec![Container {
                name: app.clone(),
                image: Some(IMAGE.to_owned()),
                ports: Some(vec![ContainerPort {
                    container_port: i32::from(port),
                    ..ContainerPort::default()
                }]),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// Writes the pod's address and whether it takes requests.
pub(crate) async fn set_status(client: &Client, entry: &Registered, ready: bool) -> Result<(), Failure> {
    let ip = entry.addresses.inbound().to_string();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let word = if ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": now });
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "hostIP": "127.0.0.1",
        "containerStatuses": [{
            "name": entry.workload.app,
            "image": IMAGE,
            "imageID": "",
            "ready": ready,
            "started": true,
            "restartCount": 0,
            "state": { "running": { "startedAt": now } },
        }],
        "conditions": [
            condition("PodScheduled", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", word),
            condition("Ready", word),
        ],
    }});
    let pods: Api<Pod> = Api::namespaced(client.clone(), &entry.workload.namespace);
    pods.patch_status(&entry.pod, &PatchParams::default(), &Patch::Merge(status))
        .await
        .tried_as(Code::Unavailable, || {
            format!("cannot write the status of pod {}", entry.pod)
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    #[track_caller]
    fn check(known: &[(&str, Option<u8>)], wanted: &[&str], expected: &[u8]) {
        let known = known
            .iter()
            .map(|(name, number)| {
                (
                    key(name),
                    Known {
                        pod: format!("{name}-x"),
                        number: *number,
                    },
                )
            })
            .collect();
        let wanted: Vec<Key> = wanted.iter().map(|name| key(name)).collect();
        assert_eq!(allocate(&known, &wanted).unwrap(), expected);
    }

    #[test]
    fn numbers_stay_and_gaps_are_filled() {
        check(&[], &["a", "b"], &[1, 2]);
        check(&[("a", Some(3)), ("c", Some(1))], &["a", "b"], &[3, 2]);
        check(&[("a", None)], &["b", "a"], &[1, 2]);
    }

    #[test]
    fn a_full_base_is_an_error() {
        let known = (1..FIRST_RESERVED)
            .map(|number| {
                (
                    key(&number.to_string()),
                    Known {
                        pod: String::new(),
                        number: Some(number),
                    },
                )
            })
            .collect();
        assert!(
            allocate(&known, &[key("new")])
                .unwrap_err()
                .chain()
                .contains("default/new")
        );
    }

    #[test]
    fn pod_names_are_the_workloads_with_a_suffix() {
        let name = pod_name("reviews-v1");
        assert!(
            name.strip_prefix("reviews-v1-")
                .is_some_and(|suffix| suffix.len() == 5),
            "{name}"
        );
    }
}

//! A workload is registered as a pod, with the ServiceAccount and the Service that it needs where nobody made them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Pod, PodSpec, Service, ServiceAccount, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use mesh_model::address::AddressBase;
use rand::Rng;
use serde_json::json;

use crate::cluster::workload::{Registered, Role, WORKLOAD_LABEL, Workload};
use crate::cluster::{lease, numbers, objects};
use crate::failure::{Code, Failure, Tried};

/// The pod's number.
const NUMBER_ANNOTATION: &str = "sightline.io/workload-number";

/// A pod must name an image; these are plain processes.
const IMAGE: &str = "process";

/// On objects that a registration made because they were missing; they go with the last workload that needs them.
const MADE_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "sightline-registration");

/// Gives a workload its name, pod, number and addresses, the same as last time. The pod is not ready yet.
pub(crate) async fn register(
    client: &Client,
    base: AddressBase,
    workload: &Workload,
) -> Result<Registered, Failure> {
    objects::namespace(client, &workload.namespace).await?;
    let pod = match known_pod(client, workload).await? {
        Some(pod) => pod,
        None => pod_name(&workload.name),
    };
    lease::take(client, workload, &pod).await?;
    account(client, workload).await?;
    service(client, workload).await?;
    let number = numbers::take(client, workload).await?;
    let entry = Registered {
        workload: workload.clone(),
        pod,
        number,
        addresses: base.workload(number),
    };
    write_pod(client, &entry).await?;
    Ok(entry)
}

/// Makes again what a registration needs and somebody took away; the readiness follows by itself.
pub(crate) async fn restore(client: &Client, entry: &Registered) -> Result<(), Failure> {
    account(client, &entry.workload).await?;
    service(client, &entry.workload).await?;
    write_pod(client, entry).await
}

/// Takes a registration away: the pod, what was made for it and nobody else needs, and its name.
pub(crate) async fn remove(
    client: &Client,
    namespace: &str,
    workload: &str,
    pod: &str,
) -> Result<(), Failure> {
    let what = || format!("cannot take away the registration of {workload}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    gone(pods.delete(pod, &DeleteParams::default().grace_period(0)).await).tried(what)?;
    let left = pods.list(&ListParams::default()).await.tried(what)?.items;
    let made = ListParams::default().labels(&format!("{}={}", MADE_LABEL.0, MADE_LABEL.1));

    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    for service in services.list(&made).await.tried(what)? {
        if !left.iter().any(|pod| selects(&service, pod.labels())) {
            gone(
                services
                    .delete(&service.name_any(), &DeleteParams::default())
                    .await,
            )
            .tried(what)?;
        }
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    for account in accounts.list(&made).await.tried(what)? {
        let name = account.name_any();
        let used = |pod: &Pod| {
            pod.spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.as_ref())
                == Some(&name)
        };
        if !left.iter().any(used) {
            gone(accounts.delete(&name, &DeleteParams::default()).await).tried(what)?;
        }
    }
    lease::release(client, namespace, workload).await
}

/// What is not there need not be deleted.
fn gone<T>(outcome: kube::Result<T>) -> kube::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Ignores that somebody was faster: theirs counts.
fn there<T>(outcome: kube::Result<T>) -> kube::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn known_pod(client: &Client, workload: &Workload) -> Result<Option<String>, Failure> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &workload.namespace);
    let label = format!("{WORKLOAD_LABEL}={}", workload.name);
    Ok(pods
        .list(&ListParams::default().labels(&label))
        .await
        .tried(|| "cannot list the registered workloads".to_owned())?
        .into_iter()
        .find_map(|pod| pod.metadata.name))
}

async fn account(client: &Client, workload: &Workload) -> Result<(), Failure> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &workload.namespace);
    let name = &workload.service_account;
    let what = || format!("cannot make service account {}/{name}", workload.namespace);
    if accounts.get_opt(name).await.tried(what)?.is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: made(name, workload),
        ..ServiceAccount::default()
    };
    there(accounts.create(&PostParams::default(), &account).await).tried(what)
}

fn made(name: &str, workload: &Workload) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(workload.namespace.clone()),
        labels: Some(BTreeMap::from([
            ("app".to_owned(), workload.app.clone()),
            (MADE_LABEL.0.to_owned(), MADE_LABEL.1.to_owned()),
        ])),
        ..ObjectMeta::default()
    }
}

/// Makes a Service by the application's name where none selects the workload.
async fn service(client: &Client, workload: &Workload) -> Result<(), Failure> {
    let ports = service_ports(&workload.role);
    if ports.is_empty() {
        return Ok(());
    }
    let services: Api<Service> = Api::namespaced(client.clone(), &workload.namespace);
    let what = || format!("cannot make service {}/{}", workload.namespace, workload.app);
    let labels = workload.labels();
    let all = services.list(&ListParams::default()).await.tried(what)?;
    if all.iter().any(|service| selects(service, &labels)) {
        return Ok(());
    }
    let service = Service {
        metadata: made(&workload.app, workload),
        spec: Some(ServiceSpec {
            selector: Some(BTreeMap::from([("app".to_owned(), workload.app.clone())])),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    match services.create(&PostParams::default(), &service).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Two versions that register at the same time both want to make it.
            if all.iter().all(|service| service.name_any() != workload.app) {
                return Ok(());
            }
            Err(Failure::new(
                Code::Configuration,
                format!(
                    "service {}/{} is there, but its selector does not select app={}: change its selector, or choose another --name",
                    workload.namespace, workload.app, workload.app
                ),
            ))
        }
        outcome => outcome.map(drop).tried(what),
    }
}

fn service_ports(role: &Role) -> Vec<ServicePort> {
    let port = |name: String, port: u16, target: u16| ServicePort {
        name: Some(name),
        port: i32::from(port),
        target_port: Some(IntOrString::Int(i32::from(target))),
        ..ServicePort::default()
    };
    match role {
        Role::Sidecar { ports } => ports
            .iter()
            .map(|one| port(format!("{}-{}", one.protocol, one.number), one.number, one.number))
            .collect(),
        Role::Gateway { listeners } => listeners
            .iter()
            .map(|one| {
                let protocol = if one.port == 443 { "https" } else { "http" };
                port(format!("{protocol}-{}", one.port), one.port, one.address.port())
            })
            .collect(),
    }
}

fn selects(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    })
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
    let workload = &entry.workload;
    let ports: Vec<u16> = match &workload.role {
        Role::Sidecar { ports } => ports.iter().map(|port| port.number).collect(),
        Role::Gateway { listeners } => listeners.iter().map(|one| one.address.port()).collect(),
    };
    let mut annotations = workload.annotations.clone();
    annotations.insert(NUMBER_ANNOTATION.to_owned(), entry.number.to_string());
    Pod {
        metadata: ObjectMeta {
            name: Some(entry.pod.clone()),
            namespace: Some(workload.namespace.clone()),
            labels: Some(workload.labels()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            service_account_name: Some(workload.service_account.clone()),
            containers: vec![Container {
                name: workload.app.clone(),
                image: Some(IMAGE.to_owned()),
                ports: Some(ports.into_iter().map(container_port).collect()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container_port(port: u16) -> ContainerPort {
    ContainerPort {
        container_port: i32::from(port),
        ..ContainerPort::default()
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

    #[test]
    fn pod_names_are_the_workloads_with_a_suffix() {
        let name = pod_name("reviews-v1");
        assert!(
            name.strip_prefix("reviews-v1-")
                .is_some_and(|suffix| suffix.len() == 5),
            "{name}"
        );
    }

    #[test]
    fn ports_of_a_service_say_what_is_spoken() {
        let names = |role: &Role| -> Vec<(String, i32)> {
            let ports = service_ports(role);
            ports
                .into_iter()
                .map(|port| (port.name.unwrap(), port.port))
                .collect()
        };
        let ports = ["9080", "9091:grpc"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(
            names(&Role::Sidecar { ports }),
            [("http-9080".to_owned(), 9080), ("grpc-9091".to_owned(), 9091)]
        );
        let listeners = ["127.0.0.1:8080", "127.0.0.1:8443"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(
            names(&Role::Gateway { listeners }),
            [("http-80".to_owned(), 80), ("https-443".to_owned(), 443)]
        );
    }

    #[test]
    fn a_selector_must_match_wholly_and_not_be_empty() {
        let service = |selector: &[(&str, &str)]| Service {
            spec: Some(ServiceSpec {
                selector: Some(
                    selector
                        .iter()
                        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                        .collect(),
                ),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        let labels = BTreeMap::from([
            ("app".to_owned(), "a".to_owned()),
            ("version".to_owned(), "v1".to_owned()),
        ]);
        let check =
            |selector: &[(&str, &str)], expected| assert_eq!(selects(&service(selector), &labels), expected);
        check(&[("app", "a")], true);
        check(&[("app", "a"), ("version", "v2")], false);
        check(&[], false);
        assert!(!selects(&Service::default(), &labels));
    }
}

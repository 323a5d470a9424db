//! EndpointSlices from Services and Pods, as a cluster's controller manager writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use crate::failure::{Failure, Tried};

/// Whose slices these are; others' are left alone.
const MANAGED_BY: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "endpoint-controller.sightline.io",
);

/// Ties a slice to its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Changes closer together than this are one.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Pause after a failed write.
const RETRY: Duration = Duration::from_millis(500);

/// Watches services and pods, and keeps the slices right until the runtime ends. Answers the ready addresses that
/// have been written.
pub(crate) fn run(client: Client) -> watch::Receiver<BTreeSet<String>> {
    let (written, receiver) = watch::channel(BTreeSet::new());
    tokio::spawn(async move {
        let (services, service_events) = reflect::<Service>(&client);
        let (pods, pod_events) = reflect::<Pod>(&client);
        let mut events = std::pin::pin!(futures::stream::select(service_events, pod_events));
        let mut dirty = false;
        loop {
            let pause = async {
                if dirty {
                    tokio::time::sleep(DEBOUNCE).await
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(()) => dirty = true,
                    None => return,
                },
                () = pause => {
                    let (services, pods) = (services.state(), pods.state());
                    let services: Vec<&Service> = services.iter().map(AsRef::as_ref).collect();
                    let pods: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
                    let wanted = slices(&services, &pods);
                    let ready = wanted.iter().flat_map(ready_addresses).collect();
                    match reconcile(&client, wanted).await {
                        Ok(()) => {
                            dirty = false;
                            written.send_replace(ready);
                        }
                        Err(failure) => {
                            tracing::warn!("{}", failure.chain());
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            }
        }
    });
    receiver
}

fn ready_addresses(slice: &EndpointSlice) -> Vec<String> {
    let ready = |endpoint: &&Endpoint| {
        endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or_default()
    };
    slice
        .endpoints
        .iter()
        .filter(ready)
        .flat_map(|endpoint| endpoint.addresses.clone())
        .collect()
}

/// A store that follows the API, and a stream that says when it changed.
fn reflect<K>(client: &Client) -> (Store<K>, impl Stream<Item = ()> + use<K>)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .filter_map(|event| async move {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
                Ok(_) => Some(()),
                Err(error) => {
                    tracing::warn!(%error, "a watch was interrupted, will be resumed");
                    None
                }
            }
        });
    (store, events)
}

/// Makes the slices that are there the ones that should be.
async fn reconcile(client: &Client, wanted: Vec<EndpointSlice>) -> Result<(), Failure> {
    let what = || "cannot write endpoints".to_owned();
    let all: Api<EndpointSlice> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let mut present: BTreeMap<(String, String), EndpointSlice> = all
        .list(&ours)
        .await
        .tried(what)?
        .into_iter()
        .map(|slice| (key(&slice), slice))
        .collect();
    for mut slice in wanted {
        let namespace = slice.namespace().unwrap_or_default();
        let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
        match present.remove(&key(&slice)) {
            None => {
                api.create(&PostParams::default(), &slice).await.tried(what)?;
            }
            Some(now) if now.endpoints == slice.endpoints && now.ports == slice.ports => {}
            Some(now) => {
                slice.metadata.resource_version = now.metadata.resource_version;
                api.replace(&slice.name_any(), &PostParams::default(), &slice)
                    .await
                    .tried(what)?;
            }
        }
    }
    for ((namespace, name), _) in present {
        let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
        api.delete(&name, &DeleteParams::default()).await.tried(what)?;
    }
    Ok(())
}

fn key(slice: &EndpointSlice) -> (String, String) {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

/// One slice for each service that selects pods.
fn slices(services: &[&Service], pods: &[&Pod]) -> Vec<EndpointSlice> {
    services
        .iter()
        .filter_map(|service| slice(service, pods))
        .collect()
}

fn slice(service: &Service, pods: &[&Pod]) -> Option<EndpointSlice> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let mut selected: Vec<&Pod> = pods
        .iter()
        .copied()
        .filter(|pod| pod.namespace() == service.namespace())
        .filter(|pod| {
            selector
                .iter()
                .all(|(name, value)| pod.labels().get(name) == Some(value))
        })
        .collect();
    selected.sort_by_key(|pod| pod.name_any());
    let ports = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| endpoint_port(port, &selected))
        .collect();
    let name = service.name_any();
    Some(EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{name}-endpoints")),
            namespace: service.namespace(),
            labels: Some(BTreeMap::from([
                (SERVICE_NAME.to_owned(), name),
                (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: selected.iter().filter_map(|pod| endpoint(pod)).collect(),
        ports: Some(ports),
    })
}

fn endpoint_port(port: &ServicePort, pods: &[&Pod]) -> Option<EndpointPort> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(name, pods)?,
    };
    Some(EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(number),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    })
}

fn named_port(name: &str, pods: &[&Pod]) -> Option<i32> {
    pods.iter()
        .filter_map(|pod| pod.spec.as_ref())
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(name))
        .map(|port| port.container_port)
}

fn endpoint(pod: &Pod) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.clone().filter(|address| !address.is_empty())?;
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            namespace: pod.namespace(),
            uid: pod.uid(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    fn service(ports: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "reviews", "namespace": "default" },
            "spec": { "selector": { "app": "reviews" }, "ports": ports },
        }))
        .unwrap()
    }

    fn pod(name: &str, app: &str, ip: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "default", "labels": { "app": app } },
            "spec": { "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 9080 }] }] },
            "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(service: &Service, pods: &[Pod], endpoints: &[(&str, bool)], ports: &[i32]) {
        let pods: Vec<&Pod> = pods.iter().collect();
        let slices = slices(&[service], &pods);
        let slice = slices.first().unwrap();
        let found: Vec<(String, bool)> = slice
            .endpoints
            .iter()
            .map(|endpoint| {
                let ready = endpoint
                    .conditions
                    .as_ref()
                    .and_then(|conditions| conditions.ready);
                (endpoint.addresses.concat(), ready.unwrap_or_default())
            })
            .collect();
        let expected: Vec<(String, bool)> = endpoints
            .iter()
            .map(|(address, ready)| ((*address).to_owned(), *ready))
            .collect();
        assert_eq!(found, expected);
        let found: Vec<i32> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.port)
            .collect();
        assert_eq!(found, ports);
    }

    #[test]
    fn pods_are_selected_by_label_and_keep_their_readiness() {
        let pods = [
            pod("b", "reviews", "127.64.2.2", "False"),
            pod("a", "reviews", "127.64.1.2", "True"),
            pod("c", "ratings", "127.64.3.2", "True"),
            pod("d", "reviews", "", "True"),
        ];
        let service = service(json!([{ "port": 80, "targetPort": 9080 }]));
        check(
            &service,
            &pods,
            &[("127.64.1.2", true), ("127.64.2.2", false)],
            &[9080],
        );
    }

    #[test]
    fn target_ports_are_numbers_names_or_absent() {
        let pods = [pod("a", "reviews", "127.64.1.2", "True")];
        check(
            &service(json!([{ "port": 9080 }])),
            &pods,
            &[("127.64.1.2", true)],
            &[9080],
        );
        check(
            &service(json!([{ "port": 80, "targetPort": "web" }, { "port": 81, "targetPort": "no" }])),
            &pods,
            &[("127.64.1.2", true)],
            &[9080],
        );
    }

    #[test]
    fn services_without_selector_are_left_alone() {
        let mut service = service(json!([{ "port": 80 }]));
        service.spec.as_mut().unwrap().selector = None;
        assert!(slices(&[&service], &[]).is_empty());
    }
}

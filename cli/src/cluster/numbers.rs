//! Numbers of workloads: stored, so that a workload's addresses survive a restart, and given out so that two that
//! register at the same time never get the same one.
//!
//! All of them are one ConfigMap. Who takes a number replaces the map as it read it; if another was faster, the
//! API server refuses, and the map is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use rand::Rng;

use crate::cluster::workload::{WORKLOAD_LABEL, Workload};
use crate::failure::{Failure, Tried};

/// Where the numbers are.
const NAMESPACE: &str = "istio-system";
const MAP: &str = "sightline-workload-numbers";

/// Numbers from here on belong to processes outside the mesh (load generator and the like).
pub(crate) const FIRST_RESERVED: u8 = 250;

/// Attempts before giving up: each means that somebody else got a number.
const ATTEMPTS: u32 = 300;

/// `namespace.workload` to number.
type Numbers = BTreeMap<String, String>;

/// The workload's number: the one it had, or the lowest free one.
pub(crate) async fn take(client: &Client, workload: &Workload) -> Result<u8, Failure> {
    let what = || format!("cannot get a number for workload {}", workload.name);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let key = key(&workload.namespace, &workload.name);
    for _ in 0..ATTEMPTS {
        let found = maps.get_opt(MAP).await.tried(what)?;
        let mut map = found.clone().unwrap_or_else(|| ConfigMap {
            metadata: ObjectMeta {
                name: Some(MAP.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        });
        let numbers = map.data.get_or_insert_default();
        if let Some(number) = numbers.get(&key).and_then(|number| number.parse().ok()) {
            return Ok(number);
        }
        if lowest_free(numbers).is_none() {
            forget_the_gone(client, numbers).await?;
        }
        let number = lowest_free(numbers).ok_or_else(|| {
            Failure::unavailable(format!(
                "no address is free for workload {}/{}: the address base has room for {} workloads; end some",
                workload.namespace,
                workload.name,
                FIRST_RESERVED - 1
            ))
        })?;
        numbers.insert(key.clone(), number.to_string());
        let written = if found.is_some() {
            // The version that was read is in the object: an interim change is refused.
            maps.replace(MAP, &PostParams::default(), &map).await
        } else {
            maps.create(&PostParams::default(), &map).await
        };
        match written {
            Ok(_) => return Ok(number),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let pause = rand::rng().random_range(1..20);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Err(error) => return Err(error).tried(what),
        }
    }
    Err(Failure::unavailable(format!(
        "{}: too many register at once; try again",
        what()
    )))
}

fn key(namespace: &str, workload: &str) -> String {
    // A namespace has no dot.
    format!("{namespace}.{workload}")
}

fn lowest_free(numbers: &Numbers) -> Option<u8> {
    let taken: BTreeSet<u8> = numbers
        .values()
        .filter_map(|number| number.parse().ok())
        .collect();
    (1..FIRST_RESERVED).find(|number| !taken.contains(number))
}

/// Frees the numbers of workloads that are not registered any more.
async fn forget_the_gone(client: &Client, numbers: &mut Numbers) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::all(client.clone());
    let registered: BTreeSet<String> = pods
        .list(&ListParams::default().labels(WORKLOAD_LABEL))
        .await
        .tried(|| "cannot list the registered workloads".to_owned())?
        .iter()
        .filter_map(|pod| Some(key(&pod.namespace()?, pod.labels().get(WORKLOAD_LABEL)?)))
        .collect();
    numbers.retain(|key, _| registered.contains(key));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(taken: &[&str], expected: Option<u8>) {
        let numbers = taken
            .iter()
            .map(|number| (format!("default.w{number}"), (*number).to_owned()))
            .collect();
        assert_eq!(lowest_free(&numbers), expected);
    }

    #[test]
    fn gaps_are_filled_and_reserved_numbers_are_never_given() {
        check(&[], Some(1));
        check(&["1", "3"], Some(2));
        check(&["x", "2"], Some(1));
        let all: Vec<String> = (1..FIRST_RESERVED).map(|number| number.to_string()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        check(&all, None);
    }
}

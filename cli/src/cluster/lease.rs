//! A registration lives as long as somebody renews its Lease.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::workload::{Registered, WORKLOAD_LABEL, Workload};
use crate::failure::{Failure, Tried};

/// How long a registration outlives its owner.
pub(crate) const DURATION: Duration = Duration::from_secs(10);

/// Annotation that names the pod of the registration.
pub(crate) const POD_ANNOTATION: &str = "sightline.io/pod";

/// Attempts against others who write the same lease.
const ATTEMPTS: u32 = 10;

/// The lease's name.
pub(crate) fn name(workload: &str) -> String {
    format!("sightline-workload-{workload}")
}

/// Who this process is, as a lease's holder.
pub(crate) fn holder() -> String {
    format!("process {}", std::process::id())
}

/// Takes the workload's name for this process. Fails while another living process has it.
pub(crate) async fn take(client: &Client, workload: &Workload, pod: &str) -> Result<(), Failure> {
    let what = || format!("cannot take the name {}", workload.name);
    let leases: Api<Lease> = Api::namespaced(client.clone(), &workload.namespace);
    let name = name(&workload.name);
    for _ in 0..ATTEMPTS {
        let found = leases.get_opt(&name).await.tried(what)?;
        if let Some(owner) = found.as_ref().and_then(living_holder) {
            return Err(Failure::unavailable(format!(
                "workload {}/{} runs already ({owner}): end it, or choose another --name or --version",
                workload.namespace, workload.name
            )));
        }
        let mut lease = lease(workload, pod);
        let written = match found {
            None => leases.create(&PostParams::default(), &lease).await,
            Some(old) => {
                lease.metadata.resource_version = old.metadata.resource_version;
                leases.replace(&name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            // Somebody else wrote it in this moment: look again.
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
            Err(error) => return Err(error).tried(what),
        }
    }
    Err(Failure::unavailable(format!(
        "{}: others want it, too; try again",
        what()
    )))
}

/// Renews the lease; `false`: it is not there any more.
pub(crate) async fn renew(client: &Client, entry: &Registered) -> Result<bool, Failure> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &entry.workload.namespace);
    let patch = json!({ "spec": { "renewTime": MicroTime(Timestamp::now()) } });
    match leases
        .patch(
            &name(&entry.workload.name),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => {
            Err(error).tried(|| format!("cannot renew the registration of {}", entry.workload.name))
        }
    }
}

/// Gives the name back.
pub(crate) async fn release(client: &Client, namespace: &str, workload: &str) -> Result<(), Failure> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    match leases.delete(&name(workload), &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).tried(|| format!("cannot give back the name {workload}")),
    }
}

fn lease(workload: &Workload, pod: &str) -> Lease {
    let now = MicroTime(Timestamp::now());
    Lease {
        metadata: ObjectMeta {
            name: Some(name(&workload.name)),
            namespace: Some(workload.namespace.clone()),
            labels: Some([(WORKLOAD_LABEL.to_owned(), workload.name.clone())].into()),
            annotations: Some([(POD_ANNOTATION.to_owned(), pod.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    }
}

/// Whether the lease was not renewed for its duration, counted from `since` at the earliest.
pub(crate) fn is_expired(lease: &Lease, now: Timestamp, since: Timestamp) -> bool {
    let spec = lease.spec.as_ref();
    let renewed = spec
        .and_then(|spec| spec.renew_time.as_ref())
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or_default();
    now.duration_since(renewed.max(since)) > SignedDuration::from_secs(i64::from(seconds))
}

/// The holder, if the lease is fresh and its process lives. All processes of a mesh of plain processes are on one
/// machine, so that a dead one's name need not be waited for.
fn living_holder(lease: &Lease) -> Option<String> {
    let holder = lease.spec.as_ref()?.holder_identity.clone()?;
    if holder == self::holder() || is_expired(lease, Timestamp::now(), Timestamp::UNIX_EPOCH) {
        return None;
    }
    let pid = holder.strip_prefix("process ")?;
    Path::new("/proc").join(pid).exists().then_some(holder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lease_of(holder: &str, age: i64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(10),
                renew_time: Some(MicroTime(Timestamp::now() - SignedDuration::from_secs(age))),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_name_is_held_by_a_living_process_that_renews() {
        let check = |holder: &str, age, held: bool| {
            assert_eq!(
                living_holder(&lease_of(holder, age)).is_some(),
                held,
                "{holder} {age}"
            );
        };
        // Process 1 lives as long as the machine.
        check("process 1", 1, true);
        check("process 1", 11, false);
        check("process 99999999", 1, false);
        check(&holder(), 1, false);
        check("somebody", 1, false);
    }

    #[test]
    fn expiry_counts_from_the_last_renewal_or_from_when_somebody_looked() {
        let now = Timestamp::now();
        let ago = |seconds| now - SignedDuration::from_secs(seconds);
        assert!(!is_expired(&lease_of("x", 5), now, ago(60)));
        assert!(is_expired(&lease_of("x", 12), now, ago(60)));
        assert!(!is_expired(&lease_of("x", 600), now, ago(5)));
    }
}

//! The name of a workload (its Deployment, mostly) from what a pod says.

use mesh_crd::Meta;
use mesh_crd::core::Owner;

/// The label `sightline.io/workload`, else what Istio derives from the owner, else the name itself.
pub(crate) fn workload_name(meta: &Meta, owner: Option<&Owner>) -> String {
    if let Some(name) = meta.labels.get("sightline.io/workload").filter(|n| !n.is_empty()) {
        return name.clone();
    }
    let Some(owner) = owner else {
        return meta.name.clone();
    };
    let trimmed = match owner.kind.as_str() {
        // A Deployment's ReplicaSet ends in the template hash, a CronJob's Job in the time.
        "ReplicaSet" => owner.name.rsplit_once('-').filter(|(_, hash)| {
            meta.labels
                .get("pod-template-hash")
                .is_some_and(|label| label == hash)
        }),
        "Job" => owner
            .name
            .rsplit_once('-')
            .filter(|(_, time)| time.len() >= 8 && time.bytes().all(|b| b.is_ascii_digit())),
        _ => None,
    };
    trimmed.map_or_else(|| owner.name.clone(), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(owner: Option<(&str, &str)>, labels: &[(&str, &str)], expected: &str) {
        let meta = Meta {
            name: "reviews-v1-5d8f8b9c4-abcde".into(),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Meta::default()
        };
        let owner = owner.map(|(kind, name)| Owner {
            kind: kind.into(),
            name: name.into(),
        });
        assert_eq!(workload_name(&meta, owner.as_ref()), expected);
    }

    #[test]
    fn names() {
        let hash = [("pod-template-hash", "5d8f8b9c4")];
        check(Some(("ReplicaSet", "reviews-v1-5d8f8b9c4")), &hash, "reviews-v1");
        check(Some(("ReplicaSet", "reviews-v1")), &hash, "reviews-v1");
        check(Some(("StatefulSet", "db")), &[], "db");
        check(Some(("Job", "nightly-28123456")), &[], "nightly");
        check(None, &[], "reviews-v1-5d8f8b9c4-abcde");
        check(None, &[("sightline.io/workload", "reviews-v1")], "reviews-v1");
    }
}

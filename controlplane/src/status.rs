//! Problems of objects into their status, as Istio writes them.
//!
//! A configuration revision does not cover status, so what is written here never causes a push.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use mesh_crd::kinds::Kind;
use mesh_crd::{ObjectKey, Problem, Severity};
use mesh_translate::Problems;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::index::{Facts, Generation};
use crate::metrics::Metrics;

/// Time for a burst of edits to end before statuses are written.
const SETTLE: Duration = Duration::from_millis(300);
/// Time between two writes: 20 a second at most.
const PACE: Duration = Duration::from_millis(50);
/// Most messages of one object.
const MAX_MESSAGES: usize = 50;
const RETRY: Duration = Duration::from_secs(5);

/// Problems of the newest generation that has been judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    pub(crate) problems: Arc<Problems>,
}

/// Judges every generation and writes what changed, until the index ends.
pub(crate) async fn run(
    client: kube::Client,
    mut worlds: watch::Receiver<Option<Arc<Generation>>>,
    judged: watch::Sender<Judged>,
    metrics: Arc<Metrics>,
) {
    let mut failed = false;
    loop {
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
        let Some(generation) = worlds.borrow_and_update().clone() else {
            continue;
        };
        let Some(problems) = judge(&generation).await else {
            continue;
        };
        let errors = problems
            .values()
            .filter(|list| list.iter().any(Problem::is_error))
            .count();
        let all = generation.objects.len();
        metrics
            .validation_failed
            .set(i64::try_from(errors).unwrap_or(i64::MAX));
        metrics
            .validation_passed
            .set(i64::try_from(all.saturating_sub(errors)).unwrap_or(i64::MAX));
        judged.send_replace(Judged {
            problems: Arc::clone(&problems),
        });
        tokio::time::sleep(SETTLE).await;
        if worlds.has_changed().unwrap_or(false) {
            continue;
        }
        failed = write(&client, &generation, &problems, &worlds).await;
    }
}

/// Analysis of a large world takes a while, so it runs off the async threads.
async fn judge(generation: &Arc<Generation>) -> Option<Arc<Problems>> {
    let generation = Arc::clone(generation);
    let made = tokio::task::spawn_blocking(move || mesh_translate::analyze(&generation.world)).await;
    made.map(Arc::new)
        .inspect_err(|error| tracing::error!(%error, "analysis failed"))
        .ok()
}

/// Answers whether something could not be written.
async fn write(
    client: &kube::Client,
    generation: &Generation,
    problems: &Problems,
    worlds: &watch::Receiver<Option<Arc<Generation>>>,
) -> bool {
    let none = Vec::new();
    for (key, patch) in patches(&generation.objects, |key| problems.get(key).unwrap_or(&none)) {
        if worlds.has_changed().unwrap_or(false) {
            return false;
        }
        let Some(kind) = Kind::by_kind(&key.kind) else {
            continue;
        };
        let resource = ApiResource {
            group: kind.group.into(),
            version: kind.storage_version.into(),
            api_version: kind.storage_api_version(),
            kind: kind.kind.into(),
            plural: kind.plural.into(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
        match api
            .patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => {}
            // Gone or changed meanwhile: the next generation says what to write.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => {
                tracing::warn!(%key, %error, "status cannot be written");
                return true;
            }
        }
        tokio::time::sleep(PACE).await;
    }
    false
}

/// The merge patches that bring every object's status to what is known (pure).
fn patches<'p>(
    objects: &BTreeMap<ObjectKey, Facts>,
    problems: impl Fn(&ObjectKey) -> &'p Vec<Problem>,
) -> Vec<(ObjectKey, Value)> {
    objects
        .iter()
        .filter_map(|(key, facts)| {
            let wanted = messages(problems(key));
            let present = facts
                .status
                .get("validationMessages")
                .cloned()
                .unwrap_or_else(|| json!([]));
            let observed = facts.status.get("observedGeneration").map(text);
            // An object that never had a problem needs no status.
            let clean = wanted == json!([]) && present == json!([]);
            if clean || (wanted == present && observed == Some(facts.generation.to_string())) {
                return None;
            }
            let status = json!({
                "validationMessages": wanted,
                // A string, as Istio writes 64-bit numbers.
                "observedGeneration": facts.generation.to_string(),
            });
            Some((key.clone(), json!({ "status": status })))
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `status.validationMessages` in Istio's shape.
fn messages(problems: &[Problem]) -> Value {
    let list = problems.iter().take(MAX_MESSAGES).map(|problem| {
        let level = match problem.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Info => "INFO",
        };
        json!({
            "type": { "code": problem.code, "name": problem.to_string() },
            "level": level,
        })
    });
    list.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(status: Value) -> Facts {
        Facts {
            generation: 2,
            status,
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(status: Value, problems: Vec<Problem>, writes: bool) -> Option<Value> {
        let key = ObjectKey::new("VirtualService", "default", "reviews");
        let objects = BTreeMap::from([(key, facts(status))]);
        let mut patches = patches(&objects, |_| &problems);
        assert_eq!(patches.len(), usize::from(writes));
        patches.pop().map(|(_, patch)| patch)
    }

    #[test]
    fn only_what_differs_is_written() {
        let problem = Problem::invalid("spec.http", "is empty", "add a rule");
        check(Value::Null, vec![], false);
        check(json!({ "conditions": [] }), vec![], false);
        let patch = check(Value::Null, vec![problem.clone()], true).unwrap_or_default();
        let message = &patch["status"]["validationMessages"][0];
        assert_eq!(message["type"]["code"], "IST0106");
        assert_eq!(message["level"], "ERROR");
        // What was written is what is wanted: no second write.
        check(patch["status"].clone(), vec![problem.clone()], false);
        check(patch["status"].clone(), vec![], true);
        let mut older = patch["status"].clone();
        older["observedGeneration"] = json!("1");
        check(older, vec![problem], true);
    }
}

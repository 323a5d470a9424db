//! What an object's end means for those that name it as their owner.

use serde_json::Value;

use crate::object::{edit_metadata, has_finalizers, is_deleting, now};
use crate::registry::Resource;
use crate::status::Refusal;
use crate::store::Transaction;

/// How far ownership is followed; a longer chain is a loop or a mistake.
const MOST: usize = 10_000;

/// What becomes of the dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They go with their last owner.
    Deleted,
    /// They stay, and forget the owner.
    Orphaned,
}

/// Settles the dependents of an object that is gone.
pub(crate) async fn settle(tx: &mut Transaction<'_>, gone: &Value, fate: Fate) -> Result<(), Refusal> {
    let uid = |object: &Value| crate::object::meta(object, "uid").to_owned();
    let mut waiting = vec![(uid(gone), fate)];
    let mut settled = 0;
    while let Some((owner, fate)) = waiting.pop() {
        if owner.is_empty() || !tx.owns(&owner) {
            continue;
        }
        for (key, mut object) in tx.dependents(&owner).await? {
            settled += 1;
            if settled > MOST {
                return Ok(());
            }
            let left = forget(&mut object, &owner);
            if left > 0 || fate == Fate::Orphaned {
                tx.put(&key, object).await?;
            } else if !has_finalizers(&object) {
                waiting.push((uid(&object), Fate::Deleted));
                tx.remove(&key, object).await?;
            } else if !is_deleting(&object) {
                edit_metadata(&mut object, |m| {
                    m.insert("deletionTimestamp".into(), now().into())
                });
                tx.put(&key, object).await?;
            }
        }
    }
    Ok(())
}

/// Takes one owner out; how many are left.
fn forget(object: &mut Value, owner: &str) -> usize {
    edit_metadata(object, |metadata| {
        let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") else {
            return 0;
        };
        owners.retain(|reference| reference.get("uid").and_then(Value::as_str) != Some(owner));
        let left = owners.len();
        if left == 0 {
            metadata.shift_remove("ownerReferences");
        }
        left
    })
}

/// What a delete's options say: nothing means that dependents go, too, as on a cluster.
pub(crate) fn fate(propagation: Option<&str>, orphan: Option<bool>) -> Fate {
    match (propagation, orphan) {
        (Some("Orphan"), _) | (None, Some(true)) => Fate::Orphaned,
        _ => Fate::Deleted,
    }
}

/// The resource of a stored key.
pub(crate) fn storage(name: &str) -> Option<&'static Resource> {
    crate::registry::all().iter().find(|r| r.storage == name)
}

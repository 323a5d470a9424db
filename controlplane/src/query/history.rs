//! `/api/revisions`: the history of configuration.

use axum::extract::{Query as Params, State};
use axum::response::Json;
use mesh_api::config::ObjectName;
use mesh_api::history::{Revision, RevisionList};
use mesh_crd::ObjectKey;
use mesh_store::records::{self, Change, RevisionQuery};
use serde::Deserialize;

use super::graph::TIME_REMEDY;
use super::{Failure, Query, time};
use crate::clock::{rfc3339, unix_ms};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RevisionsParams {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
    before: u64,
    limit: Option<usize>,
}

pub(super) async fn revisions(
    State(query): State<Query>,
    params: Result<Params<RevisionsParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RevisionList>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure::bad(
            format!("limit {limit} is not within 1 to {MAX_LIMIT}"),
            "leave it out for the usual one",
        ));
    }
    let now_ms = unix_ms();
    let at = |text: Option<&str>| {
        text.filter(|text| !text.is_empty()).map_or(Ok(0), |text| {
            time::parse(text, now_ms).map_err(|e| Failure::bad(e, TIME_REMEDY))
        })
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let wanted = RevisionQuery {
        from_ms: at(params.from.as_deref())?,
        to_ms: at(params.to.as_deref().filter(|to| *to != "now"))?,
        kind: given(params.kind),
        namespace: given(params.namespace),
        name: given(params.name),
        before: params.before,
    };
    let found = query.revisions.revisions(&wanted, limit).await?;
    let shaped = found.iter().map(|found| Revision {
        live: query.live_of(found),
        ..revision(found)
    });
    Ok(Json(RevisionList {
        revisions: shaped.collect(),
    }))
}

impl Query {
    /// Proxies that run a revision, if it is the present state of its object.
    fn live_of(&self, revision: &records::Revision) -> Option<u32> {
        let key = ObjectKey::new(&revision.kind, &revision.namespace, &revision.name);
        if revision.change == Change::Deleted || !self.present.is(&key, &revision.resource_version) {
            return None;
        }
        let generation = self.worlds.borrow().clone()?;
        let facts = generation.objects.get(&key)?;
        Some(
            self.propagation_of(&generation, &key, facts, &facts.resource_version)
                .live,
        )
    }
}

/// As the API shows it.
pub(super) fn revision(revision: &records::Revision) -> Revision {
    Revision {
        id: revision.id,
        object: ObjectName {
            kind: revision.kind.clone(),
            namespace: revision.namespace.clone(),
            name: revision.name.clone(),
        },
        at: rfc3339(revision.at_ms),
        change: match revision.change {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Deleted => "deleted",
        }
        .to_owned(),
        resource_version: revision.resource_version.clone(),
        generation: revision.generation,
        user: revision.user.clone(),
        manager: revision.manager.clone(),
        yaml: revision.yaml.clone(),
        gap: revision.gap,
        live: None,
    }
}

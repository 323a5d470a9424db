//! `/api/objects`, `/api/analyze`, `/api/propagation`.

use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::Json;
use mesh_api::config::{
    AnalyzeAnswer, AnalyzeRequest, ObjectList, ObjectName, ObjectSummary, Problem, Propagation, Severity,
};
use mesh_crd::ObjectKey;
use serde::Deserialize;

use super::{Failure, Query};
use crate::index::{Facts, Generation};

pub(super) async fn objects(State(query): State<Query>) -> Result<Json<ObjectList>, Failure> {
    let generation = query.generation()?;
    let keys = generation.objects.keys();
    Ok(Json(ObjectList {
        objects: keys.filter_map(|key| query.summary(&generation, key)).collect(),
    }))
}

/// The object as if it were saved: its own problems, and those of its references.
pub(super) async fn analyze(
    State(query): State<Query>,
    request: Result<Json<AnalyzeRequest>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<AnalyzeAnswer>, Failure> {
    let Json(request) =
        request.map_err(|e| Failure::bad(e.body_text(), "send {\"yaml\": \"...\"} as application/json"))?;
    let generation = query.generation()?;
    let made = tokio::task::spawn_blocking(move || judge(&generation, &request.yaml)).await;
    made.map(Json)
        .map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn judge(generation: &Generation, yaml: &str) -> AnalyzeAnswer {
    let parsed = mesh_crd::parse_yaml(yaml);
    let mut problems = parsed.problems.clone();
    if let (Some(key), Some(_)) = (&parsed.key, &parsed.object) {
        let mut world = generation.world.clone();
        world.apply(parsed.clone());
        let judged = mesh_translate::analyze(&world);
        for found in judged.get(key).into_iter().flatten() {
            let known = problems
                .iter()
                .any(|p| p.code == found.code && p.field == found.field && p.message == found.message);
            if !known {
                let mut found = found.clone();
                if found.line.is_none() {
                    (found.line, found.column) = mesh_crd::locate(yaml, &found.field);
                }
                problems.push(found);
            }
        }
    }
    problems.sort_by_key(|p| (p.line, p.column));
    AnalyzeAnswer {
        problems: problems.iter().map(problem).collect(),
        object: parsed.key.as_ref().map(name),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PropagationParams {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(rename = "resourceVersion")]
    resource_version: Option<String>,
}

pub(super) async fn propagation(
    State(query): State<Query>,
    params: Result<Params<PropagationParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Propagation>, Failure> {
    let Params(params) =
        params.map_err(|e| Failure::bad(e.body_text(), "name kind, namespace, name, resourceVersion"))?;
    let generation = query.generation()?;
    let key = ObjectKey::new(&params.kind, &params.namespace, &params.name);
    let unknown = Facts::default();
    let facts = generation.objects.get(&key).unwrap_or(&unknown);
    let version = params
        .resource_version
        .as_ref()
        .unwrap_or(&facts.resource_version);
    Ok(Json(query.propagation_of(&generation, &key, facts, version)))
}

impl Query {
    /// An Istio object in one line.
    pub(super) fn summary(&self, generation: &Generation, key: &ObjectKey) -> Option<ObjectSummary> {
        let facts = generation.objects.get(key)?;
        let judged = self.judged.borrow();
        let problems = judged.problems.get(key);
        Some(ObjectSummary {
            object: name(key),
            api_version: facts.api_version.clone(),
            resource_version: facts.resource_version.clone(),
            generation: facts.generation,
            created: facts.created.clone(),
            summary: generation.world.get(key).map(|o| o.summary()).unwrap_or_default(),
            problems: problems
                .map(|list| list.iter().map(problem).collect())
                .unwrap_or_default(),
            propagation: self.propagation_of(generation, key, facts, &facts.resource_version),
        })
    }

    pub(super) fn propagation_of(
        &self,
        generation: &Generation,
        key: &ObjectKey,
        facts: &Facts,
        resource_version: &str,
    ) -> Propagation {
        let included = facts.included_in(resource_version);
        // A VirtualService concerns those that have rules of it; one that is not in force yet, everyone.
        let rules = (key.kind == "VirtualService" && generation.world.get(key).is_some())
            .then(|| format!("{}/{}", key.namespace, key.name));
        self.proxies.propagation(included, rules.as_deref())
    }
}

fn name(key: &ObjectKey) -> ObjectName {
    ObjectName {
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

fn problem(problem: &mesh_crd::Problem) -> Problem {
    Problem {
        code: problem.code.to_owned(),
        severity: match problem.severity {
            mesh_crd::Severity::Info => Severity::Info,
            mesh_crd::Severity::Warning => Severity::Warning,
            mesh_crd::Severity::Error => Severity::Error,
        },
        field: problem.field.clone(),
        line: problem.line,
        column: problem.column,
        message: problem.message.clone(),
        remedy: problem.remedy.clone(),
    }
}

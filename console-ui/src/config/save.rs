//! The one way by which pages change objects.

use gloo_net::http::Method;
use mesh_api::config::{
    AnalyzeAnswer, ObjectName, ObjectSource, Problem, SaveConflict, SaveRequest, Severity,
};

use crate::api::{self, Failure};

/// Problems with an object's shape: the API server refuses them too.
const SCHEMA: &str = "IST0106";

/// What became of a save.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is in force.
    Saved(ObjectSource),
    /// Someone else was faster.
    Conflict(SaveConflict),
    /// It has these problems.
    Invalid(Vec<Problem>, Failure),
    /// Something else.
    Failed(Failure),
}

/// Path of an object at the API.
pub fn path_of(name: &ObjectName) -> String {
    format!("/api/objects/{}/{}/{}", name.kind, name.namespace, name.name)
}

/// Path of an object's page.
pub fn page_of(name: &ObjectName) -> String {
    format!("/config/{}/{}/{}", name.kind, name.namespace, name.name)
}

/// Saves a text over the version that it is based on; without one, creates the object. `despite` overrides errors
/// that the API server accepts.
pub async fn save(base: &ObjectSource, yaml: String, despite: bool) -> Outcome {
    let body = SaveRequest {
        yaml,
        resource_version: base.resource_version.clone(),
        dry_run: false,
        despite,
    };
    let answer = if base.resource_version.is_empty() {
        api::send::<_, ObjectSource>(Method::POST, "/api/objects", &body).await
    } else {
        api::send::<_, ObjectSource>(Method::PUT, &path_of(&base.object), &body).await
    };
    let failure = match answer {
        Ok(source) => return Outcome::Saved(source),
        Err(failure) => failure,
    };
    if failure.status == 409
        && let Ok(conflict) = serde_json::from_str::<SaveConflict>(&failure.body)
    {
        return Outcome::Conflict(conflict);
    }
    if failure.status == 422
        && let Ok(answer) = serde_json::from_str::<AnalyzeAnswer>(&failure.body)
    {
        return Outcome::Invalid(answer.problems, failure);
    }
    Outcome::Failed(failure)
}

/// How far problems stand in the way of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not at all.
    Fine,
    /// The API server accepts it, but it will not do what it says: asked once more.
    Doubtful,
    /// The API server refuses it.
    Refused,
}

/// Judges problems.
pub fn verdict(problems: &[Problem]) -> Verdict {
    let mut errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .peekable();
    if errors.peek().is_none() {
        Verdict::Fine
    } else if errors.all(|problem| problem.code != SCHEMA) {
        Verdict::Doubtful
    } else {
        Verdict::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_subset_may_be_saved_and_a_wrong_field_not() {
        let problem = |code: &str, severity| Problem {
            code: code.into(),
            severity,
            ..Problem::default()
        };
        for (problems, expected) in [
            (vec![], Verdict::Fine),
            (vec![problem("IST0106", Severity::Warning)], Verdict::Fine),
            (vec![problem("IST0101", Severity::Error)], Verdict::Doubtful),
            (
                vec![
                    problem("IST0101", Severity::Error),
                    problem("IST0106", Severity::Error),
                ],
                Verdict::Refused,
            ),
        ] {
            assert_eq!(verdict(&problems), expected);
        }
    }
}

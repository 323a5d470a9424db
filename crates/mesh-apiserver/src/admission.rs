//! What a mesh's validating webhook would refuse.

use mesh_crd::{Problem, Severity, parse_value};
use serde_json::Value;

use crate::registry::Resource;
use crate::status::Refusal;

/// What a webhook would warn of: rules without effect and the like.
pub(crate) fn warnings(object: &Value, resource: &Resource) -> Vec<String> {
    if !resource.is_istio() {
        return Vec::new();
    }
    let problems = parse_value(object).problems.into_iter();
    problems
        .filter(|problem| problem.severity == Severity::Warning)
        .map(|problem| problem.message)
        .collect()
}

/// Refuses an Istio object whose meaning is wrong.
pub(crate) fn review(object: &Value, resource: &Resource) -> Result<(), Refusal> {
    if !resource.is_istio() {
        return Ok(());
    }
    let faults: Vec<String> = parse_value(object)
        .problems
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(told)
        .collect();
    let list = match faults.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("{} errors occurred:\n\t* {}\n", many.len(), many.join("\n\t* ")),
    };
    Err(Refusal::bad_request(format!(
        "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: {list}"
    )))
}

/// Where, what, and what to do about it.
fn told(problem: Problem) -> String {
    let mut told = match problem.field.is_empty() {
        true => problem.message,
        false => format!("{}: {}", problem.field, problem.message),
    };
    if !problem.remedy.is_empty() {
        told.push_str("; ");
        told.push_str(&problem.remedy);
    }
    told
}

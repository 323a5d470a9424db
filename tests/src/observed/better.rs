//! Where we deliberately do better than what was recorded: what is expected instead, and why.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::case::Case;

/// What is expected instead of the recording.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Better {
    /// Why it is better.
    pub why: String,
    /// Admission refuses, naming one of these fields.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Other values, by `<step>.<field>`.
    #[serde(default)]
    pub observed: Map<String, Value>,
}

/// Puts the better expectations into their cases, and the fields that a refusal names into `must_name`.
pub fn expect_better(
    cases: &mut [Case],
    better: &BTreeMap<String, Better>,
    must_name: &mut BTreeMap<String, Vec<String>>,
) -> anyhow::Result<()> {
    for (id, better) in better {
        let case = cases
            .iter_mut()
            .find(|case| case.id == *id)
            .with_context(|| format!("better.json names {id:?}, which is no case"))?;
        if !better.refused.is_empty() {
            case.rejected = Some(better.why.clone());
            case.steps.clear();
            case.compare = vec!["rejected".to_owned()];
            must_name.insert(id.clone(), better.refused.clone());
        }
        for (field, value) in &better.observed {
            replace(case, field, value).with_context(|| format!("better.json, {id}: {field}"))?;
        }
    }
    Ok(())
}

fn replace(case: &mut Case, field: &str, value: &Value) -> anyhow::Result<()> {
    let (step, path) = field.split_once('.').context("no step")?;
    let step = case
        .steps
        .get_mut(step.parse::<usize>()?)
        .context("no such step")?;
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let place = step.observed.get_mut(first).context("not recorded")?;
    match (rest, place) {
        (None, place) => *place = value.clone(),
        (Some(rest), Value::Object(map)) => {
            map.insert(rest.to_owned(), value.clone());
        }
        (Some(_), _) => bail!("not an object"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_list_fits_the_cases() {
        let mut cases = Case::read_all(include_str!("../../data/observed/routing/cases.jsonl")).unwrap();
        let better = serde_json::from_str(include_str!("../../data/observed/routing/better.json")).unwrap();
        let mut must_name = BTreeMap::new();
        expect_better(&mut cases, &better, &mut must_name).unwrap();
        let of = |id: &str| cases.iter().find(|case| case.id == id).unwrap();
        assert!(of("redirect-code-304").rejected.is_some() && of("redirect-code-304").steps.is_empty());
        assert_eq!(must_name["accepted-fault-600"], ["httpStatus"]);
        let log = &of("http11-bad-request-line").steps[1].observed["client_log"];
        assert_eq!(log["response_flags"], "DPE");
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let mut cases = Case::read_all(include_str!("../../data/observed/routing/cases.jsonl")).unwrap();
        for field in ["99.status", "0.nothing.x", "0.status.x", "status"] {
            assert!(replace(&mut cases[0], field, &Value::Null).is_err(), "{field}");
        }
    }
}

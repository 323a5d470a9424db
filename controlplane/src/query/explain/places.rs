//! Where a rule stands in its object: field and line of the YAML that the console shows.

use std::collections::BTreeMap;

use mesh_api::explain::{Hop, ObjectPlace};
use mesh_model::explain::{Answer, Place, Spot};
use mesh_store::records::RevisionQuery;
use serde_json::Value;

use crate::query::Query;

/// An object's text with its content.
struct Source {
    yaml: String,
    value: Value,
}

/// Completes the places of the hops; `answers` are those that the hops were made of.
pub(super) async fn find(query: &Query, hops: &mut [Hop], answers: &[Answer]) {
    let mut sources: BTreeMap<(String, String, String), Option<Source>> = BTreeMap::new();
    for (hop, answer) in hops.iter_mut().zip(answers) {
        for (shown, decided) in hop.decisions.iter_mut().zip(&answer.decisions) {
            for (shown, candidate) in shown.candidates.iter_mut().zip(&decided.candidates) {
                let (Some(place), Some(shown)) = (&candidate.object, &mut shown.object) else {
                    continue;
                };
                let key = (place.kind.to_owned(), place.namespace.clone(), place.name.clone());
                if !sources.contains_key(&key) {
                    let source = source(query, place).await;
                    sources.insert(key.clone(), source);
                }
                if let Some(Some(source)) = sources.get(&key) {
                    complete(shown, place, source);
                }
            }
        }
    }
}

/// The newest state of the object.
async fn source(query: &Query, place: &Place) -> Option<Source> {
    let wanted = RevisionQuery {
        kind: Some(place.kind.to_owned()),
        namespace: Some(place.namespace.clone()),
        name: Some(place.name.clone()),
        ..RevisionQuery::default()
    };
    let newest = query
        .revisions
        .revisions(&wanted, 1)
        .await
        .ok()?
        .into_iter()
        .next()?;
    let value = serde_saphyr::from_str(&newest.yaml).ok()?;
    Some(Source {
        yaml: newest.yaml,
        value,
    })
}

fn complete(shown: &mut ObjectPlace, place: &Place, source: &Source) {
    if let Some(field) = field(&place.spot, &source.value) {
        shown.line = mesh_crd::locate(&source.yaml, &field).0;
        shown.field = field;
    }
}

fn field(spot: &Spot, object: &Value) -> Option<String> {
    match spot {
        Spot::Whole => None,
        Spot::Rule(position) => Some(format!("spec.rules[{position}]")),
        Spot::Route {
            route,
            match_name,
            of,
        } => {
            let all = rules(object);
            let mut named = all
                .iter()
                .filter(|rule| rule.route == *route && rule.name == *match_name);
            let by_name = named.next().filter(|_| named.next().is_none());
            // Without names of their own, rules keep their order.
            let by_order = || all.get(of.0).filter(|_| all.len() == of.1);
            by_name.or_else(by_order).map(|rule| rule.field.clone())
        }
    }
}

struct Rule<'v> {
    route: &'v str,
    name: &'v str,
    field: String,
}

fn name(of: &Value) -> &str {
    of.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Each match of each HTTP route, or the route itself where it has none.
fn rules(object: &Value) -> Vec<Rule<'_>> {
    let routes = object.pointer("/spec/http").and_then(Value::as_array);
    let mut all = Vec::new();
    for (at, route) in routes.into_iter().flatten().enumerate() {
        let own = name(route);
        let matches = route
            .get("match")
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty());
        match matches {
            None => all.push(Rule {
                route: own,
                name: "",
                field: format!("spec.http[{at}]"),
            }),
            Some(list) => all.extend(list.iter().enumerate().map(|(within, one)| Rule {
                route: own,
                name: name(one),
                field: format!("spec.http[{at}].match[{within}]"),
            })),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const YAML: &str = "spec:\n  hosts:\n  - reviews\n  http:\n  - name: jason\n    match:\n    - name: by-user\n      uri:\n        \
                        prefix: /\n    - uri:\n        prefix: /x\n  - route: []\n";

    #[track_caller]
    fn check(route: &str, match_name: &str, of: (usize, usize), expected: Option<(&str, u32)>) {
        let value: Value = serde_saphyr::from_str(YAML).unwrap();
        let spot = Spot::Route {
            route: route.into(),
            match_name: match_name.into(),
            of,
        };
        let found = field(&spot, &value).map(|field| {
            let line = mesh_crd::locate(YAML, &field).0.unwrap_or_default();
            (field, line)
        });
        let expected = expected.map(|(field, line)| (field.to_owned(), line));
        assert_eq!(found, expected, "{route} {match_name}");
    }

    #[test]
    fn rules_are_found_by_name_and_by_order() {
        check("jason", "by-user", (0, 3), Some(("spec.http[0].match[0]", 7)));
        check("jason", "", (1, 3), Some(("spec.http[0].match[1]", 10)));
        check("", "", (2, 3), Some(("spec.http[1]", 12)));
        check("gone", "", (0, 2), None);
    }
}

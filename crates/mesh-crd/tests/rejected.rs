//! What a real Istio's admission refused or accepted, and the field that it named.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use mesh_crd::{Parsed, parse_yaml};
use serde_json::Value;

/// Webhook messages say no path: part of the message, and where the fault is.
const FIELDS: &[(&str, &str)] = &[
    ("\"headers\": error parsing regexp", ".headers["),
    (
        "authority header cannot be set multiple times",
        "headers.request.set[",
    ),
    ("Un-escaped %", "headers.request.set["),
    ("total destination weight = 0", ".route"),
    ("cannot contain both fault and", ".fault"),
    ("wildcard host * is not allowed", "spec.hosts[0]"),
    ("exportTo", "spec.exportTo"),
    ("http, tcp or tls must be provided", "spec"),
    ("invalid (label \"*\" invalid)", "hosts[0]"),
    ("invalid (label \"app/zz\" invalid)", "spec.hosts[0]"),
    ("cannot contain both rewrite and redirect", ".rewrite"),
    ("is not a valid redirect code", ".redirectCode"),
    ("HTTP status 99", ".directResponse.status"),
    ("weight -1 < 0", ".weight"),
    ("port number 70000", ".port.number"),
    ("\"uri\": error parsing regexp", ".uri"),
    ("header name a b", ".headers[a b]"),
    ("attempts cannot be negative", ".retries.attempts"),
    ("attempts are set to 0", ".retries"),
    ("is not a valid retryOn policy", ".retries.retryOn"),
    ("percentage 101", ".percentage.value"),
    ("rewrite ", ".rewrite"),
    ("must not specify route", ".route"),
    ("delegate virtual service must have no gateways", "spec.gateways"),
    ("invalid value for gateway name", "spec.gateways[0]"),
    ("header name cannot be empty", "headers.request.set["),
    ("empty domain name not allowed", "spec.host"),
    ("subset name is invalid", "spec.subsets[0].name"),
    ("invalid tag value", "spec.subsets[0].labels["),
    ("connection pool must have at least one field", ".connectionPool"),
    ("use client protocol must not be true", ".useClientProtocol"),
    (
        "traffic policy must have at least one field",
        "spec.trafficPolicy",
    ),
    ("port number 0", "spec.servers[0].port.number"),
    ("invalid protocol \"GOPHER\"", "spec.servers[0].port.protocol"),
    ("server cannot have TLS settings", "spec.servers[0].tls"),
    (
        "requires a client CA bundle",
        "spec.servers[0].tls.caCertificates",
    ),
    ("short names (non FQDN)", "spec.servers[0].hosts[0]"),
    ("server must have TLS settings", "spec.servers[0].tls"),
    ("1.2.3 is not a valid IP", "spec.addresses[0]"),
];

struct Case {
    id: String,
    rejected: Option<String>,
    warnings: Vec<String>,
    parsed: Vec<Parsed>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/observed/routing")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("cases.jsonl"))
        .expect("tests/data/observed/routing/cases.jsonl");
    text.lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| case[name].as_str().map(str::to_owned);
            let list = |name: &str| -> Vec<String> {
                let list = case[name].as_array();
                list.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            };
            Case {
                id: text("id").unwrap(),
                rejected: text("rejected"),
                warnings: list("warnings"),
                parsed: text("config")
                    .unwrap_or_default()
                    .split("\n---\n")
                    .filter(|t| !t.trim().is_empty())
                    .map(parse_yaml)
                    .collect(),
            }
        })
        .collect()
}

/// The path that Kubernetes prints, or the one that the table knows.
fn expected_field(message: &str) -> Option<String> {
    let after = |text: &str, end: &[char]| {
        let (_, rest) = message.split_once(text)?;
        Some(rest[..rest.find(end).unwrap_or(rest.len())].to_owned())
    };
    if message.contains("unknown field") {
        return after("unknown field \"", &['"']);
    }
    if message.contains("must validate one and only one schema") {
        return after("Invalid value: \"\": \"", &['"']);
    }
    let known = FIELDS.iter().find(|(part, _)| message.contains(part));
    known.map(|(_, field)| (*field).to_owned()).or_else(|| {
        let (_, rest) = message.split_once(" is invalid: ")?;
        let path = rest.trim_start_matches('[').split(": ").next()?;
        Some(path.to_owned())
    })
}

/// Why a case is not reproduced; `None` when it is.
fn verdict(case: &Case) -> Option<String> {
    let errors: Vec<_> = case
        .parsed
        .iter()
        .flat_map(|p| &p.problems)
        .filter(|p| p.is_error())
        .collect();
    let refused = case.parsed.iter().any(|p| p.object.is_none());
    let Some(message) = &case.rejected else {
        if refused {
            return Some(format!("accepted by Istio, refused here: {errors:?}"));
        }
        let ours: Vec<_> = case
            .parsed
            .iter()
            .flat_map(|p| &p.problems)
            .map(|p| p.message.as_str())
            .collect();
        return case
            .warnings
            .iter()
            .find(|w| !ours.contains(&w.as_str()))
            .map(|w| format!("warning {w:?} is missing, there are {ours:?}"));
    };
    if !refused {
        return Some(format!("refused by Istio, accepted here: {message}"));
    }
    let Some(field) = expected_field(message) else {
        return Some(format!("which field does {message:?} mean?"));
    };
    let named = errors
        .iter()
        .any(|p| p.field.contains(&field) && !p.remedy.is_empty());
    (!named).then(|| format!("{field:?} is not named: {errors:?}"))
}

#[test]
fn admission_agrees() {
    let file = folder().join("rejected.passing");
    let listed: BTreeSet<String> = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let text = std::fs::read_to_string(folder().join("cases.jsonl")).unwrap();
    let about_admission: BTreeSet<String> = text
        .lines()
        .filter(|l| {
            let case: Value = serde_json::from_str(l).unwrap();
            let compare = case["compare"].as_array().unwrap();
            compare.iter().any(|c| c == "rejected")
        })
        .map(|l| {
            serde_json::from_str::<Value>(l).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let (mut passing, mut broken) = (Vec::new(), Vec::new());
    for case in cases().iter().filter(|c| about_admission.contains(&c.id)) {
        match verdict(case) {
            None => passing.push(case.id.clone()),
            Some(reason) => {
                println!("{}: {reason}", case.id);
                if listed.contains(&case.id) {
                    broken.push(format!("{}: {reason}", case.id));
                }
            }
        }
    }
    println!("{} of {} agree", passing.len(), about_admission.len());
    if std::env::var_os("SIGHTLINE_BLESS").is_some() {
        std::fs::write(&file, passing.join("\n") + "\n").unwrap();
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let unknown: Vec<_> = listed.difference(&about_admission).collect();
    assert!(unknown.is_empty(), "no such cases: {unknown:?}");
    assert!(passing.len() >= listed.len());
}

/// Objects that Istio admits and that make its proxies refuse a route table: we refuse them (docs/differences.md).
#[test]
fn harmful_objects_are_refused() {
    let harmful = [
        ("redirect-code-304", "spec.http[0].redirect.redirectCode"),
        ("accepted-direct-600", "spec.http[0].directResponse.status"),
        ("accepted-fault-600", "spec.http[0].fault.abort.httpStatus"),
    ];
    for case in &cases() {
        if let Some((_, field)) = harmful.iter().find(|(id, _)| *id == case.id) {
            let errors: Vec<_> = case
                .parsed
                .iter()
                .flat_map(|p| &p.problems)
                .filter(|p| p.is_error())
                .collect();
            assert!(
                errors.iter().any(|p| p.field == *field),
                "{}: {errors:?}",
                case.id
            );
        }
    }
}

/// Every object that Istio put into force is valid here too, but for the harmful ones.
#[test]
fn accepted_objects_are_accepted() {
    let mut wrong = Vec::new();
    for case in cases() {
        let harmful = ["redirect-code-304", "accepted-direct-600", "accepted-fault-600"];
        // Its host is a placeholder for an address of the run.
        if case.id == "host-vip" {
            continue;
        }
        if case.rejected.is_none() && !harmful.contains(&case.id.as_str()) {
            for parsed in case.parsed.iter().filter(|p| p.object.is_none()) {
                wrong.push(format!("{}: {:?}", case.id, parsed.problems));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Holds an outcome against the recording, field by field, as far as `compare` names them.

use serde_json::{Map, Value};

use super::case::Case;
use super::outcome::{Admission, Outcome};
use super::places::with_key;

/// A field that is not as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `<step>.<field>`, or a field of the case.
    pub field: String,
    /// As recorded.
    pub expected: Value,
    /// As played.
    pub got: Value,
}

/// All differences, in the order of `compare`. `keys` are the steps' `$U`; `must_name` are fields of which a
/// refusal names one.
#[must_use]
pub fn compare(case: &Case, keys: &[String], must_name: &[String], outcome: &Outcome) -> Vec<Difference> {
    let mut differences = admission(case, must_name, outcome);
    if case.rejected.is_none() && matches!(outcome.admission, Admission::Refused { .. }) {
        return differences;
    }
    if case.compares("proxy_nack") && !outcome.nacks.is_empty() {
        // A refusing proxy keeps stale routes: never right, also where the recorded mesh did so.
        differences.push(difference(
            "proxy_nack",
            Value::Bool(false),
            outcome.nacks.join("; ").into(),
        ));
    }
    for (number, step) in case.steps.iter().enumerate() {
        let empty = Map::new();
        let got = outcome.steps.get(number).unwrap_or(&empty);
        let key = keys.get(number).map_or("", String::as_str);
        for field in case.fields_of(number) {
            let expected = with_key(at(&step.observed, field), key);
            let actual = at(got, field);
            let echo_length =
                field == "headers.content-length" && !at(&step.observed, "headers.x-upstream").is_null();
            if echo_length && !actual.is_null() {
                // An echo's length depends on the names and addresses of the run.
                continue;
            }
            if !equal(field, &expected, actual) {
                differences.push(difference(&format!("{number}.{field}"), expected, actual.clone()));
            }
        }
    }
    differences
}

fn difference(field: &str, expected: Value, got: Value) -> Difference {
    Difference {
        field: field.to_owned(),
        expected,
        got,
    }
}

fn admission(case: &Case, must_name: &[String], outcome: &Outcome) -> Vec<Difference> {
    match (&case.rejected, &outcome.admission) {
        (Some(expected), Admission::Refused { message, .. }) => {
            if must_name.iter().any(|field| names(message, field)) {
                return Vec::new();
            }
            vec![difference(
                "rejected",
                expected.clone().into(),
                message.clone().into(),
            )]
        }
        (Some(expected), Admission::Accepted { .. }) => {
            vec![difference("rejected", expected.clone().into(), Value::Null)]
        }
        (None, Admission::Refused { message, .. }) => {
            vec![difference("rejected", Value::Null, message.clone().into())]
        }
        (None, Admission::Accepted { warnings }) if case.compares("warnings") => case
            .warnings
            .iter()
            .filter(|expected| !warnings.iter().any(|got| got.contains(expected.as_str())))
            .map(|expected| difference("warnings", expected.clone().into(), warnings.clone().into()))
            .collect(),
        (None, Admission::Accepted { .. }) => Vec::new(),
    }
}

/// Whether a text has these words one after the other, without regard to case, punctuation and list indices: the words
/// around differ between implementations, the field's name does not.
fn names(text: &str, field: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty() && word.parse::<u64>().is_err())
            .map(str::to_ascii_lowercase)
            .collect()
    };
    let (text, field) = (words(text), words(field));
    text.windows(field.len()).any(|part| part == field)
}

/// The value at `a.b`; the first dot parts, for header names hold none.
fn at<'a>(fields: &'a Map<String, Value>, path: &str) -> &'a Value {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let value = fields.get(first).unwrap_or(&Value::Null);
    match rest {
        Some(rest) => value.get(rest).unwrap_or(&Value::Null),
        None => value,
    }
}

fn equal(field: &str, expected: &Value, got: &Value) -> bool {
    match field {
        "error" => ending(expected) == ending(got),
        "body" => trimmed(expected) == trimmed(got),
        "mirror_request" | "server_log" => subset(expected, got),
        "echo.headers" => subset(expected, got),
        "client_log_counts" => without_unlogged(expected) == without_unlogged(got),
        _ => absent_as_dash(expected) == absent_as_dash(got),
    }
}

/// Key order and counts of zero do not matter.
fn without_unlogged(value: &Value) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, count)| (key.clone(), count.as_u64().unwrap_or_default()))
        .filter(|(_, count)| *count > 0)
        .collect();
    counts.sort();
    counts
}

/// A log writes `-` for nothing, as text or as null.
fn absent_as_dash(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "-" => Value::Null,
        other => other.clone(),
    }
}

fn trimmed(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim_end)
}

/// Every named member must be there with that value; null means absent.
fn subset(expected: &Value, got: &Value) -> bool {
    match expected {
        Value::Object(map) => map
            .iter()
            .all(|(name, value)| subset(value, got.get(name).unwrap_or(&Value::Null))),
        Value::String(text) if text.contains(";Hash=") => {
            got.as_str().map(without_hash) == Some(without_hash(text))
        }
        other => absent_as_dash(other) == absent_as_dash(got),
    }
}

/// A certificate's hash in `x-forwarded-client-cert` is of the run.
fn without_hash(text: &str) -> String {
    text.split(';')
        .filter(|part| !part.starts_with("Hash="))
        .collect::<Vec<_>>()
        .join(";")
}

/// How a connection ended. End of file and reset are one thing: closed without an answer.
fn ending(error: &Value) -> Option<&'static str> {
    let text = error.as_str()?.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    Some(if has(&["refused"]) {
        "refused"
    } else if has(&["timeout", "deadline", "timed out"]) {
        "timeout"
    } else if has(&[
        "eof",
        "reset",
        "closed",
        "broken pipe",
        "(52)",
        "(55)",
        "(56)",
        "(35)",
    ]) {
        "closed"
    } else {
        "other"
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(field: &str, expected: Value, got: Value, same: bool) {
        assert_eq!(equal(field, &expected, &got), same, "{field}: {expected} {got}");
    }

    #[test]
    fn fields() {
        check("status", json!(200), json!(200), true);
        check("status", json!(200), json!(201), false);
        check("status", json!(200), Value::Null, false);
        check("client_log.route_name", json!("-"), Value::Null, true);
        check("client_log.route_name", json!("r"), Value::Null, false);
        check(
            "body",
            json!("HTTP/1.1 400 Bad Request"),
            json!("HTTP/1.1 400 Bad Request\r\n"),
            true,
        );
        check("body", json!("a"), json!("ab"), false);
        check(
            "error",
            json!("read: connection reset by peer"),
            json!("EOF"),
            true,
        );
        check("error", json!("dial: connection refused"), json!("EOF"), false);
        check("error", json!("EOF"), Value::Null, false);
        check(
            "echo.headers",
            json!({"x-a": "1", "x-b": null}),
            json!({"x-a": "1", "y": "2"}),
            true,
        );
        check(
            "echo.headers",
            json!({"x-a": "1", "x-b": null}),
            json!({"x-a": "1", "x-b": "2"}),
            false,
        );
        check(
            "echo.headers",
            json!({"c": "By=a;Hash=1;URI=u"}),
            json!({"c": "By=a;Hash=2;URI=u"}),
            true,
        );
        check(
            "echo.headers",
            json!({"c": "By=a;Hash=1;URI=u"}),
            json!({"c": "By=a;Hash=1;URI=v"}),
            false,
        );
        check("distribution", json!({"v1": 2}), json!({"v1": 2}), true);
        check("distribution", json!({"v1": 2}), json!({"v1": 1, "v2": 1}), false);
        check(
            "client_log_counts",
            json!({"200 - via_upstream": 2}),
            json!({}),
            false,
        );
        check(
            "client_log_counts",
            json!({"a": 1, "b": 2}),
            json!({"b": 2, "a": 1}),
            true,
        );
    }

    fn case(text: &str) -> Case {
        Case::read_all(text).unwrap().remove(0)
    }

    #[test]
    fn only_named_fields_count() {
        let case = case(
            r#"{"id":"x","title":"","config":"","rejected":null,"compare":["0.status","0.client_log.path"],"steps":[{"from":"client","request":{"method":"GET","url":"http://web/?key=$U","headers":{},"body":"","http2":false,"times":1,"concurrency":1},"observed":{"status":200,"body":"no","client_log":{"path":"/?key=$U"}}}]}"#,
        );
        let step = |status: u16, path: &str| Outcome {
            steps: vec![
                json!({"status": status, "body": "other", "client_log": {"path": path}})
                    .as_object()
                    .unwrap()
                    .clone(),
            ],
            ..Outcome::default()
        };
        let keys = ["k7".to_owned()];
        assert_eq!(compare(&case, &keys, &[], &step(200, "/?key=k7")), []);
        let differences = compare(&case, &keys, &[], &step(503, "/?key=k8"));
        let fields: Vec<&str> = differences
            .iter()
            .map(|difference| difference.field.as_str())
            .collect();
        assert_eq!(fields, ["0.status", "0.client_log.path"]);
    }

    #[test]
    fn a_refusal_must_name_the_field() {
        let case = case(
            r#"{"id":"x","title":"","config":"","rejected":"spec.http[0].timeout: bad","compare":["rejected"],"steps":[]}"#,
        );
        let refused = |message: &str| Outcome {
            admission: Admission::Refused {
                status: 422,
                message: message.to_owned(),
            },
            ..Outcome::default()
        };
        let word = ["timeout".to_owned()];
        assert_eq!(
            compare(&case, &[], &word, &refused("http[0].timeout is too short")),
            []
        );
        assert_eq!(compare(&case, &[], &word, &refused("retries are bad")).len(), 1);
        assert_eq!(
            compare(&case, &[], &word, &refused("perTryTimeout is bad")).len(),
            1
        );
        assert_eq!(compare(&case, &[], &word, &Outcome::default()).len(), 1);
    }
}

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use super::*;

struct Facts;

impl ExpressionFacts for Facts {
    fn attribute(&self, name: &str, key: Option<&str>) -> Option<Value> {
        let text = |text: &str| Some(Value::Text(text.as_bytes().to_vec()));
        match (name, key) {
            ("response.code", None) => Some(Value::Int(503)),
            ("response.flags", None) => Some(Value::Int(0)),
            ("request.method", None) => text("GET"),
            ("request.url_path", None) => text("/health/live"),
            ("request.duration", None) => Some(Value::Duration(Duration::from_millis(1500))),
            ("request.headers", Some("x-user")) => text("ann"),
            ("connection.mtls", None) => Some(Value::Bool(true)),
            ("destination.port", None) => Some(Value::Int(8080)),
            _ => None,
        }
    }
}

#[track_caller]
fn check(source: &str, expected: bool) {
    assert_eq!(
        Expression::new(source).unwrap().holds(&Facts),
        expected,
        "{source}"
    );
}

#[track_caller]
fn value(source: &str, expected: Option<Value>) {
    assert_eq!(
        Expression::new(source).unwrap().value(&Facts),
        expected,
        "{source}"
    );
}

#[test]
fn what_people_write() {
    check("response.code >= 400", true);
    check("response.code >= 400 && response.code < 500", false);
    check("response.code >= 500 || request.duration > duration('5s')", true);
    check(
        "request.duration > duration('1s') && request.duration < duration(\"1500.5ms\")",
        true,
    );
    check("!(request.url_path.startsWith('/health'))", false);
    check("request.url_path != '/health/live'", false);
    check(
        "request.url_path.endsWith('/live') && request.url_path.contains('th/l')",
        true,
    );
    check("request.url_path.matches('^/health/.*')", true);
    check("request.url_path.matches('lth')", true);
    check("request.url_path.matches('^lth$')", false);
    check("request.method in ['GET', \"HEAD\"]", true);
    check("request.method in ['POST']", false);
    check("request.headers['X-User'] == 'ann'", true);
    check("request.headers['x-none'] == 'ann'", false);
    check("request.headers['x-none'] != 'ann'", false);
    check(
        "has(request.headers['x-user']) && !has(request.headers['x-none'])",
        true,
    );
    check("'x-user' in request.headers", true);
    check("'x-none' in request.headers", false);
    check("connection.mtls", true);
    check("connection.mtls == false", false);
    check("size(request.method) == 3 && request.method.size() == 3", true);
    check("destination.port - 80 == 8000 && -destination.port + 1 < 0", true);
    check("request.method + 'X' == 'GETX'", true);
    check("!connection.mtls || (response.code == 503)", true);
    check("true", true);
    check("'true' == 'true'", true);
}

#[test]
fn an_error_beside_a_deciding_operand_is_forgotten() {
    check("response.grpc_status == 1 || response.code == 503", true);
    check("response.code == 503 || response.grpc_status == 1", true);
    value("response.grpc_status == 1 || response.code == 200", None);
    value(
        "response.grpc_status == 1 && response.code == 200",
        Some(Value::Bool(false)),
    );
    value("response.grpc_status == 1", None);
    value("response.code == '503'", None);
    value("!response.code", None);
    value("response.code.startsWith('5')", None);
    value("9223372036854775807 + 1", None);
}

#[test]
fn what_is_no_expression_is_refused() {
    for (bad, part) in [
        ("", "ends too early"),
        ("response.code >=", "ends too early"),
        ("response.cod == 1", "\"response.cod\" is not known"),
        ("foo", "\"foo\" is not known"),
        ("response.code == 1 response.code", "not expected"),
        ("(response.code == 1", "missing at the end"),
        ("'abc", "does not end"),
        ("request.url_path.matches('(')", "unclosed"),
        ("request.url_path.upper()", "not expected"),
        ("request.url_path.replace('a')", "\"replace\" is not known"),
        ("has(1)", "cannot be asked"),
        ("duration('x') > duration('1s')", "no duration"),
        ("response.code # 1", "not expected"),
        ("request.headers[1] == 'x'", "takes a text"),
    ] {
        let error = Expression::new(bad).unwrap_err();
        assert!(error.contains(part), "{bad}: {error}");
    }
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    assert!(Expression::new(&deep).is_err());
    assert!(Expression::new(&"!".repeat(5000)).is_err());
}

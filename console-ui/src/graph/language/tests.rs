#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// A slow edge from productpage to reviews.
struct Edge;

impl Facts for Edge {
    fn number(&self, field: Field) -> Option<f64> {
        match field {
            Field::Rate => Some(12.0),
            Field::Errors => Some(4.0),
            Field::P95 => Some(250.0),
            _ => None,
        }
    }

    fn texts(&self, field: Field) -> Option<Vec<&str>> {
        match field {
            Field::Source => Some(vec!["default/productpage-v1"]),
            Field::Target => Some(vec!["default/reviews-v1"]),
            Field::Code => Some(vec!["200", "503"]),
            _ => None,
        }
    }

    fn flag(&self, flag: Flag) -> Option<bool> {
        match flag {
            Flag::Healthy => Some(false),
            Flag::Degraded | Flag::Mtls => Some(true),
            Flag::Tcp => Some(false),
            _ => None,
        }
    }
}

#[test]
fn conditions_hold_or_not() {
    for (text, expected) in [
        ("rate > 10", true),
        ("rate>12", false),
        ("rate >= 12 and errors < 5%", true),
        ("p95 > 200ms", true),
        ("p95 > 0.3s", false),
        ("not healthy", true),
        ("!healthy and !tcp", true),
        ("is degraded", true),
        ("healthy or mtls", true),
        ("healthy or (mtls and rate < 1)", false),
        ("source ~ product and target $= v1", true),
        ("source = \"default/productpage-v1\"", true),
        ("target ^= reviews", false),
        ("code = 503", true),
        ("code != 503", false),
        ("code != 404", true),
        // About nodes: does not hold for an edge, and neither does its opposite.
        ("name ~ reviews", false),
        ("not name ~ reviews", false),
        ("name ~ reviews or rate > 1", true),
        ("RATE > 10 AND NOT Healthy", true),
    ] {
        let condition = parse(text).unwrap().unwrap();
        assert_eq!(condition.holds(&Edge), expected, "{text}");
    }
}

#[test]
fn nothing_is_no_condition() {
    assert_eq!(parse("").unwrap(), None);
    assert_eq!(parse("   ").unwrap(), None);
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("rat > 1", "“rat”"),
        ("healty", "healthy"),
        ("zzzzzzzz", "See ?"),
        ("rate", "rate > 1"),
        ("rate >", "after rate"),
        ("rate > fast", "“fast”"),
        ("rate ~ 5", "cannot be compared by ~"),
        ("name > a", "cannot be compared by >"),
        ("rate > 1 and", "missing"),
        ("and rate > 1", "missing"),
        ("(rate > 1", "bracket"),
        ("rate > 1)", "bracket"),
        ("rate > 1 healthy", "“healthy”"),
        ("name ~ \"a", "quotation"),
        ("name ~ a and p95 > 1", "source"),
        ("=", "missing"),
        ("💥", "“💥”"),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[test]
fn deep_nesting_and_noise_end() {
    assert!(parse(&"(".repeat(200)).is_err());
    assert!(parse(&"not ".repeat(200)).is_err());
    assert!(parse("\u{0}\u{7f}").is_err());
    assert!(parse(&"(".repeat(100_000)).is_err());
}

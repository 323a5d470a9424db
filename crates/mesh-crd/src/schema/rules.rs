//! The rules that Istio's CustomResourceDefinitions give as CEL, as functions of the same meaning.

use std::fmt;

use serde_json::{Map, Value};

/// A named rule. `message` is what users of Istio know; `cel` is its text for clients that read schemas.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name in the schema texts.
    pub name: &'static str,
    /// What a violation is called.
    pub message: &'static str,
    /// CEL.
    pub cel: &'static str,
    /// Whether a value, of the right type, keeps the rule.
    pub holds: fn(&Value) -> bool,
}

impl Rule {
    /// The rule called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let rule = RULES.iter().find(|r| r.name == name).copied();
        debug_assert!(rule.is_some(), "schema rule {name:?} is not defined");
        rule
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! rules {
    ($($name:literal, $message:literal, $cel:literal, $holds:expr;)*) => {
        &[$(Rule { name: $name, message: $message, cel: $cel, holds: $holds },)*]
    };
}

/// Every rule.
pub(super) const RULES: &[Rule] = rules! {
    "duration", "must be a valid duration greater than 1ms", "duration(self) >= duration('1ms')",
        |v| text(v).and_then(crate::duration::parse).is_some_and(|d| d.as_nanos() >= 1_000_000);
    "port", "port must be between 1-65535", "0 < self && self <= 65535", |v| number_is_port(v);
    "port-keys", "port must be between 1-65535", "self.all(key, 0 < int(key) && int(key) <= 65535)",
        |v| fields(v).keys().all(|k| k.parse::<u16>().is_ok_and(|p| p > 0));
    "port-names", "port name must be valid",
        "self.all(key, size(key) < 63 && key.matches('^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$'))",
        |v| fields(v).keys().all(|k| is_port_name(k));
    "port-number-unique", "port number cannot be duplicated",
        "self.all(l1, self.exists_one(l2, l1.number == l2.number))", port_numbers_unique;
    "no-star-in-selector", "wildcard is not supported in selector", "!self.contains('*')",
        |v| !text(v).is_some_and(|t| t.contains('*'));
    "no-star-in-label-value", "wildcard not allowed in label value match", "!self.contains('*')",
        |v| !text(v).is_some_and(|t| t.contains('*'));
    "no-star-in-label-key", "wildcard not allowed in label key match", "self.all(key, !key.contains('*'))",
        |v| !fields(v).keys().any(|k| k.contains('*'));
    "label-key-not-empty", "key must not be empty", "self.all(key, key.size() != 0)",
        |v| !fields(v).keys().any(String::is_empty);
    "no-cross-namespace", "cross namespace referencing is not currently supported", "self.size() == 0",
        |v| text(v).is_none_or(str::is_empty);
    "host-not-star", "hostname cannot be wildcard", "self != '*'", |v| text(v) != Some("*");
    "tls-names-or-files", "only one of credentialNames or tlsCertificates can be set",
        "(has(self.tlsCertificates) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["tlsCertificates", "credentialNames"]);
    "tls-name-or-names", "only one of credentialName or credentialNames can be set",
        "(has(self.credentialName) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["credentialName", "credentialNames"]);
    "tls-name-or-files", "only one of credentialName or tlsCertificates can be set",
        "(has(self.credentialName) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["credentialName", "tlsCertificates"]);
    "selector-or-endpoints", "only one of WorkloadSelector or Endpoints can be set",
        "(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["workloadSelector", "endpoints"]);
    "cidr-needs-static", "CIDR addresses are allowed only for NONE/STATIC resolution types",
        "!((has(self.addresses) ? self.addresses : []).exists(k, k.contains('/')) && !((has(self.resolution) ? self.resolution : 'NONE') in ['STATIC', 'NONE']))",
        |v| matches!(resolution(v), "NONE" | "STATIC")
            || !items(v, "addresses").iter().any(|a| text(a).is_some_and(|a| a.contains('/')));
    "none-without-endpoints", "NONE mode cannot set endpoints",
        "((has(self.resolution) ? self.resolution : 'NONE') == 'NONE') ? !has(self.endpoints) : true",
        |v| resolution(v) != "NONE" || v.get("endpoints").is_none();
    "round-robin-one-endpoint", "DNS_ROUND_ROBIN mode cannot have multiple endpoints",
        "((has(self.resolution) ? self.resolution : '') == 'DNS_ROUND_ROBIN') ? ((has(self.endpoints) ? self.endpoints : []).size() <= 1) : true",
        |v| resolution(v) != "DNS_ROUND_ROBIN" || items(v, "endpoints").len() <= 1;
    "address-required", "Address is required", "has(self.address) || has(self.network)",
        |v| v.get("address").is_some() || v.get("network").is_some();
    "uds-without-ports", "UDS may not include ports",
        "(has(self.address) ? self.address : '').startsWith('unix://') ? !has(self.ports) : true",
        |v| !field(v, "address").starts_with("unix://") || v.get("ports").is_none();
    "uds-absolute", "UDS must be an absolute path or abstract socket",
        "self.startsWith('unix://') ? (self.substring(7, 8) == '/' || self.substring(7, 8) == '@') : true",
        |v| text(v).and_then(|t| t.strip_prefix("unix://")).is_none_or(|p| p.starts_with(['/', '@']));
    "uds-not-a-dir", "UDS may not be a dir", "self.startsWith('unix://') ? !self.endsWith('/') : true",
        |v| text(v).is_none_or(|t| !t.starts_with("unix://") || !t.ends_with('/'));
    "probe-scheme", "scheme must be one of [HTTP, HTTPS]", "self in ['', 'HTTP', 'HTTPS']",
        |v| matches!(text(v), None | Some("" | "HTTP" | "HTTPS"));
    "only-one-selector", "only one of targetRefs or selector can be set",
        "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["selector", "targetRef", "targetRefs"]);
    "workload-selector-or-target", "only one of targetRefs or workloadSelector can be set",
        "(has(self.workloadSelector) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["workloadSelector", "targetRefs"]);
    "waypoint-context", "only support waypointMatch when context is WAYPOINT",
        "has(self.context) ? ((self.context == 'WAYPOINT') ? has(self.waypoint) : !has(self.waypoint)) : !has(self.waypoint)",
        |v| (field(v, "context") == "WAYPOINT") == v.get("waypoint").is_some();
    "port-mtls-needs-selector", "portLevelMtls requires selector",
        "has(self.portLevelMtls) ? (((has(self.selector) && has(self.selector.matchLabels)) ? self.selector.matchLabels : {}).size() > 0) : true",
        |v| v.get("portLevelMtls").is_none()
            || v.pointer("/selector/matchLabels").and_then(Value::as_object).is_some_and(|l| !l.is_empty());
    "jwks-or-uri", "only one of jwks or jwksUri can be set",
        "(has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) + (has(self.jwks) ? 1 : 0) <= 1",
        |v| at_most_one(v, &["jwksUri", "jwks_uri", "jwks"]);
    "http-url", "url must have scheme http:// or https://", "url(self).getScheme() in ['http', 'https']",
        |v| text(v).is_none_or(|t| t.starts_with("http://") || t.starts_with("https://"));
    "service-accounts-alone", "Cannot set serviceAccounts with namespaces or principals",
        "(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? (!has(self.principals) && !has(self.notPrincipals) && !has(self.namespaces) && !has(self.notNamespaces)) : true",
        |v| !has_any(v, &["serviceAccounts", "notServiceAccounts"])
            || !has_any(v, &["principals", "notPrincipals", "namespaces", "notNamespaces"]);
    "tag-upsert-value", "value must be set when operation is UPSERT",
        "((has(self.operation) ? self.operation : '') == 'UPSERT') ? (self.value != '') : true",
        |v| field(v, "operation") != "UPSERT" || !field(v, "value").is_empty();
    "tag-remove-value", "value must not be set when operation is REMOVE",
        "((has(self.operation) ? self.operation : '') == 'REMOVE') ? !has(self.value) : true",
        |v| field(v, "operation") != "REMOVE" || v.get("value").is_none();
    "env-value-inline", "value may only be set when valueFrom is INLINE",
        "(has(self.valueFrom) ? self.valueFrom : '') != 'HOST' || !has(self.value)",
        |v| field(v, "valueFrom") != "HOST" || v.get("value").is_none();
    "wasm-or-lua", "exactly one of wasm or lua must be set", "has(self.wasm) != has(self.lua)",
        |v| v.get("wasm").is_some() != v.get("lua").is_some();
    "plugin-url", "url must have schema one of [http, https, file, oci]",
        "isURL(self) ? (url(self).getScheme() in ['', 'http', 'https', 'oci', 'file']) : (isURL('http://' + self))",
        |v| text(v).is_none_or(|t| t.split_once("://").is_none_or(|(s, _)| {
            matches!(s, "http" | "https" | "file" | "oci")
        }));
};

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn fields(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn has_any(value: &Value, names: &[&str]) -> bool {
    names.iter().any(|n| value.get(n).is_some())
}

fn at_most_one(value: &Value, names: &[&str]) -> bool {
    names.iter().filter(|n| value.get(n).is_some()).count() <= 1
}

fn resolution(value: &Value) -> &str {
    match field(value, "resolution") {
        "" => "NONE",
        other => other,
    }
}

fn number_is_port(value: &Value) -> bool {
    value.as_i64().is_none_or(|p| (1..=65535).contains(&p))
}

fn port_numbers_unique(value: &Value) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    value.as_array().is_none_or(|ports| {
        ports
            .iter()
            .all(|p| seen.insert(p.get("number").and_then(Value::as_i64)))
    })
}

fn is_port_name(name: &str) -> bool {
    let ends_well = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() < 63
        && ends_well(name.bytes().next())
        && ends_well(name.bytes().next_back())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

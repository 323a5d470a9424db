//! The table of cases.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

const CASES: &str = include_str!("../../data/interop/cases.yaml");

/// What is applied and asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// Rules of the VirtualService.
    http: Value,
    /// Other objects.
    #[serde(default)]
    objects: Vec<Value>,
    pub(crate) requests: Vec<Ask>,
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default = "root")]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) http2: bool,
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn once() -> u32 {
    1
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: get(),
            path: path.to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
            http2: false,
            times: 1,
        }
    }
}

impl Case {
    /// Its objects for one of the services.
    pub(crate) fn objects(&self, service: &str) -> Vec<Value> {
        let mut all = vec![virtual_service(&self.id, service, &self.http)];
        all.extend(self.objects.iter().map(|object| of(object, service)));
        all
    }
}

/// The whole table.
pub(crate) fn all() -> Vec<Case> {
    serde_saphyr::from_str(CASES).unwrap()
}

/// Subsets by version.
pub(crate) fn subsets(service: &str) -> Vec<Value> {
    let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
    vec![json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": service, "namespace": "app"},
        "spec": {"host": service, "subsets": [subset("v1"), subset("v2")]},
    })]
}

/// What shows that everything applied before it is in force.
pub(crate) fn sentinel(service: &str) -> Vec<Value> {
    let route = json!([{"route": [{"destination": {"host": "$WEB"}}]}]);
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "$WEB-sentinel", "namespace": "app"},
        "spec": {
            "selector": {"matchLabels": {"app": "$WEB"}}, "action": "DENY",
            "rules": [{"to": [{"operation": {"paths": ["/sentinel"]}}]}],
        },
    });
    vec![of(&policy, service), virtual_service("sentinel", service, &route)]
}

fn virtual_service(id: &str, service: &str, http: &Value) -> Value {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": format!("{id}-$WEB"), "namespace": "app"},
        "spec": {"hosts": [format!("{id}.$WEB.test")], "gateways": ["gateway"], "http": http},
    });
    of(&object, service)
}

fn of(object: &Value, service: &str) -> Value {
    serde_json::from_str(&object.to_string().replace("$WEB", service)).unwrap()
}

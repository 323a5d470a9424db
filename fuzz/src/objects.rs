//! Entries for what people write: YAML, Kubernetes objects, mesh configuration.

use crate::mutate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "yaml",
        run: yaml,
        seeds: documents,
    },
    Target {
        name: "object",
        run: object,
        seeds: values,
    },
    Target {
        name: "mesh_config",
        run: mesh_config,
        seeds: configurations,
    },
];

/// A document is an object, or there is a problem that says why not; each names its field and a remedy.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = mesh_crd::parse_yaml(text);
    assert!(parsed.object.is_some() || !parsed.problems.is_empty());
    for problem in &parsed.problems {
        assert!(
            !problem.message.is_empty() && !problem.code.is_empty(),
            "{problem:?}"
        );
    }
}

/// The same of a JSON value.
pub fn object(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    let parsed = mesh_crd::parse_value(&value);
    assert!(parsed.object.is_some() || !parsed.problems.is_empty());
}

/// Mesh configuration is read or refused.
pub fn mesh_config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = mesh_crd::mesh_config::MeshConfig::parse(text);
    }
}

const ROUTE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /a}, headers: {x: {regex: 'a+'}}}]
    timeout: 1.5s
    retries: {attempts: 2, retryOn: 5xx}
    fault: {delay: {fixedDelay: 5s, percentage: {value: 0.1}}}
    route: [{destination: {host: web, subset: v1, port: {number: 80}}, weight: 100}]
";
const RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web
  trafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {consecutive5xxErrors: 3}}
  subsets: [{name: v1, labels: {version: v1}}]
";
const POLICY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  action: DENY
  rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: ['/x*']}}], when: [{key: 'request.headers[a]', values: [b]}]}]
";
const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*.a.test'], tls: {mode: SIMPLE, credentialName: c}}]
";

fn documents() -> Vec<Vec<u8>> {
    [ROUTE, RULE, POLICY, GATEWAY]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

fn values() -> Vec<Vec<u8>> {
    let all = [
        r#"{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a","namespace":"b"},"spec":{"hosts":["x"],"http":[{"route":[{"destination":{"host":"x"}}]}]}}"#,
        r#"{"apiVersion":"security.istio.io/v1","kind":"PeerAuthentication","metadata":{"name":"a","namespace":"b"},"spec":{"mtls":{"mode":"STRICT"}}}"#,
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"b"},"spec":{"ports":[{"name":"http","port":80}]}}"#,
    ];
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn configurations() -> Vec<Vec<u8>> {
    let all = [
        "accessLogFile: /dev/stdout\nenableTracing: true\n",
        "defaultConfig: {concurrency: 2}\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n",
    ];
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

//! Discovery: which groups, versions and resources there are.

use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::registry::{self, Core, Resource};
use crate::reply::{Accept, Body, respond};

/// The Kubernetes version whose behaviour is followed.
const VERSION: (&str, &str) = ("1", "36");

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": VERSION.0,
        "minor": VERSION.1,
        "emulationMajor": VERSION.0,
        "emulationMinor": VERSION.1,
        "minCompatibilityMajor": VERSION.0,
        "minCompatibilityMinor": "35",
        "gitVersion": format!("v{}.{}.0+sightline-{}", VERSION.0, VERSION.1, env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

/// `/`.
pub(crate) fn root() -> Value {
    let mut paths = vec![
        "/api".to_owned(),
        "/api/v1".into(),
        "/apis".into(),
        "/apis/".into(),
    ];
    for (group, versions) in registry::groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    json!({"paths": paths})
}

/// `/api`.
pub(crate) fn api(accept: Accept) -> Response<Body> {
    if let Some(form) = accept.aggregated {
        let group = aggregated_group("", &["v1"]);
        return aggregated(form, vec![group]);
    }
    let body = json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    });
    respond(200, &body, accept)
}

/// `/apis`.
pub(crate) fn apis(accept: Accept) -> Response<Body> {
    if let Some(form) = accept.aggregated {
        let groups = registry::groups()
            .iter()
            .map(|(group, versions)| aggregated_group(group, versions))
            .collect();
        return aggregated(form, groups);
    }
    let groups: Vec<Value> = registry::groups().keys().map(|group| group_body(group)).collect();
    respond(
        200,
        &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
        accept,
    )
}

fn group_body(group: &str) -> Value {
    let versions: Vec<Value> = registry::groups()
        .get(group)
        .into_iter()
        .flatten()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// `/apis/G`.
pub(crate) fn group(group: &str) -> Value {
    let mut body = group_body(group);
    if let Some(map) = body.as_object_mut() {
        map.insert("kind".into(), "APIGroup".into());
        map.insert("apiVersion".into(), "v1".into());
    }
    body
}

fn resources<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    registry::all()
        .iter()
        .filter(move |r| r.group == group && r.versions.contains(&version))
}

/// `/api/v1` and `/apis/G/V`.
pub(crate) fn group_version(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for resource in resources(group, version) {
        let mut entry = Map::new();
        entry.insert("name".into(), resource.plural.into());
        entry.insert("singularName".into(), resource.singular.into());
        entry.insert("namespaced".into(), resource.namespaced.into());
        entry.insert("kind".into(), resource.kind.into());
        entry.insert("verbs".into(), json!(resource.verbs()));
        if !resource.short_names.is_empty() {
            entry.insert("shortNames".into(), json!(resource.short_names));
        }
        if !resource.categories.is_empty() {
            entry.insert("categories".into(), json!(resource.categories));
        }
        if !resource.virtual_only {
            entry.insert("storageVersionHash".into(), storage_hash(resource).into());
        }
        list.push(Value::Object(entry));
        for (sub, kind, verbs) in subresources(resource) {
            let mut entry = Map::new();
            entry.insert("name".into(), format!("{}/{sub}", resource.plural).into());
            entry.insert("singularName".into(), "".into());
            entry.insert("namespaced".into(), resource.namespaced.into());
            if let Some((group, version)) = kind.1 {
                entry.insert("group".into(), group.into());
                entry.insert("version".into(), version.into());
            }
            entry.insert("kind".into(), kind.0.into());
            entry.insert("verbs".into(), json!(verbs));
            list.push(Value::Object(entry));
        }
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

type SubKind = (&'static str, Option<(&'static str, &'static str)>);

fn subresources(resource: &Resource) -> Vec<(&'static str, SubKind, &'static [&'static str])> {
    let mut list: Vec<(&'static str, SubKind, &'static [&'static str])> = Vec::new();
    if resource.core() == Some(Core::Namespace) {
        list.push(("finalize", ("Namespace", None), &["update"]));
    }
    if resource.has_status {
        list.push(("status", (resource.kind, None), &["get", "patch", "update"]));
    }
    if resource.core() == Some(Core::ServiceAccount) {
        list.push((
            "token",
            ("TokenRequest", Some(("authentication.k8s.io", "v1"))),
            &["create"],
        ));
    }
    list
}

/// Eight bytes that change when the stored form does.
fn storage_hash(resource: &Resource) -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!(
        "{}/{}/{}",
        resource.group, resource.storage_version, resource.kind
    ));
    base64::engine::general_purpose::STANDARD.encode(hash.get(..8).unwrap_or_default())
}

fn aggregated_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let list: Vec<Value> = resources(group, version)
                .map(|r| aggregated_resource(r, version))
                .collect();
            json!({"version": version, "resources": list, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(resource.group, version, resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    let subs: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(sub, (sub_kind, place), verbs)| {
            let (group, version) = place.unwrap_or((resource.group, version));
            json!({"subresource": sub, "responseKind": kind(group, version, sub_kind), "verbs": verbs})
        })
        .collect();
    if let Some(map) = entry.as_object_mut() {
        if !resource.short_names.is_empty() {
            map.insert("shortNames".into(), json!(resource.short_names));
        }
        if !resource.categories.is_empty() {
            map.insert("categories".into(), json!(resource.categories));
        }
        if !subs.is_empty() {
            map.insert("subresources".into(), subs.into());
        }
    }
    entry
}

fn aggregated(version: &str, groups: Vec<Value>) -> Response<Body> {
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    });
    let mut response = respond(200, &body, Accept::default());
    let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(value) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

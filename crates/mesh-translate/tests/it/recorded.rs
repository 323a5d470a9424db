//! Which route and cluster a real Istio chose, request by request (tests/data/observed/routing), against ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mesh_crd::parse_value;
use mesh_model::path::{Normalized, normalize};
use mesh_model::request::TypedRequest;
use mesh_model::route::Action;
use mesh_translate::{ProxyNode, World};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/observed/routing")
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .filter(|t| !t.trim().is_empty())
        .map(|t| {
            let options = serde_saphyr::options! { strict_booleans: true };
            serde_saphyr::from_str_with_options(t, options).unwrap()
        })
        .collect()
}

/// The fixture's Deployments as pods and endpoint slices, its Services with addresses.
struct Fixture {
    world: World,
    addresses: BTreeMap<String, String>,
}

fn fixture() -> Fixture {
    let all = documents(&std::fs::read_to_string(folder().join("fixture.yaml")).unwrap());
    let mut world = World::default();
    let mut addresses = BTreeMap::new();
    let mut pods: Vec<(Value, String)> = Vec::new();
    for (i, d) in all.iter().filter(|d| d["kind"] == "Deployment").enumerate() {
        let ip = format!("127.64.{}.2", i + 1);
        let mut labels = d["spec"]["template"]["metadata"]["labels"].clone();
        if labels.get("sidecar.istio.io/inject").is_none() {
            labels["security.istio.io/tlsMode"] = "istio".into();
        }
        let (name, namespace) = (d["metadata"]["name"].clone(), d["metadata"]["namespace"].clone());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let labels = &pod["metadata"]["labels"];
        let app = format!(
            "{}/{}-{}",
            text(&namespace),
            text(&labels["app"]),
            text(&labels["version"])
        );
        addresses.insert(format!("$POD_IP({app})"), ip.clone());
        world.apply(parse_value(&pod));
        pods.push((pod, ip));
    }
    let gateway = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "ports": [{"name": "http2", "port": 80, "targetPort": 8080}],
        },
    });
    let services = all.iter().filter(|d| d["kind"] == "Service").chain([&gateway]);
    for (i, s) in services.enumerate() {
        let mut service = s.clone();
        if service["spec"]["clusterIP"].is_null() {
            let ip = format!("10.96.0.{}", i + 1);
            let name = format!(
                "{}/{}",
                text(&s["metadata"]["namespace"]),
                text(&s["metadata"]["name"])
            );
            addresses.insert(format!("$CLUSTER_IP({name})"), ip.clone());
            service["spec"]["clusterIP"] = ip.into();
        }
        service["metadata"]["creationTimestamp"] = format!("2026-01-01T00:00:{i:02}Z").into();
        world.apply(parse_value(&service));
        world.apply(parse_value(&slice(s, &pods)));
    }
    for d in all.iter().filter(|d| d["kind"] == "Gateway") {
        world.apply(parse_value(d));
    }
    Fixture { world, addresses }
}

fn slice(service: &Value, pods: &[(Value, String)]) -> Value {
    let selected = |pod: &Value| {
        let selector = service["spec"]["selector"].as_object().unwrap();
        pod["metadata"]["namespace"] == service["metadata"]["namespace"]
            && selector
                .iter()
                .all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v))
    };
    let ports: Vec<Value> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| json!({"name": p["name"], "port": p["targetPort"]}))
        .collect();
    let endpoints: Vec<Value> = pods
        .iter()
        .filter(|(pod, _)| selected(pod))
        .map(|(_, ip)| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"],
            "labels": {"kubernetes.io/service-name": service["metadata"]["name"]},
        },
        "ports": ports, "endpoints": endpoints,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn node(from: &str) -> ProxyNode {
    let outbound = json!({
        "LABELS": {"app": "client", "version": "v1", "role": from, "tier": if from == "client" { "gold" } else { "" }},
        "SIGHTLINE_OUTBOUND": "127.64.99.3:15001",
    });
    match from {
        "gateway-client" => {
            let metadata = json!({"LABELS": {"istio": "ingressgateway", "app": "istio-ingressgateway"}});
            ProxyNode::parse(
                "router~127.64.98.2~ingress.istio-system~istio-system.svc.cluster.local",
                &metadata,
            )
        }
        "client2" => ProxyNode::parse(
            "sidecar~127.64.97.2~client.app2~app2.svc.cluster.local",
            &outbound,
        ),
        _ => ProxyNode::parse("sidecar~127.64.99.2~client.app~app.svc.cluster.local", &outbound),
    }
    .unwrap()
}

/// `route name` and possible clusters.
fn decide(world: &World, from: &str, request: &Value) -> Option<(String, Vec<String>)> {
    let (snapshot, _) = mesh_translate::snapshot(world, &node(from));
    let url = text(&request["url"]);
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(i) => rest.split_at(i),
        None => (rest, "/"),
    };
    let port: u16 = authority
        .rsplit_once(':')
        .map_or(Some(80), |(_, p)| p.parse().ok())?;
    let mut typed = TypedRequest::get(authority, &path.split('#').next()?.replace('\\', "%5C"));
    typed.method = text(&request["method"]);
    for (name, value) in request["headers"].as_object()? {
        let values: Vec<String> = match value {
            Value::Array(list) => list.iter().map(text).collect(),
            one => vec![text(one)],
        };
        for value in values {
            match name.to_ascii_lowercase().as_str() {
                "host" => typed.authority = value,
                "x-forwarded-proto" if from != "gateway-client" => typed.scheme = value,
                lower => typed.headers.push((lower.to_owned(), value)),
            }
        }
    }
    match normalize(typed.target.as_bytes(), false) {
        Normalized::Changed(path) => typed.target = String::from_utf8(path).ok()?,
        Normalized::Same => {}
        Normalized::Refused => return None,
    }
    let table = match from {
        "gateway-client" => snapshot.routes.get("http.8080")?,
        _ => snapshot
            .routes
            .get(&port.to_string())
            .or_else(|| snapshot.routes.get("http_proxy"))?,
    };
    let Some(found) = table.find(&typed) else {
        return Some(("-".into(), vec!["-".into()]));
    };
    let route = &table.virtual_hosts[found.virtual_host].routes[found.route];
    let clusters = match &route.action {
        Action::Forward(f) => f
            .destinations
            .iter()
            .map(|d| match snapshot.clusters.contains_key(&d.cluster) {
                true => d.cluster.clone(),
                // Answered 503 NC; the log then names no cluster.
                false => "-".into(),
            })
            .collect(),
        _ => vec!["-".into()],
    };
    let name = if route.name.is_empty() {
        "-".into()
    } else {
        route.name.clone()
    };
    Some((name, clusters))
}

fn world_of(fixture: &Fixture, case: &Value) -> World {
    let mut config = text(&case["config"]);
    for (placeholder, ip) in &fixture.addresses {
        config = config.replace(placeholder, ip);
    }
    let apart = case.get("create_in_order_seconds_apart").is_some();
    let mut world = fixture.world.clone();
    for (i, mut object) in documents(&config).into_iter().enumerate() {
        let second = if apart { i } else { 0 };
        object["metadata"]["creationTimestamp"] = format!("2026-02-01T00:00:{second:02}Z").into();
        if object["metadata"].get("namespace").is_none() {
            object["metadata"]["namespace"] = "app".into();
        }
        world.apply(parse_value(&object));
    }
    world
}

/// The world of every case that has one.
pub(crate) fn worlds() -> Vec<(String, World)> {
    let fixture = fixture();
    let cases = std::fs::read_to_string(folder().join("cases.jsonl")).unwrap();
    cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|case| case["rejected"].is_null() && !case["steps"].as_array().unwrap().is_empty())
        .map(|case| (text(&case["id"]), world_of(&fixture, &case)))
        .collect()
}

#[test]
fn routes_are_those_of_the_recorded_mesh() {
    let fixture = fixture();
    let cases = std::fs::read_to_string(folder().join("cases.jsonl")).unwrap();
    let file = folder().join("routes.passing");
    let listed: BTreeSet<String> = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let (mut passing, mut all, mut broken) = (Vec::new(), 0, Vec::new());
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let compare: Vec<String> = case["compare"].as_array().unwrap().iter().map(text).collect();
        let mut wrong = Vec::new();
        let mut checked = 0;
        let mut world = None;
        for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let wants = |field: &str| compare.contains(&format!("{i}.client_log.{field}"));
            let log = &step["observed"]["client_log"];
            if !(wants("route_name") && wants("upstream_cluster")) || step["request"].get("tcp").is_some() {
                continue;
            }
            let world = world.get_or_insert_with(|| world_of(&fixture, &case));
            let mut request = step["request"].to_string();
            for (placeholder, ip) in &fixture.addresses {
                request = request.replace(placeholder, ip);
            }
            let request: Value = serde_json::from_str(&request).unwrap();
            let Some((name, clusters)) = decide(world, &text(&step["from"]), &request) else {
                continue;
            };
            checked += 1;
            let (want_name, want_cluster) = (text(&log["route_name"]), text(&log["upstream_cluster"]));
            if name != want_name || !clusters.contains(&want_cluster) {
                wrong.push(format!(
                    "step {i} {}: {name:?} {clusters:?}, recorded {want_name:?} {want_cluster:?} ({} {})",
                    request["url"], log["response_code"], log["response_code_details"]
                ));
            }
        }
        if checked == 0 {
            continue;
        }
        all += 1;
        let id = text(&case["id"]);
        if wrong.is_empty() {
            passing.push(id);
        } else {
            println!("{id}: {}", wrong.join("\n    "));
            if listed.contains(&id) {
                broken.push(format!("{id}: {}", wrong.join("; ")));
            }
        }
    }
    println!("{} of {all} cases agree", passing.len());
    if std::env::var_os("SIGHTLINE_BLESS").is_some() {
        std::fs::write(&file, passing.join("\n") + "\n").unwrap();
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(passing.len() >= listed.len());
}

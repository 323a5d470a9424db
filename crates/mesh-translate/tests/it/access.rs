//! Policies: what the workload's rules decide, held against a literal reading of the objects.

use std::net::{IpAddr, SocketAddr};

use mesh_model::authorization::{AccessFacts, Policies};
use mesh_model::listener::ConnectionService;
use mesh_model::request::TypedRequest;
use mesh_model::token::Claim;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{BASE, server, world};

/// A request as a case writes it.
#[derive(Debug, Clone)]
struct Ask {
    method: String,
    host: String,
    path: String,
    principal: Option<String>,
    ip: IpAddr,
    port: u16,
}

fn ask() -> Ask {
    Ask {
        method: "GET".into(),
        host: "web.app".into(),
        path: "/a".into(),
        principal: Some("spiffe://cluster.local/ns/app/sa/client".into()),
        ip: [127, 64, 9, 3].into(),
        port: 8080,
    }
}

fn policies(objects: &[Value]) -> Policies {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    let mut all: Vec<&str> = vec![BASE];
    all.extend(texts.iter().map(String::as_str));
    let (snapshot, _) = mesh_translate::snapshot(&world(&all), &server());
    let listener = snapshot.listeners.get("127.64.1.2_8080").unwrap();
    let ConnectionService::Http(http) = &listener.chains[0].service else {
        panic!("{listener:?}");
    };
    http.policies.clone()
}

fn decide(policies: &Policies, ask: &Ask) -> Option<String> {
    let mut request = TypedRequest::get(&ask.host, &ask.path);
    request.method.clone_from(&ask.method);
    let facts = AccessFacts {
        request: Some(&request),
        principal: ask.principal.as_deref(),
        source: ask.ip,
        remote: ask.ip,
        destination: SocketAddr::new([127, 64, 1, 2].into(), ask.port),
        server_name: None,
        claims: None::<&Claim>,
    };
    let decision = policies.decide(&facts);
    decision.denied.then(|| {
        let name = decision.by.and_then(|by| policies.name_of(by, false));
        name.unwrap_or("none").to_owned()
    })
}

fn policy(name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

#[track_caller]
fn check(spec: Value, change: impl Fn(&mut Ask), denied: Option<&str>) {
    let mut asked = ask();
    change(&mut asked);
    let made = policies(&[policy("p", "app", spec.clone())]);
    assert_eq!(decide(&made, &asked).as_deref(), denied, "{spec} {asked:?}");
}

#[test]
fn recorded_peculiarities() {
    let rule = Some("ns[app]-policy[p]-rule[0]");
    let none = Some("none");
    let to = |operation: Value| json!({"rules": [{"to": [{"operation": operation}]}]});
    let from = |source: Value| json!({"rules": [{"from": [{"source": source}]}]});
    let same = |_: &mut Ask| {};
    check(json!({}), same, none);
    check(json!({"rules": [{}]}), same, None);
    check(json!({"action": "DENY", "rules": [{}]}), same, rule);
    check(json!({"action": "AUDIT", "rules": [{}]}), same, None);
    // Hosts with and without port are one host; so DENY is not evaded.
    check(
        to(json!({"hosts": ["web.app"]})),
        |a| a.host = "WEB.app:80".into(),
        None,
    );
    check(
        to(json!({"hosts": ["web.app"]})),
        |a| a.host = "web.app.".into(),
        None,
    );
    check(
        to(json!({"hosts": ["web.app"]})),
        |a| a.host = "xweb.app".into(),
        none,
    );
    check(to(json!({"hosts": ["*.app"]})), same, None);
    check(to(json!({"hosts": ["web.*"]})), same, None);
    check(to(json!({"paths": ["/a"]})), |a| a.path = "/a?x".into(), None);
    check(to(json!({"paths": ["/a"]})), |a| a.path = "/A".into(), none);
    for (path, yes) in [("/deep/", true), ("/deep/x/y", true), ("/deep", false)] {
        let denied = (!yes).then_some("none");
        check(
            to(json!({"paths": ["/deep/{**}"]})),
            |a| a.path = path.into(),
            denied,
        );
    }
    for (path, yes) in [
        ("/mid/a%2Fc/end", true),
        ("/mid//end", false),
        ("/mid/a/b/end", false),
    ] {
        let denied = (!yes).then_some("none");
        check(
            to(json!({"paths": ["/mid/{*}/end"]})),
            |a| a.path = path.into(),
            denied,
        );
    }
    check(to(json!({"notPaths": ["/a"]})), same, none);
    check(
        to(json!({"methods": ["PO*"]})),
        |a| a.method = "POST".into(),
        None,
    );
    check(to(json!({"ports": ["8080"]})), same, None);
    check(to(json!({"ports": ["80"]})), same, none);
    let id = "cluster.local/ns/app/sa/client";
    check(from(json!({"principals": [id]})), same, None);
    check(
        from(json!({"principals": [format!("spiffe://{id}")]})),
        same,
        none,
    );
    check(
        from(json!({"principals": ["cluster.local/*/sa/client"]})),
        same,
        none,
    );
    check(from(json!({"principals": ["*"]})), |a| a.principal = None, none);
    check(from(json!({"principals": ["*/sa/client"]})), same, None);
    check(
        from(json!({"notPrincipals": ["*"]})),
        |a| a.principal = None,
        None,
    );
    check(from(json!({"namespaces": ["app"]})), same, None);
    check(from(json!({"namespaces": ["ap"]})), same, none);
    check(
        from(json!({"notNamespaces": ["app"]})),
        |a| a.principal = None,
        None,
    );
    check(from(json!({"serviceAccounts": ["client"]})), same, None);
    check(from(json!({"serviceAccounts": ["app2/client"]})), same, none);
    check(from(json!({"ipBlocks": ["127.64.9.0/24"]})), same, None);
    check(from(json!({"ipBlocks": ["127.64.9.4"]})), same, none);
    check(from(json!({"requestPrincipals": ["*"]})), same, none);
    check(
        json!({"rules": [{"when": [{"key": "request.headers[x-a]", "notValues": ["b"]}]}]}),
        same,
        None,
    );
}

#[test]
fn levels_add_up_and_dry_runs_only_count() {
    let deny = |path: &str| json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": [path]}}]}]});
    let allow = json!({"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]});
    let mut elsewhere = policy("other", "app", deny("/a"));
    elsewhere["spec"]["selector"] = json!({"matchLabels": {"app": "nothing"}});
    let mut dry = policy("dry", "app", deny("/a"));
    dry["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    let made = policies(&[
        policy("root", "istio-system", deny("/root")),
        policy("own", "app", allow),
        policy("foreign", "app2", deny("/a")),
        elsewhere,
        dry,
    ]);
    let at = |path: &str| Ask {
        path: path.into(),
        ..ask()
    };
    assert_eq!(decide(&made, &at("/a")), None);
    assert_eq!(
        decide(&made, &at("/root")).as_deref(),
        Some("ns[istio-system]-policy[root]-rule[0]")
    );
    let post = Ask {
        method: "POST".into(),
        ..ask()
    };
    assert_eq!(decide(&made, &post).as_deref(), Some("none"));
    let found = made.0.iter().flat_map(|set| set.shadow.iter().flatten());
    assert_eq!(found.count(), 1);
}

/// A literal reading of one policy: the words of its description, nothing compiled.
fn matches(spec: &Value, ask: &Ask) -> bool {
    let list = |v: &Value, name: &str| -> Vec<Value> { v[name].as_array().cloned().unwrap_or_default() };
    let any =
        |blocks: Vec<Value>, holds: &dyn Fn(&Value) -> bool| blocks.is_empty() || blocks.iter().any(holds);
    let glob = |pattern: &str, value: &str| {
        if pattern == "*" {
            !value.is_empty()
        } else if let Some(start) = pattern.strip_suffix('*') {
            value.starts_with(start)
        } else if let Some(end) = pattern.strip_prefix('*') {
            value.ends_with(end)
        } else {
            value == pattern
        }
    };
    let field = |block: &Value, name: &str, one: &dyn Fn(&str) -> bool| {
        let texts = |name: &str| {
            list(block, name)
                .iter()
                .map(|v| v.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let negated = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
        let (yes, no) = (texts(name), texts(&negated));
        (yes.is_empty() || yes.iter().any(|v| one(v))) && !no.iter().any(|v| one(v))
    };
    let id = ask
        .principal
        .as_deref()
        .and_then(|p| p.strip_prefix("spiffe://"))
        .unwrap_or("");
    let namespace = id.split('/').nth(2).unwrap_or("");
    list(spec, "rules").iter().any(|rule| {
        any(list(rule, "from"), &|from| {
            let source = &from["source"];
            field(source, "principals", &|v| glob(v, id))
                && field(source, "namespaces", &|v| glob(v, namespace))
                && field(source, "ipBlocks", &|v| {
                    v.parse::<ipnet::IpNet>().unwrap().contains(&ask.ip)
                })
        }) && any(list(rule, "to"), &|to| {
            let operation = &to["operation"];
            field(operation, "methods", &|v| glob(v, &ask.method))
                && field(operation, "paths", &|v| glob(v, &ask.path))
                && field(operation, "hosts", &|v| glob(v, &ask.host))
                && field(operation, "ports", &|v| v == ask.port.to_string())
        })
    })
}

fn reference(specs: &[Value], ask: &Ask) -> bool {
    let of = |action: &str| {
        specs
            .iter()
            .filter(move |s| s["action"] == action)
            .collect::<Vec<_>>()
    };
    if of("DENY").iter().any(|s| matches(s, ask)) {
        return false;
    }
    let allow = of("ALLOW");
    allow.is_empty() || allow.iter().any(|s| matches(s, ask))
}

fn block(fields: &'static [(&'static str, &'static [&'static str])]) -> impl Strategy<Value = Value> {
    prop::collection::vec(
        (
            prop::sample::select(fields),
            any::<bool>(),
            prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        ),
        1..3,
    )
    .prop_map(|chosen| {
        let mut out = serde_json::Map::new();
        for ((name, from), negated, picks) in chosen {
            let name = if negated {
                format!("not{}{}", name[..1].to_uppercase(), &name[1..])
            } else {
                name.to_owned()
            };
            let picked: Vec<&str> = picks.iter().map(|i| from[i.index(from.len())]).collect();
            out.insert(name, json!(picked));
        }
        Value::Object(out)
    })
}

const SOURCES: &[(&str, &[&str])] = &[
    (
        "principals",
        &[
            "*",
            "cluster.local/ns/app/sa/client",
            "cluster.local/ns/app*",
            "*/sa/other",
        ],
    ),
    ("namespaces", &["app", "ap*", "*pp2", "*"]),
    ("ipBlocks", &["127.64.9.0/24", "10.0.0.0/8"]),
];
const OPERATIONS: &[(&str, &[&str])] = &[
    ("methods", &["GET", "PO*", "*"]),
    ("paths", &["/a", "/a*", "*b", "*"]),
    ("hosts", &["web.app", "*.app", "other*"]),
    ("ports", &["8080", "80"]),
];

fn spec() -> impl Strategy<Value = Value> {
    let rule = (
        prop::collection::vec(block(SOURCES).prop_map(|s| json!({"source": s})), 0..3),
        prop::collection::vec(block(OPERATIONS).prop_map(|o| json!({"operation": o})), 0..3),
    )
        .prop_map(|(from, to)| json!({"from": from, "to": to}));
    (
        prop::sample::select(vec!["ALLOW", "DENY"]),
        prop::collection::vec(rule, 1..3),
    )
        .prop_map(|(action, rules)| json!({"action": action, "rules": rules}))
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let principals = vec![
        None,
        Some("spiffe://cluster.local/ns/app/sa/client".to_owned()),
        Some("spiffe://cluster.local/ns/app2/sa/other".to_owned()),
    ];
    (
        prop::sample::select(vec!["GET", "POST"]),
        prop::sample::select(vec!["web.app", "other.test"]),
        prop::sample::select(vec!["/a", "/ab", "/b", "/"]),
        prop::sample::select(principals),
        prop::sample::select(vec![IpAddr::from([127, 64, 9, 3]), IpAddr::from([10, 1, 2, 3])]),
        prop::sample::select(vec![8080, 80]),
    )
        .prop_map(|(method, host, path, principal, ip, port)| Ask {
            method: method.into(),
            host: host.into(),
            path: path.into(),
            principal,
            ip,
            port,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn decisions_are_those_of_a_literal_reading(specs in prop::collection::vec(spec(), 1..4), asks in prop::collection::vec(any_ask(), 16)) {
        let objects: Vec<Value> = specs.iter().enumerate().map(|(i, s)| policy(&format!("p{i}"), "app", s.clone())).collect();
        let made = policies(&objects);
        for ask in &asks {
            prop_assert_eq!(decide(&made, ask).is_none(), reference(&specs, ask), "{:?} {:?}", specs, ask);
        }
    }
}

/// Mesh settings with two providers; the names of the rules that ask, and of those that refuse.
#[track_caller]
fn custom(objects: &[Value], asks: &[&str], refuses: &[&str]) {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    let mut all: Vec<&str> = vec![BASE];
    all.extend(texts.iter().map(String::as_str));
    let mut world = world(&all);
    let mesh = "extensionProviders:\n\
        - {name: good, envoyExtAuthzHttp: {service: other.app2.svc.cluster.local, port: 80, includeRequestHeadersInCheck: [X-User, 'x-a-*']}}\n\
        - {name: grpc, envoyExtAuthzGrpc: {service: app2/other.app2.svc.cluster.local, port: 80, failOpen: true, statusOnError: '503'}}\n\
        - {name: gone, envoyExtAuthzHttp: {service: none.app.svc.cluster.local, port: 80}}\n\
        - {name: port, envoyExtAuthzHttp: {service: other.app2.svc.cluster.local, port: 81}}\n";
    world.set_mesh(mesh_crd::mesh_config::MeshConfig::parse(mesh).unwrap());
    let (snapshot, _) = mesh_translate::snapshot(&world, &server());
    let listener = snapshot.listeners.get("127.64.1.2_8080").unwrap();
    let ConnectionService::Http(http) = &listener.chains[0].service else {
        panic!("{listener:?}");
    };
    let named = |rules: &[mesh_model::authorization::PolicyRule]| -> Vec<String> {
        rules.iter().map(|rule| rule.name.clone()).collect()
    };
    let asked: Vec<String> = http
        .external
        .iter()
        .flat_map(|e| named(e.when.as_deref().unwrap()))
        .collect();
    assert_eq!(asked, asks, "{objects:?}");
    for external in &http.external {
        assert!(snapshot.clusters.contains_key(&external.cluster), "{external:?}");
    }
    let enforced: Vec<String> = http
        .policies
        .0
        .iter()
        .flat_map(|set| named(set.enforced.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(enforced, refuses, "{objects:?}");
}

#[test]
fn custom_policies_ask_one_provider_or_refuse() {
    let by = |name: &str, provider: &str| {
        policy(
            name,
            "app",
            json!({"action": "CUSTOM", "provider": {"name": provider}, "rules": [{}]}),
        )
    };
    custom(
        &[by("c", "good")],
        &["istio-ext-authz-good-ns[app]-policy[c]-rule[0]"],
        &[],
    );
    custom(
        &[by("c", "grpc")],
        &["istio-ext-authz-grpc-ns[app]-policy[c]-rule[0]"],
        &[],
    );
    custom(
        &[by("a", "good"), by("b", "good")],
        &[
            "istio-ext-authz-good-ns[app]-policy[a]-rule[0]",
            "istio-ext-authz-good-ns[app]-policy[b]-rule[0]",
        ],
        &[],
    );
    for provider in ["gone", "port", "nobody"] {
        let rule =
            format!("istio-ext-authz-{provider}-ns[app]-policy[c]-rule[0]-deny-due-to-bad-CUSTOM-action");
        custom(&[by("c", provider)], &[], &[&rule]);
    }
    custom(
        &[by("a", "good"), by("b", "grpc")],
        &[],
        &[
            "istio-ext-authz-good-ns[app]-policy[a]-rule[0]-deny-due-to-bad-CUSTOM-action",
            "istio-ext-authz-grpc-ns[app]-policy[b]-rule[0]-deny-due-to-bad-CUSTOM-action",
        ],
    );
    // A dry run asks nobody and refuses nothing.
    let mut dry = by("c", "good");
    dry["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    custom(&[dry], &[], &[]);
    // Attached to a Gateway, the policy is not for a sidecar.
    let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]);
    let spec = json!({"action": "DENY", "rules": [{}], "targetRefs": target});
    custom(&[policy("p", "app", spec)], &[], &[]);
}

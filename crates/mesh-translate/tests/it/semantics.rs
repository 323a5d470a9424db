//! Merging, precedence and scoping beyond the recorded cases.

use crate::support::{check, client, client2, gateway, server};

fn object(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    let group = match kind {
        "PeerAuthentication" => "security",
        _ => "networking",
    };
    format!(
        "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}"
    )
}

fn all(objects: &[String]) -> String {
    objects.join("\n---\n")
}

#[test]
fn a_sidecar_resource_scopes_what_is_seen() {
    let scoped = object("Sidecar", "s", "app", "{egress: [{hosts: ['./*']}]}");
    check(
        &scoped,
        &client(),
        &[
            "cluster outbound|80||web.app.svc.cluster.local eds…",
            "!cluster outbound|80||other.app2.svc.cluster.local…",
        ],
    );
    check(
        &scoped,
        &client2(),
        &["cluster outbound|80||other.app2.svc.cluster.local eds…"],
    );
    let none = object(
        "Sidecar",
        "s",
        "app",
        "{egress: [{hosts: ['~/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
    );
    check(
        &none,
        &client(),
        &[
            "!cluster outbound|80||web.app.svc.cluster.local…",
            "route 80 block_all: block_all /* -> 502 \"\"",
        ],
    );
}

#[test]
fn destination_rules_merge_block_by_block() {
    let rule = object(
        "DestinationRule",
        "web",
        "app",
        "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}]}",
    );
    check(
        &rule,
        &client(),
        &[
            "cluster outbound|80||web.app.svc.cluster.local eds RoundRobin…",
            "cluster outbound|80|v1|web.app.svc.cluster.local eds RoundRobin…",
            "cluster outbound|80|v2|web.app.svc.cluster.local eds LeastRequest…",
        ],
    );
    let root = object(
        "DestinationRule",
        "all",
        "istio-system",
        "{host: '*.svc.cluster.local', trafficPolicy: {loadBalancer: {simple: RANDOM}}}",
    );
    check(
        &root,
        &client(),
        &["cluster outbound|80||web.app.svc.cluster.local eds Random…"],
    );
    // The client's namespace hides the service's.
    let own = object(
        "DestinationRule",
        "web",
        "app2",
        "{host: web.app.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}",
    );
    check(
        &all(&[rule, own]),
        &client2(),
        &[
            "cluster outbound|80||web.app.svc.cluster.local eds LeastRequest Http1 plain",
            "!cluster outbound|80|v1|web…",
        ],
    );
}

#[test]
fn service_entries() {
    let entry = |spec: &str| object("ServiceEntry", "e", "app", spec);
    check(
        &entry(
            "{hosts: [api.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 127.64.50.1, ports: {http: 7000}}, {address: 127.64.50.2}]}",
        ),
        &client(),
        &[
            "host 80 api.test:80 = api.test",
            "cluster outbound|80||api.test eds LeastRequest Http1 plain",
            "endpoints outbound|80||api.test 127.64.50.1:7000=? 127.64.50.2:80=?",
        ],
    );
    check(
        &entry("{hosts: [api.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}"),
        &client(),
        &["cluster outbound|80||api.test StrictDns([(\"api.test\", 80)]) LeastRequest Http1 plain"],
    );
    check(
        &entry(
            "{hosts: [api.test], exportTo: ['.'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}",
        ),
        &client2(),
        &["!host 80 api.test…"],
    );
    check(
        &entry(
            "{hosts: [api.test], location: MESH_INTERNAL, ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {app: web}}}",
        ),
        &client(),
        &["endpoints outbound|80||api.test 127.64.1.2:80=web-v1+tls 127.64.2.2:80=web-v2"],
    );
}

#[test]
fn connection_pools_hold_at_the_server_too() {
    let rule = object(
        "DestinationRule",
        "web",
        "app",
        "{host: web, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 3}}}}",
    );
    let world = crate::support::world(&[crate::support::BASE, &rule]);
    for (node, cluster) in [
        (client(), "outbound|80||web.app.svc.cluster.local"),
        (server(), "inbound|8080||"),
    ] {
        let (snapshot, _) = mesh_translate::snapshot(&world, &node);
        assert_eq!(snapshot.clusters[cluster].limits.max_requests, 3, "{cluster}");
    }
}

#[test]
fn port_level_peer_authentication() {
    let policy = object(
        "PeerAuthentication",
        "p",
        "app",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}",
    );
    check(
        &policy,
        &server(),
        &[
            "!listener 127.64.1.2:8080 tls…",
            "listener 127.64.1.2:8080 plain [] http inbound|8080||",
        ],
    );
    let other = object(
        "PeerAuthentication",
        "p",
        "istio-system",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}",
    );
    check(
        &other,
        &server(),
        &["listener 127.64.1.2:8080 plain [] http inbound|8080||"],
    );
    let mesh = object(
        "PeerAuthentication",
        "p",
        "istio-system",
        "{mtls: {mode: STRICT}}",
    );
    check(&mesh, &server(), &["!listener 127.64.1.2:8080 plain…"]);
}

#[test]
fn headers_retries_faults_mirrors() {
    let rules = object(
        "VirtualService",
        "web",
        "app",
        "{hosts: [web], http: [
          {name: one, match: [{uri: {prefix: /one}}], headers: {request: {set: {X-A: route}}}, route: [{destination: {host: web}, headers: {request: {set: {x-a: dest, Host: h.test}}}}]},
          {name: two, match: [{uri: {prefix: /two}}], headers: {request: {set: {x-a: route}}}, route: [{destination: {host: web}, weight: 1, headers: {request: {set: {x-a: dest}}}}, {destination: {host: multi}, weight: 1}]},
          {name: off, match: [{uri: {prefix: /off}}], retries: {attempts: 0}, route: [{destination: {host: web}}]},
          {name: fault, match: [{uri: {prefix: /fault}}], fault: {abort: {httpStatus: 503, percentage: {value: 0.1}}}, route: [{destination: {host: web}}]},
          {name: mirror, match: [{uri: {prefix: /mirror}}], mirror: {host: multi, port: {number: 8081}}, mirrorPercentage: {value: 12.5}, route: [{destination: {host: web}}]},
          {name: without, match: [{withoutHeaders: {x-b: {exact: '1'}, x-c: {}}}], route: [{destination: {host: web}}]}
        ]}",
    );
    let web = "outbound|80||web.app.svc.cluster.local";
    let at = "route 80 web.app.svc.cluster.local:80:";
    check(
        &rules,
        &client(),
        &[
            &format!("{at} one /one* -> {web} retry 2 host h.test set x-a=dest"),
            &format!(
                "{at} two /two* -> 1*{web} + 1*outbound|80||multi.app.svc.cluster.local retry 2 set x-a=route"
            ),
            &format!("{at} off /off* -> {web} no-retry"),
            &format!(
                "{at} fault /fault* -> {web} retry 2 fault Fault {{ delay: None, abort: Some((Http(503), PerMillion(1000))) }}"
            ),
            &format!(
                "{at} mirror /mirror* -> {web} retry 2 mirror outbound|8081||multi.app.svc.cluster.local@125000"
            ),
            &format!("{at} without /* (not x-b =1) (not x-c present true) -> {web} retry 2"),
        ],
    );
}

#[test]
fn only_the_gateway_follows_a_gateway_bound_rule() {
    let rules = all(&[
        object(
            "Gateway",
            "g",
            "app",
            "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}]}",
        ),
        object(
            "VirtualService",
            "v",
            "app",
            "{hosts: [web], gateways: [g], http: [{name: gw, directResponse: {status: 418}}]}",
        ),
    ]);
    check(
        &rules,
        &client(),
        &["!route 80 web.app.svc.cluster.local:80: gw…"],
    );
    check(
        &rules,
        &gateway(),
        &["route http.8080 web.app.svc.cluster.local:80: gw /* -> 418 \"\""],
    );
    let world = crate::support::world(&[crate::support::BASE, &rules]);
    let (snapshot, _) = mesh_translate::snapshot(&world, &gateway());
    assert!(
        snapshot.routes["http.8080"]
            .virtual_hosts
            .iter()
            .all(|h| h.require_tls)
    );
}

#[test]
fn a_gateway_port_goes_by_the_name_of_its_target() {
    let objects = all(&[
        "apiVersion: v1\nkind: Service\nmetadata: {name: istio-ingressgateway, namespace: istio-system}\nspec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: web}]}".into(),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ingress-1, namespace: istio-system, labels: {istio: ingressgateway}}\nspec: {containers: [{ports: [{name: web, containerPort: 8088}]}]}".into(),
        object("Gateway", "g", "app", "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}"),
    ]);
    check(
        &objects,
        &gateway(),
        &[
            "listener 127.0.0.1:8088 [] routes http.8088",
            "host http.8088 blackhole:80 = *",
        ],
    );
}

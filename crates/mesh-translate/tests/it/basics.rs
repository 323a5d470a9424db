//! What every proxy gets, and the sample's first configuration.

use crate::support::{check, client, client2, gateway, server};

const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: app}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

#[test]
fn a_sidecar_without_rules_reaches_every_service() {
    check(
        "",
        &client(),
        &[
            "listener 127.64.9.3:15001 [] ports 80,8081,8082,8083,8888 else http_proxy",
            "host 80 web.app.svc.cluster.local:80 = web.app.svc.cluster.local web.app.svc.cluster.local. web web.app web.app.svc 10.0.0.1",
            "route 80 web.app.svc.cluster.local:80: default /* -> outbound|80||web.app.svc.cluster.local retry 2",
            "route 80 allow_any: allow_any /* -> PassthroughCluster no-retry",
            "route http_proxy allow_any: allow_any /* -> PassthroughCluster no-retry",
            "!host 9000 …",
            "cluster outbound|80||web.app.svc.cluster.local eds LeastRequest Http1 auto outbound_.80_._.web.app.svc.cluster.local spiffe://cluster.local/ns/app/sa/web",
            "cluster outbound|8082||multi.app.svc.cluster.local eds LeastRequest Http2 auto …",
            "cluster outbound|9000||tcp-echo.app.svc.cluster.local eds LeastRequest Unspecified auto …",
            "endpoints outbound|80||web.app.svc.cluster.local 127.64.1.2:8080=web-v1+tls 127.64.2.2:8080=web-v2",
            "!listener 127.64.9.2:…",
            "listener 127.64.9.206:9000 [] tcp outbound|9000||tcp-echo.app.svc.cluster.local",
            "listener 127.64.9.203:8083 plain [http/1.1,h2c] routes 8083",
        ],
    );
}

#[test]
fn short_names_depend_on_the_client() {
    check(
        "",
        &client2(),
        &[
            "host 80 web.app.svc.cluster.local:80 = web.app.svc.cluster.local web.app.svc.cluster.local. web.app web.app.svc 10.0.0.1",
        ],
    );
}

#[test]
fn weights_and_subsets() {
    let rules = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: app}
spec:
  hosts: [web]
  http:
  - name: canary
    match:
    - name: flag
      headers: {x-canary: {exact: 'yes'}}
    route:
    - destination: {host: web, subset: v2}
  - name: split
    timeout: 2s
    route:
    - destination: {host: web, subset: v1}
      weight: 70
    - destination: {host: web, subset: v2}
      weight: 30
    - destination: {host: web, subset: v3}
      weight: 0
  - name: never
    route:
    - destination: {host: web}
";
    check(
        &format!("{SUBSETS}\n---\n{rules}"),
        &client(),
        &[
            "route 80 web.app.svc.cluster.local:80: canary.flag /* (x-canary =yes) -> outbound|80|v2|web.app.svc.cluster.local retry 2",
            "route 80 web.app.svc.cluster.local:80: split /* -> 70*outbound|80|v1|web.app.svc.cluster.local + 30*outbound|80|v2|web.app.svc.cluster.local timeout 2s retry 2",
            "!route 80 web.app.svc.cluster.local:80: never…",
            "endpoints outbound|80|v1|web.app.svc.cluster.local 127.64.1.2:8080=web-v1+tls",
            "endpoints outbound|80|v2|web.app.svc.cluster.local 127.64.2.2:8080=web-v2",
        ],
    );
}

#[test]
fn a_server_takes_mesh_tls_and_plaintext() {
    let alpn = "istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2";
    check(
        "",
        &server(),
        &[
            &format!("listener 127.64.1.2:8080 tls [{alpn}] http inbound|8080||"),
            "listener 127.64.1.2:8080 plain [] http inbound|8080||",
            "cluster inbound|8080|| 127.64.1.1:8080 LeastRequest Http1 plain",
        ],
    );
}

#[test]
fn strict_and_disable() {
    let policy = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: app}}\nspec: {{mtls: {{mode: {mode}}}}}"
        )
    };
    check(
        &policy("STRICT"),
        &server(),
        &[
            "listener 127.64.1.2:8080 tls [] http inbound|8080||",
            "!listener 127.64.1.2:8080 plain…",
        ],
    );
    check(
        &policy("DISABLE"),
        &server(),
        &[
            "!listener 127.64.1.2:8080 tls…",
            "listener 127.64.1.2:8080 plain [] http inbound|8080||",
        ],
    );
    check(
        &policy("DISABLE"),
        &client(),
        &["endpoints outbound|80||web.app.svc.cluster.local 127.64.1.2:8080=web-v1 127.64.2.2:8080=web-v2"],
    );
}

#[test]
fn a_gateway_serves_bound_hosts() {
    let rules = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: app}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*.example.com']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: app, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  hosts: [shop.example.com, elsewhere.test]
  gateways: [shop]
  http:
  - name: all
    route: [{destination: {host: single}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: some, namespace: app, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  hosts: ['*']
  gateways: [app/shop]
  http:
  - name: some
    match: [{uri: {prefix: /x}}]
    route: [{destination: {host: web}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: more, namespace: app, creationTimestamp: '2026-01-03T00:00:00Z'}
spec:
  hosts: [shop.example.com]
  gateways: [app/shop]
  http:
  - name: more
    match: [{uri: {exact: /y}}]
    directResponse: {status: 418, body: {string: tea}}
";
    check(
        rules,
        &gateway(),
        &[
            "listener 127.0.0.1:8080 [] routes http.8080",
            "host http.8080 shop.example.com:80 = shop.example.com",
            "host http.8080 *.example.com:80 = *.example.com",
            "route http.8080 shop.example.com:80: all /* -> outbound|8888||single.app.svc.cluster.local retry 2",
            "route http.8080 shop.example.com:80: more =/y -> 418 \"tea\"",
            "route http.8080 *.example.com:80: some /x* -> outbound|80||web.app.svc.cluster.local retry 2",
            "!host http.8080 elsewhere…",
        ],
    );
    let (snapshot, _) =
        mesh_translate::snapshot(&crate::support::world(&[crate::support::BASE, rules]), &gateway());
    let host = snapshot.routes["http.8080"]
        .virtual_hosts
        .iter()
        .find(|h| h.name == "shop.example.com:80")
        .unwrap();
    let names: Vec<&str> = host.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["more", "all"], "what takes everything goes last");
}

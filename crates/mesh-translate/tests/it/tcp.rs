//! TCP and TLS services of plain processes: listeners, rules, what CONNECT opens.

use mesh_model::address::AddressBase;
use mesh_model::listener::{ConnectionService, RouteSource};

use crate::support::{BASE, check, client, client2, world};

const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tcp-echo, namespace: app}
spec:
  host: tcp-echo
  trafficPolicy: {connectionPool: {tcp: {idleTimeout: 7s}}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
";

#[track_caller]
fn tcp(rules: &str, expected: &[(&str, u32)], virtual_service: Option<&str>) {
    let text = format!(
        "{SUBSETS}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: tcp, namespace: app}}\nspec: {{hosts: [tcp-echo], tcp: {rules}}}"
    );
    let (snapshot, problems) = mesh_translate::snapshot(&world(&[BASE, &text]), &client());
    assert!(problems.is_empty(), "{problems:?}");
    let listener = snapshot.listeners.get("127.64.9.206_9000").unwrap();
    let ConnectionService::Tcp(proxy) = &listener.chains[0].service else {
        panic!("{listener:?}");
    };
    let clusters: Vec<(&str, u32)> = proxy
        .clusters
        .iter()
        .map(|(name, weight)| (name.split('|').nth(2).unwrap(), *weight))
        .collect();
    assert_eq!(clusters, expected, "{rules}");
    let origin = proxy.origin.as_ref().map(|o| o.virtual_service.as_str());
    assert_eq!(origin, virtual_service, "{rules}");
    assert_eq!(proxy.idle_timeout.map(|d| d.as_secs()), Some(7), "{rules}");
}

#[test]
fn the_first_rule_that_holds_decides() {
    let vs = Some("app/tcp");
    let to = |subset: &str| format!("route: [{{destination: {{host: tcp-echo, subset: {subset}}}}}]");
    let weighted = "[{route: [{destination: {host: tcp-echo, subset: v1}, weight: 20}, {destination: {host: tcp-echo, subset: v2}, weight: 80}]}]";
    tcp(weighted, &[("v1", 20), ("v2", 80)], vs);
    let zero = "[{route: [{destination: {host: tcp-echo, subset: v1}, weight: 0}, {destination: {host: tcp-echo, subset: v2}, weight: 100}]}]";
    tcp(zero, &[("v2", 1)], vs);
    let ports = format!(
        "[{{match: [{{port: 9001}}], {}}}, {{match: [{{port: 9000}}], {}}}]",
        to("v1"),
        to("v2")
    );
    tcp(&ports, &[("v2", 1)], vs);
    let none = format!("[{{match: [{{port: 9001}}], {}}}]", to("v1"));
    tcp(&none, &[("", 1)], None);
    let labels = format!(
        "[{{match: [{{sourceLabels: {{tier: iron}}}}], {}}}, {{match: [{{sourceLabels: {{tier: gold}}}}], {}}}]",
        to("v1"),
        to("v2")
    );
    tcp(&labels, &[("v2", 1)], vs);
}

#[test]
fn addresses_are_told_and_names_lead_to_them() {
    let world = world(&[BASE]);
    let workload = AddressBase::DEFAULT.workload(9);
    let told = mesh_translate::local_services(&world, workload, "app");
    let echo = told.iter().find(|s| s.name == "tcp-echo").unwrap();
    assert_eq!(
        (
            echo.variable().as_str(),
            echo.address.to_string().as_str(),
            echo.ports.as_slice()
        ),
        ("TCP_ECHO", "127.64.9.206", &[9000][..])
    );
    let (snapshot, _) = mesh_translate::snapshot(&world, &client2());
    let outbound = snapshot.listeners.get("127.64.10.3_15001").unwrap();
    let ConnectionService::Http(http) = &outbound.chains[0].service else {
        panic!("{outbound:?}");
    };
    let RouteSource::ByAuthorityPort { listeners, .. } = &http.routes else {
        panic!("{:?}", http.routes);
    };
    for (authority, listener) in [
        ("tcp-echo.app:9000", Some("127.64.10.206_9000")),
        ("127.64.10.206:9000", Some("127.64.10.206_9000")),
        ("tcp-echo:9000", None),
        ("tcp-echo.app:9001", None),
        ("*", Some("virtualOutbound")),
    ] {
        assert_eq!(
            listeners.get(authority).map(String::as_str),
            listener,
            "{authority}"
        );
    }
}

#[test]
fn server_names_choose() {
    check(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: app}
spec:
  hosts: [a.test, b.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}]
  endpoints: [{address: 127.0.0.9}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: names, namespace: app}
spec:
  hosts: [a.test]
  tls:
  - match: [{port: 443, sniHosts: [a.test]}]
    route: [{destination: {host: b.test}}]",
        &client(),
        &[
            "listener 127.64.9.17:443 tls [] tcp outbound|443||b.test",
            "listener 127.64.9.107:443 [] tcp outbound|443||b.test",
            "!listener 127.64.9.17:443 [] tcp outbound|443||b.test",
        ],
    );
}

const SECURE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: app}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8443, name: https-shop, protocol: HTTPS}
    hosts: [shop.test]
    tls: {mode: MUTUAL, credentialName: shop}
  - port: {number: 8443, name: tls-raw, protocol: TLS}
    hosts: ['*.raw.test']
    tls: {mode: PASSTHROUGH}
  - port: {number: 9000, name: tcp, protocol: TCP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: app}
spec: {hosts: [shop.test], gateways: [secure], http: [{name: all, route: [{destination: {host: web}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: raw, namespace: app}
spec:
  hosts: ['*.raw.test']
  gateways: [secure]
  tls: [{match: [{sniHosts: [a.raw.test]}], route: [{destination: {host: tcp-echo}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp, namespace: app}
spec: {hosts: ['*'], gateways: [secure], tcp: [{route: [{destination: {host: tcp-echo}}]}]}
";

#[test]
fn a_gateway_ends_tls_or_passes_it_on() {
    use mesh_model::cluster::{CertificateSource, RootSource};
    use mesh_model::secret::Secret;
    check(
        SECURE,
        &crate::support::gateway(),
        &[
            "listener 127.0.0.1:8443 tls [] routes https.8443.https-shop.secure.app",
            "listener 127.0.0.1:8443 tls [] tcp outbound|9000||tcp-echo.app.svc.cluster.local",
            "listener 127.0.0.1:9000 [] tcp outbound|9000||tcp-echo.app.svc.cluster.local",
        ],
    );
    let mut world = world(&[BASE, SECURE]);
    let material = mesh_translate::KeyMaterial {
        certificate: Some(("C".into(), "K".into())),
        roots: Some("R".into()),
    };
    let at = |namespace: &str| (namespace.to_owned(), "shop".to_owned());
    // Another namespace's secret of that name is not the gateway's.
    assert!(world.set_secrets([(at("app"), material.clone())].into()));
    let (before, _) = mesh_translate::snapshot(&world, &crate::support::gateway());
    assert!(before.secrets.is_empty());
    assert!(world.set_secrets([(at("istio-system"), material.clone())].into()));
    assert!(!world.set_secrets([(at("istio-system"), material)].into()));
    let (after, _) = mesh_translate::snapshot(&world, &crate::support::gateway());
    assert_ne!(before.revision, after.revision);
    let found: Vec<(&str, &Secret)> = after
        .secrets
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_ref()))
        .collect();
    let certificate = Secret::Certificate {
        chain: "C".into(),
        key: "K".into(),
    };
    assert_eq!(
        found,
        [
            ("kubernetes://shop", &certificate),
            ("kubernetes://shop-cacert", &Secret::Roots("R".into()))
        ]
    );
    let tls = after.listeners["127.0.0.1_8443"].chains[0].tls.clone().unwrap();
    assert_eq!(
        tls.certificates,
        [CertificateSource::Secret("kubernetes://shop".into())]
    );
    assert_eq!(
        tls.validation.roots,
        RootSource::Secret("kubernetes://shop-cacert".into())
    );
    assert!(tls.require_client_certificate);
}

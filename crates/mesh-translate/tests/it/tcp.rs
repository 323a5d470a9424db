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

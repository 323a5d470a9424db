//! Analysis: each code once, and near misses.

use crate::support::check_analysis;

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: app}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

fn virtual_service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: app}}\nspec: {spec}"
    )
}

#[track_caller]
fn check(objects: &[&str], expected: &[&str]) {
    check_analysis(&objects.join("\n---\n"), expected);
}

#[test]
fn a_good_configuration_has_no_problem() {
    let vs = virtual_service(
        "vs",
        "{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}",
    );
    check(&[RULE, &vs], &[]);
    let other = virtual_service(
        "vs",
        "{hosts: [x.test], http: [{route: [{destination: {host: other.app2.svc.cluster.local}}]}]}",
    );
    check(&[&other], &[]);
}

#[test]
fn destinations() {
    let to = |destination: &str| {
        virtual_service(
            "vs",
            &format!("{{hosts: [web], http: [{{route: [{{destination: {destination}}}]}}]}}"),
        )
    };
    let at = "spec.http[0].route[0].destination";
    check(
        &[RULE, &to("{host: nobody}")],
        &[&format!("VirtualService vs: IST0101 {at}.host")],
    );
    check(
        &[RULE, &to("{host: web.app}")],
        &[&format!("VirtualService vs: IST0101 {at}.host")],
    );
    check(
        &[RULE, &to("{host: web, subset: v9}")],
        &[&format!("VirtualService vs: IST0101 {at}.subset")],
    );
    check(
        &[&to("{host: web, subset: v1}")],
        &[&format!("VirtualService vs: IST0101 {at}.subset")],
    );
    check(
        &[&to("{host: web, port: {number: 81}}")],
        &[&format!("VirtualService vs: IST0101 {at}.port.number")],
    );
    check(
        &[&to("{host: multi}")],
        &[&format!("VirtualService vs: IST0112 {at}")],
    );
    check(&[&to("{host: multi, port: {number: 8081}}")], &[]);
}

#[test]
fn hosts_on_the_mesh() {
    let of = |name: &str, host: &str| {
        virtual_service(
            name,
            &format!("{{hosts: [{host}], http: [{{route: [{{destination: {{host: web}}}}]}}]}}"),
        )
    };
    check(
        &[&of("a", "web"), &of("b", "web")],
        &[
            "VirtualService a: IST0109 spec.hosts",
            "VirtualService b: IST0109 spec.hosts",
        ],
    );
    check(&[&of("a", "web"), &of("b", "other")], &[]);
    check(
        &[&of("a", "web.app")],
        &["VirtualService a: SL0006 spec.hosts[0]"],
    );
    check(&[&of("a", "tcp-echo")], &["VirtualService a: SL0007 spec.http"]);
    let ports = "{hosts: [web], http: [{match: [{port: 81}], route: [{destination: {host: web}}]}]}";
    check(
        &[&virtual_service("a", ports)],
        &["VirtualService a: SL0003 spec.hosts[0]"],
    );
}

#[test]
fn rules_that_never_apply() {
    let rules = "{hosts: [web], http: [{name: a, route: [{destination: {host: web}}]}, {name: b, match: [{uri: {prefix: /x}}], route: [{destination: {host: web}}]}]}";
    check(
        &[&virtual_service("a", rules)],
        &[
            "VirtualService a: IST0130 spec.http[0]",
            "VirtualService a: IST0130 spec.http[1]",
        ],
    );
    let rules = "{hosts: [web], http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: web}}]}, {match: [{uri: {prefix: /xy}}], route: [{destination: {host: web}}]}]}";
    check(
        &[&virtual_service("a", rules)],
        &["VirtualService a: IST0131 spec.http[1].match[0].uri"],
    );
    let rules = "{hosts: [web], http: [{match: [{gateways: [gw], uri: {prefix: /x}}], route: [{destination: {host: web}}]}]}";
    check(
        &[&virtual_service("a", rules)],
        &["VirtualService a: SL0003 spec.http[0].match[0].gateways"],
    );
}

#[test]
fn delegates() {
    let root = virtual_service(
        "root",
        "{hosts: [web], http: [{match: [{uri: {prefix: /a}}], delegate: {name: leaf}}]}",
    );
    let leaf = |uri: &str| {
        virtual_service(
            "leaf",
            &format!(
                "{{http: [{{match: [{{uri: {{prefix: {uri}}}}}], route: [{{destination: {{host: web}}}}]}}]}}"
            ),
        )
    };
    check(&[&root, &leaf("/a/b")], &[]);
    check(&[&root], &["VirtualService root: IST0101 spec.http[0].delegate"]);
    check(
        &[&root, &leaf("/b")],
        &["VirtualService leaf: SL0003 spec.http[0]"],
    );
    let with_hosts = virtual_service(
        "leaf",
        "{hosts: [x.test], http: [{route: [{destination: {host: web}}]}]}",
    );
    check(
        &[&root, &with_hosts],
        &["VirtualService root: SL0005 spec.http[0].delegate"],
    );
}

#[test]
fn gateways() {
    let gateway = |name: &str, selector: &str, port: u16, protocol: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: app}}\nspec: {{selector: {selector}, servers: [{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: ['*.test']}}]}}"
        )
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: gw, namespace: istio-system, labels: {istio: ingressgateway}}\nstatus: {podIP: 127.64.8.2}";
    let good = gateway("gw", "{istio: ingressgateway}", 80, "HTTP");
    let bound = |gateway: &str, host: &str| {
        virtual_service(
            "vs",
            &format!(
                "{{hosts: ['{host}'], gateways: [{gateway}], http: [{{route: [{{destination: {{host: web}}}}]}}]}}"
            ),
        )
    };
    check(&[pod, &good, &bound("gw", "a.test")], &[]);
    check(
        &[pod, &good, &bound("gw", "a.example")],
        &["VirtualService vs: IST0132 spec.hosts"],
    );
    check(
        &[pod, &good, &bound("nosuch", "a.test")],
        &["VirtualService vs: IST0101 spec.gateways[0]"],
    );
    check(
        &[pod, &gateway("gw", "{istio: nobody}", 80, "HTTP")],
        &["Gateway gw: IST0101 spec.selector"],
    );
    check(
        &[pod, &gateway("gw", "{istio: ingressgateway}", 81, "HTTP")],
        &["Gateway gw: IST0162 spec.servers[0].port.number"],
    );
    check(
        &[pod, &good, &gateway("gx", "{istio: ingressgateway}", 80, "TCP")],
        &["Gateway gx: IST0145 spec.servers[0]"],
    );
    check(
        &[pod, &good, &gateway("gx", "{istio: ingressgateway}", 80, "HTTP")],
        &[],
    );
}

#[test]
fn destination_rules() {
    let rule = |spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: app}}\nspec: {spec}"
        )
    };
    check(
        &[&rule("{host: nobody}")],
        &["DestinationRule dr: IST0101 spec.host"],
    );
    check(
        &[&rule("{host: web, subsets: [{name: v9, labels: {version: v9}}]}")],
        &["DestinationRule dr: IST0173 spec.subsets[0].labels"],
    );
    check(
        &[&rule(
            "{host: web, trafficPolicy: {outlierDetection: {interval: 1s}}}",
        )],
        &["DestinationRule dr: SL0004 spec.trafficPolicy.outlierDetection.maxEjectionPercent"],
    );
    check(
        &[&rule(
            "{host: web, trafficPolicy: {outlierDetection: {maxEjectionPercent: 100}}}",
        )],
        &[],
    );
    check(
        &[&rule("{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}")],
        &[
            "DestinationRule dr: IST0128 spec.trafficPolicy.tls.caCertificates",
            "DestinationRule dr: IST0113 spec.trafficPolicy.tls.mode",
        ],
    );
    check(
        &[&rule(
            "{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 8080}, loadBalancer: {simple: RANDOM}}]}}",
        )],
        &["DestinationRule dr: SL0003 spec.trafficPolicy.portLevelSettings[0].port.number"],
    );
}

#[test]
fn tls_modes_that_servers_refuse() {
    let rule = |mode: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: app}}\nspec: {{host: web, trafficPolicy: {{tls: {{mode: {mode}}}}}}}"
        )
    };
    let policy = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: app}}\nspec: {{mtls: {{mode: {mode}}}}}"
        )
    };
    let conflict = ["DestinationRule dr: IST0113 spec.trafficPolicy.tls.mode"];
    check(&[&rule("DISABLE")], &[]);
    check(&[&rule("DISABLE"), &policy("PERMISSIVE")], &[]);
    check(&[&rule("DISABLE"), &policy("STRICT")], &conflict);
    // One of the endpoints has no sidecar.
    check(&[&rule("ISTIO_MUTUAL")], &conflict);
}

#[test]
fn policies_that_are_not_enforced_as_written_say_so() {
    let policy = |kind: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: p, namespace: app}}\nspec: {spec}"
        )
    };
    check(&[&policy("AuthorizationPolicy", "{}")], &[]);
    check(
        &[&policy(
            "AuthorizationPolicy",
            "{action: CUSTOM, provider: {name: x}, rules: [{}]}",
        )],
        &["AuthorizationPolicy p: IST0101 spec.provider.name"],
    );
    check(
        &[&policy(
            "AuthorizationPolicy",
            "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}, {kind: Service, group: '', name: web}]}",
        )],
        &["AuthorizationPolicy p: SL0003 spec.targetRefs[1]"],
    );
    check(
        &[&policy(
            "RequestAuthentication",
            "{jwtRules: [{issuer: a, jwksUri: 'https://a.test/keys'}]}",
        )],
        &[],
    );
}

#[test]
fn entries_that_no_connection_can_name_say_so() {
    let entry = |more: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: db, namespace: app}}\nspec: {{hosts: [db.test], resolution: DNS, ports: [{{number: 5432, name: tcp, protocol: TCP}}]{more}}}"
        )
    };
    check(&[&entry("")], &["ServiceEntry db: SL0003 spec.ports[0]"]);
    check(&[&entry(", addresses: [240.1.1.1]")], &[]);
}

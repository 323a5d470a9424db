//! Telemetry objects: what holds for a workload, side by side, from mesh to workload.

use mesh_crd::mesh_config::MeshConfig;
use mesh_model::listener::{ConnectionService, Direction, HttpConnection};
use mesh_model::snapshot::Snapshot;

use crate::support::{BASE, server, world};

const MESH: &str = "extensionProviders:\n\
    - {name: json, envoyFileAccessLog: {path: /var/log/a.json, logFormat: {labels: {code: '%RESPONSE_CODE%'}}}}\n\
    - {name: otel, envoyOtelAls: {service: otel.app.svc.cluster.local, port: 4317}}\n";

fn snapshot(objects: &[&str]) -> Snapshot {
    let mut all = vec![BASE];
    all.extend(objects);
    let mut world = world(&all);
    world.set_mesh(MeshConfig::parse(MESH).unwrap());
    mesh_translate::snapshot(&world, &server()).0
}

fn side(snapshot: &Snapshot, direction: Direction) -> HttpConnection {
    let listeners = snapshot.listeners.values().filter(|l| l.direction == direction);
    let mut http = listeners
        .flat_map(|l| &l.chains)
        .filter_map(|chain| match &chain.service {
            ConnectionService::Http(http) => Some(HttpConnection::clone(http)),
            ConnectionService::Tcp(_) => None,
        });
    http.next().unwrap()
}

/// What a side logs, `file [filter]`, its sampling, tags and metric rules.
fn describe(http: &HttpConnection) -> String {
    let logs: Vec<String> = http
        .access_logs
        .iter()
        .map(|log| match &log.filter {
            None => log.path.clone(),
            Some(filter) => format!("{} [{}]", log.path, filter.source()),
        })
        .collect();
    let tracing = http.tracing.as_ref().map_or("no spans".to_owned(), |tracing| {
        let tags: Vec<&str> = tracing.custom_tags.iter().map(|tag| tag.name.as_str()).collect();
        format!("{}% {}", tracing.sampling_percent, tags.join(","))
    });
    let metrics: Vec<String> = http
        .metrics
        .iter()
        .map(|rule| {
            format!(
                "{} {:?} -{} +{:?}",
                rule.metric,
                rule.disabled,
                rule.remove.join(","),
                rule.set
            )
        })
        .collect();
    format!("{}; {tracing}; {}", logs.join(" "), metrics.join(" | "))
}

#[track_caller]
fn check(objects: &[&str], client: &str, server: &str) {
    let snapshot = snapshot(objects);
    assert_eq!(
        describe(&side(&snapshot, Direction::Outbound)),
        client,
        "client: {objects:?}"
    );
    assert_eq!(
        describe(&side(&snapshot, Direction::Inbound)),
        server,
        "server: {objects:?}"
    );
}

fn telemetry(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}"
    )
}

#[test]
fn logs_are_chosen_filtered_and_disabled() {
    let same = |objects: &[&str], both: &str| check(objects, both, both);
    same(&[], "/dev/stdout; 1% ; ");
    let root = |spec: &str| telemetry("istio-system", "mesh", spec);
    let own = |spec: &str| telemetry("app", "ns", spec);
    let json = root("{accessLogging: [{providers: [{name: json}]}]}");
    same(&[&json], "/var/log/a.json; 1% ; ");
    let filter = own("{accessLogging: [{filter: {expression: 'response.code >= 400'}}]}");
    same(&[&json, &filter], "/var/log/a.json [response.code >= 400]; 1% ; ");
    let off = own("{accessLogging: [{disabled: true}]}");
    same(&[&json, &off], "; 1% ; ");
    let server_only = own("{accessLogging: [{match: {mode: CLIENT}, disabled: true}]}");
    check(&[&server_only], "; 1% ; ", "/dev/stdout; 1% ; ");
    // What writes no file, or cannot be read, logs nothing; analysis says so.
    same(
        &[&own("{accessLogging: [{providers: [{name: otel}]}]}")],
        "; 1% ; ",
    );
    same(
        &[&own("{accessLogging: [{filter: {expression: 'response.cod'}}]}")],
        "; 1% ; ",
    );
    // Another workload's is none of ours.
    let other = telemetry(
        "app",
        "w",
        "{selector: {matchLabels: {app: other}}, accessLogging: [{disabled: true}]}",
    );
    same(&[&other], "/dev/stdout; 1% ; ");
    let workload = telemetry(
        "app",
        "w",
        "{selector: {matchLabels: {app: web}}, accessLogging: [{providers: [{name: envoy}]}]}",
    );
    same(&[&json, &workload], "/dev/stdout; 1% ; ");
    same(
        &[&telemetry("app2", "ns", "{accessLogging: [{disabled: true}]}")],
        "/dev/stdout; 1% ; ",
    );
}

#[test]
fn traces_and_metrics_come_from_mesh_to_workload() {
    let root = telemetry(
        "istio-system",
        "mesh",
        "{tracing: [{randomSamplingPercentage: 10, customTags: {a: {literal: {value: x}}}}], \
         metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {source_app: {operation: REMOVE}}}]}]}",
    );
    let own = telemetry(
        "app",
        "ns",
        "{tracing: [{match: {mode: SERVER}, customTags: {b: {header: {name: X-B}}}}], \
         metrics: [{overrides: [{disabled: true}, {tagOverrides: {team: {value: '\"shop\"'}, host: {value: request.host}}}]}]}",
    );
    let all = r#" Some(true) - +[] |  None - +[("team", "shop")]"#;
    check(
        &[&root, &own],
        &format!("/dev/stdout; 10% a; REQUEST_COUNT None -source_app +[] | {all}"),
        &format!("/dev/stdout; 10% b; {all}"),
    );
    let off = telemetry(
        "app",
        "w",
        "{selector: {matchLabels: {app: web}}, tracing: [{disableSpanReporting: true}]}",
    );
    check(&[&off], "/dev/stdout; no spans; ", "/dev/stdout; no spans; ");
}

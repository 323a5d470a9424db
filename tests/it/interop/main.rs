//! A real Envoy beside our proxy, both driven by our control plane: one table of cases through {our, Envoy's} gateway to
//! an application behind {our, Envoy's} sidecar, with mutual TLS between them. Status, headers, body, chosen subset and
//! what the access logs say are the same in all four.
//!
//! `INTEROP_ONLY=id,id` plays only these. Needs `cargo build --bin sightline-proxy --bin sightline-controlplane`, and
//! Envoy (`bash tests/envoy/fetch.sh`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bootstrap;
mod case;
mod outcome;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_model::address::AddressBase;
use mesh_stories::observed::children::Programs;
use mesh_stories::observed::client::{Answer, Call, HttpCall, Session, Way};
use mesh_stories::observed::fixture::{Fixture, GATEWAY, Layout, Place, Proxy, ROOT_NAMESPACE, Workload};
use mesh_stories::observed::world::{Plan, Registry, World};
use serde_json::Value;

use case::{Ask, Case};
use outcome::{Outcome, difference};

const FIXTURE: &str = include_str!("../../data/interop/fixture.yaml");
const BASE: &str = "127.83.0.0/16";
/// From a change to its being in force everywhere.
const SETTLED: Duration = Duration::from_secs(30);

/// Which proxy stands where: gateway, then the service behind the sidecar.
const WAYS: &[(&str, &str, &str)] = &[
    ("Envoy to Envoy", ENVOY_GATEWAY, "ewb"),
    ("Envoy to Sightline", ENVOY_GATEWAY, "web"),
    ("Sightline to Envoy", GATEWAY, "ewb"),
    ("Sightline to Sightline", GATEWAY, "web"),
];
const ENVOY_GATEWAY: &str = "istio-ingressgateway-envoy";

fn fixture() -> Fixture {
    let base = AddressBase::parse(BASE).unwrap();
    let mut fixture = Fixture::read(FIXTURE, Layout::Plain(base)).unwrap();
    let labels = [("app", GATEWAY), ("istio", "ingressgateway"), ("proxy", "envoy")];
    fixture.workloads.push(Workload {
        namespace: ROOT_NAMESPACE.to_owned(),
        name: ENVOY_GATEWAY.to_owned(),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        annotations: BTreeMap::new(),
        arguments: Vec::new(),
        proxy: Proxy::Gateway,
        place: Place::Plain(base.workload(100)),
    });
    fixture
}

fn plan() -> Plan {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let _ = std::fs::remove_dir_all(&folder);
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let test = std::env::current_exe().unwrap();
    Plan {
        fixture: fixture(),
        layout: Layout::Plain(AddressBase::parse(BASE).unwrap()),
        dns: None,
        programs: Programs {
            echo: std::path::PathBuf::from(env!("CARGO_BIN_EXE_rtecho")),
            // .../PROFILE/deps/test-hash
            folder: test.parent().unwrap().parent().unwrap().to_path_buf(),
            logs,
        },
        folder,
    }
}

/// The four ways into the mesh.
struct Mesh {
    world: World,
    logs: std::path::PathBuf,
}

impl Mesh {
    async fn start() -> Self {
        let plan = plan();
        let registry = Registry::start(&plan).await.unwrap();
        let world = World::start(registry, &plan).await.unwrap();
        Self {
            world,
            logs: plan.programs.logs,
        }
    }

    fn gateway(&self, name: &str) -> SocketAddr {
        let workload = self.world.registry.fixture.find(ROOT_NAMESPACE, name).unwrap();
        SocketAddr::new(workload.pod_ip(), 8080)
    }

    async fn create(&self, object: &Value) {
        self.world.registry.cluster.must_create(object).await.unwrap();
    }

    async fn ask(&self, gateway: &str, host: &str, ask: &Ask, key: &str) -> Answer {
        let mut headers: Vec<(String, String)> = ask.headers.clone().into_iter().collect();
        headers.push(("user-agent".to_owned(), key.to_owned()));
        let call = Call::Http(HttpCall {
            method: ask.method.clone(),
            target: ask.path.replace("$KEY", key),
            authority: host.to_owned(),
            headers,
            body: ask.body.clone(),
            http2: ask.http2,
            close: !ask.http2,
        });
        let source = self.world.registry.fixture.no_host;
        let way = Way {
            source,
            first: self.gateway(gateway),
            tunnel: None,
            pod: None,
            tls: None,
        };
        Session::new(way).call(&call).await
    }

    /// Waits until what was applied last is in force behind every way.
    async fn settle(&self) {
        let until = tokio::time::Instant::now() + SETTLED;
        for (way, gateway, service) in WAYS {
            let host = format!("sentinel.{service}.test");
            loop {
                let allowed = self.ask(gateway, &host, &Ask::get("/"), "sentinel").await;
                let denied = self.ask(gateway, &host, &Ask::get("/sentinel"), "sentinel").await;
                if (allowed.status, denied.status) == (Some(200), Some(403)) {
                    break;
                }
                assert!(
                    tokio::time::Instant::now() < until,
                    "{way}: not in force: {allowed:?} {denied:?}; logs in {}",
                    self.logs.display()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn outcome(&self, case: &Case, at: usize, way: usize) -> Outcome {
        let (_, gateway, service) = WAYS[way];
        let ask = &case.requests[at];
        let host = format!("{}.{service}.test", case.id);
        let mut spread = BTreeMap::new();
        let mut last = Answer::default();
        let key = format!("{}-{at}-{way}", case.id);
        for _ in 0..ask.times {
            last = self.ask(gateway, &host, ask, &key).await;
            *spread.entry(last.label("version")).or_insert(0) += 1;
        }
        if ask.times > 1 {
            return Outcome::Spread(spread);
        }
        let mut logs = vec![(ROOT_NAMESPACE.to_owned(), gateway.to_owned())];
        if let Some(version) = last.echo_text("version") {
            logs.push(("app".to_owned(), format!("{service}-{version}")));
        }
        let mut lines = Vec::new();
        for (namespace, name) in logs {
            lines.push(outcome::line(self.world.log(&namespace, &name).unwrap(), &key).await);
        }
        Outcome::of(&last, lines, service, &key)
    }

    /// Everything that an Envoy refused or complained of.
    fn refusals(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.logs).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("envoy-") && name.ends_with(".log") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let bad = text.lines().filter(|line| {
                    ["rejected", "Deprecated", "unknown field", "[critical]", "[error]"]
                        .iter()
                        .any(|word| line.contains(word))
                });
                found.extend(bad.map(|line| format!("{name}: {line}")));
            }
        }
        found
    }
}

#[test]
fn both_proxies_answer_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play());
}

async fn play() {
    let only = std::env::var("INTEROP_ONLY").ok();
    let wanted = |id: &str| {
        only.as_ref()
            .is_none_or(|list| list.split(',').any(|one| one == id))
    };
    let cases: Vec<Case> = case::all().into_iter().filter(|case| wanted(&case.id)).collect();
    let mesh = Mesh::start().await;
    for service in ["web", "ewb"] {
        for object in case::subsets(service) {
            mesh.create(&object).await;
        }
        for case in &cases {
            for object in case.objects(service) {
                mesh.create(&object).await;
            }
        }
        for object in case::sentinel(service) {
            mesh.create(&object).await;
        }
    }
    mesh.settle().await;
    let mut problems = mesh.refusals();
    let mut played = 0;
    for case in &cases {
        for at in 0..case.requests.len() {
            let wanted = mesh.outcome(case, at, 0).await;
            for (way, (name, ..)) in WAYS.iter().enumerate().skip(1) {
                let got = mesh.outcome(case, at, way).await;
                played += 1;
                if let Some(text) = difference(&wanted, &got) {
                    let ask = &case.requests[at];
                    problems.push(format!("{} {} {}: {name}: {text}", case.id, ask.method, ask.path));
                }
            }
        }
    }
    let count = problems.len();
    assert!(
        problems.is_empty(),
        "{count} problems, {played} played:\n{}",
        problems.join("\n")
    );
    println!("{played} answers compared");
}

//! Plays cases one after another: configuration in, wait until it is in force, requests, configuration out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::access_log::{AccessLog, Mark};
use super::case::{Case, Role, Step};
use super::client::{Answer, Session, Way, send_all};
use super::cluster::Written;
use super::fixture::{GATEWAY, ROOT_NAMESPACE, documents, name_of};
use super::outcome::{Admission, Gathered, Hit, Outcome};
use super::places::with_key;
use super::world::{Registry, World, get};

mod request;

use request::{Sent, calls, way};

/// From an applied configuration to its being in force at the proxies that send.
const IN_FORCE_DEADLINE: Duration = Duration::from_secs(5);
/// Answer of a subset without endpoints; of a subset that does not exist yet it is empty.
const NO_ENDPOINTS: &str = "no healthy upstream";
/// Host of the objects that tell when a configuration is in force; the fixture's Gateway takes it.
const MARKER_HOST: &str = "marker.routing.test";
/// An address to which captured HTTP can go: the Host header decides.
const ANY_SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 1, 1)), 80);
/// How long a mirrored call may take to arrive.
const MIRROR_DELAY: Duration = Duration::from_millis(200);

/// Plays cases in a world.
pub struct Player {
    world: World,
    applied: Vec<Value>,
    marker: u64,
    /// How often each case was played.
    looks: BTreeMap<String, u32>,
}

/// A played case, whose log lines are still to be read.
pub struct Played {
    outcome: Outcome,
    steps: Vec<PlayedStep>,
    /// `$U` of each step.
    pub keys: Vec<String>,
}

struct PlayedStep {
    gathered: Gathered,
    marks: Vec<Mark>,
    log: Option<AccessLog>,
    observed: Map<String, Value>,
}

impl Player {
    /// A player in this world.
    pub async fn new(world: World) -> anyhow::Result<Self> {
        let cluster = &world.registry.cluster;
        cluster.must_create(&marker_service()).await?;
        for marker in markers(0) {
            cluster.must_create(&marker).await.context("marker")?;
        }
        let mut player = Self {
            world,
            applied: Vec::new(),
            marker: 0,
            looks: BTreeMap::new(),
        };
        if let Some(late) = player.wait_in_force().await? {
            anyhow::bail!("the first configuration does not come into force: {late}");
        }
        Ok(player)
    }

    /// Plays one case. Errors are the runner's own; everything the mesh does is in the outcome.
    pub async fn play(&mut self, case: &Case) -> anyhow::Result<Played> {
        self.world.check()?;
        // The echo servers count by key: each look at a case has keys of its own.
        let looks = self.looks.entry(case.id.clone()).or_insert(0);
        let earlier = std::mem::replace(looks, *looks + 1);
        let mut outcome = Outcome {
            admission: self.apply(case).await?,
            ..Outcome::default()
        };
        if !case.steps.is_empty() {
            outcome.late = self.wait_in_force().await?;
            self.ask_control_plane(&mut outcome).await;
        }
        let mut steps = Vec::<PlayedStep>::new();
        let mut keys = Vec::new();
        let counts_calls = case
            .steps
            .iter()
            .enumerate()
            .any(|(number, _)| case.fields_of(number).any(is_call_field));
        for (number, step) in case.steps.iter().enumerate() {
            let key = match earlier {
                0 => format!("{}-{number}", case.id),
                _ => format!("{}-{number}-look{earlier}", case.id),
            };
            let mut played = self.step(&key, step).await?;
            if counts_calls {
                if case.fields_of(number).any(|field| field.starts_with("mirror")) {
                    tokio::time::sleep(MIRROR_DELAY).await;
                }
                self.seen(&key, &mut played.gathered).await?;
                let before = steps.last().and_then(|step| step.gathered.hits.last());
                played.gathered.previous_remote = before.map(|hit| hit.remote.clone());
            }
            steps.push(played);
            keys.push(key);
        }
        Ok(Played { outcome, steps, keys })
    }

    /// Removes the last case's objects.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        self.remove().await
    }

    /// Waits until no more log lines come.
    pub async fn settle(&self) {
        let count = || self.world.logs.values().map(AccessLog::len).sum::<usize>();
        let until = Instant::now() + Duration::from_secs(10);
        let mut last = count();
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let now = count();
            if now == last || Instant::now() > until {
                return;
            }
            last = now;
        }
    }

    /// Reads the log lines of a played case.
    #[must_use]
    pub fn outcome(&self, played: &Played) -> Outcome {
        let mut outcome = played.outcome.clone();
        for step in &played.steps {
            let mut gathered = step.gathered.clone();
            gathered.client_logs = step
                .marks
                .iter()
                .map(|mark| step.log.as_ref().and_then(|log| log.find(mark)))
                .collect();
            gathered.server_log = step.marks.first().and_then(|mark| self.server_log(step, mark));
            outcome.steps.push(gathered.fields(&step.observed));
        }
        outcome
    }

    fn server_log(&self, step: &PlayedStep, mark: &Mark) -> Option<super::outcome::LogLine> {
        let mark = Mark {
            local: None,
            from: 0,
            ..mark.clone()
        };
        let client = step.log.as_ref();
        self.world
            .logs
            .values()
            .filter(|log| client.is_none_or(|client| !log.is(client)))
            .find_map(|log| log.find(&mark))
    }

    async fn apply(&mut self, case: &Case) -> anyhow::Result<Admission> {
        self.remove().await?;
        apply(&self.world.registry, case, &mut self.applied).await
    }

    async fn remove(&mut self) -> anyhow::Result<()> {
        remove(&self.world.registry, &mut self.applied).await
    }

    /// Changes the marker and waits until the sending proxies answer the new one: what was written before it is then in
    /// force too.
    async fn wait_in_force(&mut self) -> anyhow::Result<Option<String>> {
        self.marker += 1;
        for marker in markers(self.marker) {
            let merge = json!({"spec": marker["spec"]});
            self.world.registry.cluster.patch(&marker, &merge).await?;
        }
        let number = self.marker.to_string();
        let asked = [("/", number.as_str()), ("/cluster", NO_ENDPOINTS)];
        let until = Instant::now() + IN_FORCE_DEADLINE;
        for way in self.sending_proxies()? {
            for (path, expected) in asked {
                loop {
                    let first = way.first;
                    let answer = self.ask_marker(way.clone(), path).await;
                    if answer.body == expected {
                        break;
                    }
                    if Instant::now() > until {
                        let Answer {
                            status, body, error, ..
                        } = answer;
                        return Ok(Some(format!(
                            "{first}{path} answers {status:?} {body:?} {error:?}"
                        )));
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        Ok(None)
    }

    /// The ways into the proxies that send.
    fn sending_proxies(&self) -> anyhow::Result<[Way; 3]> {
        let fixture = &self.world.registry.fixture;
        let by_proxy_port = |first: SocketAddr| Way {
            source: first.ip(),
            first,
            tunnel: None,
            pod: None,
            tls: None,
        };
        let client = |namespace: &str| -> anyhow::Result<Way> {
            let workload = fixture.find(namespace, "client")?;
            Ok(match workload.outbound() {
                Some(first) => by_proxy_port(first),
                None => Way {
                    pod: self.world.pod(workload).map(|pod| pod.namespace.clone()),
                    ..by_proxy_port(ANY_SERVICE)
                },
            })
        };
        Ok([
            client("app")?,
            client("app2")?,
            Way {
                // From the node, where traffic is captured.
                source: if self.world.pods.is_empty() {
                    fixture.find(ROOT_NAMESPACE, GATEWAY)?.pod_ip()
                } else {
                    IpAddr::from([0, 0, 0, 0])
                },
                ..by_proxy_port((fixture.find(ROOT_NAMESPACE, GATEWAY)?.pod_ip(), 8080).into())
            },
        ])
    }

    async fn ask_marker(&self, way: Way, path: &str) -> Answer {
        let mut call = get(path, Vec::new());
        if let super::client::Call::Http(call) = &mut call {
            MARKER_HOST.clone_into(&mut call.authority);
            call.close = true;
        }
        Session::new(way).call(&call).await
    }

    /// What the control plane says about this case's objects; without an answer the outcome stays as it is.
    async fn ask_control_plane(&mut self, outcome: &mut Outcome) {
        let Ok(list) = self.world.query("/api/objects").await else {
            return;
        };
        for object in list["objects"].as_array().into_iter().flatten() {
            let ours = self.applied.iter().any(|applied| {
                let (namespace, name) = name_of(applied);
                object["kind"] == applied["kind"]
                    && object["namespace"] == namespace
                    && object["name"] == name
            });
            if !ours {
                continue;
            }
            let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
            for problem in object["problems"].as_array().into_iter().flatten() {
                let (code, field, message) = (
                    text(problem, "code"),
                    text(problem, "field"),
                    text(problem, "message"),
                );
                outcome.problems.push(format!("{field}: {code} {message}"));
            }
            for refusal in object["propagation"]["refused"].as_array().into_iter().flatten() {
                outcome
                    .nacks
                    .push(format!("{}: {}", text(refusal, "proxy"), text(refusal, "reason")));
            }
        }
    }

    async fn step(&mut self, key: &str, step: &Step) -> anyhow::Result<PlayedStep> {
        let request = &step.request;
        if request.wait_before_seconds > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(request.wait_before_seconds)).await;
        }
        let observed = with_key(&Value::Object(step.observed.clone()), key);
        let observed = observed.as_object().cloned().unwrap_or_default();
        let log = match step.from {
            Role::Client => Some(self.world.log("app", "client")?.clone()),
            Role::Client2 => Some(self.world.log("app2", "client")?.clone()),
            Role::GatewayClient => Some(self.world.log(ROOT_NAMESPACE, GATEWAY)?.clone()),
            Role::Plain => None,
        };
        let from = log.as_ref().map_or(0, AccessLog::len);
        let way = way(&self.world, step)?;
        let patience = request.repeat_until_status_200_within_seconds.unwrap_or_default();
        let until = Instant::now() + Duration::from_secs_f64(patience);
        let mut round = 0;
        let (answers, agents) = loop {
            let Sent { calls, agents } = calls(step, key, round)?;
            let answers = send_all(&way, calls, request.concurrency, request.fresh).await;
            let good = answers.iter().all(|answer| answer.status == Some(200));
            if good || Instant::now() >= until {
                break (answers, agents);
            }
            round += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let marks = answers
            .iter()
            .zip(agents)
            .map(|(answer, agent)| Mark {
                agent,
                local: answer.local,
                from,
            })
            .collect();
        Ok(PlayedStep {
            gathered: Gathered {
                answers,
                ..Gathered::default()
            },
            marks,
            log,
            observed,
        })
    }

    /// Asks every echo server what it saw with this key.
    async fn seen(&self, key: &str, gathered: &mut Gathered) -> anyhow::Result<()> {
        #[derive(serde::Deserialize)]
        struct Seen {
            hits: Vec<Hit>,
            max_inflight: u64,
        }
        for workload in &self.world.registry.fixture.workloads {
            let Some(port) = workload.http_port() else {
                continue;
            };
            let pod = self.world.pod(workload).map(|pod| pod.namespace.clone());
            let ip = match pod {
                // Inside the pod: past the sidecar.
                Some(_) => IpAddr::from([127, 0, 0, 1]),
                None => workload.application(),
            };
            let first = SocketAddr::new(ip, port);
            let way = Way {
                source: first.ip(),
                first,
                tunnel: None,
                pod,
                tls: None,
            };
            let answer = Session::new(way)
                .call(&get(&format!("/seen?key={key}"), Vec::new()))
                .await;
            let seen: Seen = serde_json::from_str(&answer.body)
                .with_context(|| format!("{first}/seen: {:?} {:?}", answer.status, answer.error))?;
            gathered.hits.extend(seen.hits);
            gathered.max_inflight = gathered.max_inflight.max(seen.max_inflight);
        }
        gathered.hits.sort_by_key(|hit| hit.at);
        Ok(())
    }
}

/// Plays a case of which only admission's answer counts; needs no mesh.
pub async fn ask_admission(registry: &Registry, case: &Case) -> anyhow::Result<Outcome> {
    let mut applied = Vec::new();
    let admission = apply(registry, case, &mut applied).await?;
    remove(registry, &mut applied).await?;
    Ok(Outcome {
        admission,
        ..Outcome::default()
    })
}

/// Creates a case's objects in order; those behind a refused one too, as `kubectl apply` does.
async fn apply(registry: &Registry, case: &Case, applied: &mut Vec<Value>) -> anyhow::Result<Admission> {
    let mut warnings = Vec::new();
    let mut refused = None;
    for (number, object) in documents(&case.config)?.into_iter().enumerate() {
        if let Some(seconds) = case.create_in_order_seconds_apart
            && number > 0
        {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        match registry.cluster.create(&object).await? {
            Written::Stored(stored, more) => {
                warnings.extend(more);
                applied.push(*stored);
            }
            Written::Refused(status, message) => {
                refused.get_or_insert(Admission::Refused { status, message });
            }
        }
    }
    Ok(refused.unwrap_or(Admission::Accepted { warnings }))
}

async fn remove(registry: &Registry, applied: &mut Vec<Value>) -> anyhow::Result<()> {
    for object in applied.drain(..).rev() {
        registry.cluster.delete(&object).await?;
    }
    Ok(())
}

fn is_call_field(field: &str) -> bool {
    [
        "upstream_",
        "attempt_counts",
        "mirror",
        "max_inflight",
        "same_upstream_connection_as_before",
    ]
    .iter()
    .any(|start| field.starts_with(start))
}

/// Objects whose number tells which configuration is in force: a cluster and routes, since objects of different kinds
/// reach the control plane by different watches.
fn markers(number: u64) -> [Value; 2] {
    let subset = format!("m{number}");
    [
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "marker", "namespace": "app"},
            "spec": {"host": "marker", "subsets": [{"name": subset, "labels": {"marker": "none"}}]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "marker", "namespace": "app"},
            "spec": {
                "hosts": [MARKER_HOST], "gateways": ["mesh", "routing-gw"],
                "http": [
                    {
                        "name": "cluster", "match": [{"uri": {"exact": "/cluster"}}],
                        "route": [{"destination": {"host": "marker", "subset": subset, "port": {"number": 80}}}],
                    },
                    {
                        "name": "marker",
                        "directResponse": {"status": 200, "body": {"string": number.to_string()}},
                    },
                ],
            },
        }),
    ]
}

fn marker_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "marker", "namespace": "app"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

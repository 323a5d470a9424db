//! The world of the cases: API server, control plane, and every role of the fixture with its sidecar.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::access_log::AccessLog;
use super::children::{Process, Programs};
use super::client::{Answer, Call, HttpCall, Session, Way};
use super::cluster::Cluster;
use super::fixture::{Fixture, Layout, Proxy, ROOT_NAMESPACE, Workload};
use super::places::SILENT_HOST;
use crate::pods::{NODE, Pod, ServiceRules};

pub mod envoy;
mod objects;

/// Number of the /24 of API server and control plane.
const CONTROL: u8 = 250;
const DISCOVERY: u16 = 15012;
const METRICS: u16 = 15014;
const QUERY: u16 = 15019;
/// User and group of sidecars.
const SIDECAR: u32 = 1337;
/// Port of the silent host in the recording.
const SILENT_PORT: u16 = 8080;
/// From the start of a process to its being ready.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The API server with the fixture's objects: enough to ask admission.
pub struct Registry {
    /// Roles and addresses.
    pub fixture: Fixture,
    /// The API server's client.
    pub cluster: Cluster,
    server: mesh_apiserver::Server,
}

/// Everything that runs while cases are played.
pub struct World {
    /// API server, roles, addresses.
    pub registry: Registry,
    /// Access logs by `namespace/deployment`.
    pub logs: BTreeMap<String, AccessLog>,
    /// Network namespaces by `namespace/deployment`, where traffic is captured.
    pub pods: BTreeMap<String, Pod>,
    query: Session,
    query_token: String,
    processes: Vec<Process>,
    _silent: Option<Silent>,
}

/// A listener whose queue is full: connections to it are neither taken nor refused.
struct Silent {
    _listener: socket2::Socket,
    _queue: Vec<tokio::net::TcpStream>,
}

impl Silent {
    async fn listen(address: SocketAddr) -> anyhow::Result<Self> {
        const LONG_ENOUGH: Duration = Duration::from_millis(100);
        const MOST: usize = 8;
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        listener.bind(&address.into())?;
        listener.listen(0)?;
        let mut queue = Vec::new();
        while queue.len() < MOST {
            match tokio::time::timeout(LONG_ENOUGH, tokio::net::TcpStream::connect(address)).await {
                Ok(stream) => queue.push(stream?),
                Err(_) => {
                    return Ok(Self {
                        _listener: listener,
                        _queue: queue,
                    });
                }
            }
        }
        bail!("{address} takes more connections than its queue holds")
    }
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Roles.
    pub fixture: Fixture,
    /// Addresses.
    pub layout: Layout,
    /// Captured sidecars answer their applications' lookups, and forward the others to here.
    pub dns: Option<String>,
    /// Binaries and logs.
    pub programs: Programs,
    /// Folder for state; emptied at start.
    pub folder: PathBuf,
}

impl Registry {
    /// Starts the API server and writes the fixture into it.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let listen = SocketAddr::new(control(plan), 0);
        let config = mesh_apiserver::Config::new(listen, plan.folder.join("api"));
        let server = mesh_apiserver::Server::start(config)
            .await
            .context("API server")?;
        let cluster = Cluster::new(server.address(), server.admin_token().to_owned());
        objects::write(&cluster, &plan.fixture).await?;
        Ok(Self {
            fixture: plan.fixture.clone(),
            cluster,
            server,
        })
    }
}

impl World {
    /// Starts control plane and workloads and waits until every sidecar is ready.
    ///
    /// To be awaited on the main thread: see [`Programs::start`].
    pub async fn start(registry: Registry, plan: &Plan) -> anyhow::Result<Self> {
        let control = control(plan);
        let cluster = &registry.cluster;
        let mut processes = vec![control_plane(plan, control, registry.server.kubeconfig_path())?];
        wait_until_ready(SocketAddr::new(control, METRICS), "/ready", &mut processes).await?;

        let root = root_certificate(cluster).await?;
        let root_file = plan.folder.join("root-cert.pem");
        std::fs::write(&root_file, root)?;
        let mut logs = BTreeMap::new();
        let pods = pods(plan)?;
        for workload in &plan.fixture.workloads {
            if workload.serves() {
                processes.push(echo(plan, workload, pods.get(&key(workload)))?);
            }
        }
        for workload in &plan.fixture.workloads {
            if workload.proxy == Proxy::None {
                continue;
            }
            let log = AccessLog::default();
            let name = key(workload);
            let pod = pods.get(&name);
            logs.insert(name, log.clone());
            processes.push(proxy(plan, cluster, workload, pod, &root_file, log).await?);
        }
        for workload in &plan.fixture.workloads {
            if workload.proxy != Proxy::None {
                let readiness = SocketAddr::new(workload.pod_ip(), mesh_model::address::port::READINESS);
                wait_until_ready(readiness, "/healthz/ready", &mut processes).await?;
            }
        }
        let silent = match plan.layout {
            Layout::Plain(_) => {
                Some(Silent::listen(SocketAddr::new(registry.fixture.silent_host, SILENT_PORT)).await?)
            }
            Layout::Pods => None,
        };
        let query_token = cluster.token(ROOT_NAMESPACE, "observer", &[]).await?;
        let query = Session::new(Way {
            source: control,
            first: SocketAddr::new(control, QUERY),
            tunnel: None,
            pod: None,
            tls: Some("localhost".to_owned()),
        });
        Ok(Self {
            registry,
            logs,
            pods,
            query,
            query_token,
            processes,
            _silent: silent,
        })
    }

    /// Reads from the control plane's query port.
    pub async fn query(&mut self, path: &str) -> anyhow::Result<Value> {
        let call = get(
            path,
            vec![("authorization".to_owned(), format!("Bearer {}", self.query_token))],
        );
        let answer = self.query.call(&call).await;
        match answer.status {
            Some(200) => serde_json::from_str(&answer.body).with_context(|| format!("GET {path}")),
            status => bail!("GET {path}: {status:?} {} {:?}", answer.body, answer.error),
        }
    }

    /// The pod of a workload, where traffic is captured.
    #[must_use]
    pub fn pod(&self, workload: &Workload) -> Option<&Pod> {
        self.pods.get(&key(workload))
    }

    /// Access log of a workload's proxy.
    pub fn log(&self, namespace: &str, name: &str) -> anyhow::Result<&AccessLog> {
        self.logs
            .get(&format!("{namespace}/{name}"))
            .with_context(|| format!("{namespace}/{name} has no proxy"))
    }

    /// Fails if a process has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}

fn key(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

/// Where API server and control plane listen.
fn control(plan: &Plan) -> IpAddr {
    match plan.layout {
        Layout::Plain(base) => base.workload(CONTROL).application(),
        Layout::Pods => IpAddr::from([10, 244, 0, 1]),
    }
}

/// The namespaces of all workloads that have one, with the capture rules of sidecars and the node's services.
fn pods(plan: &Plan) -> anyhow::Result<BTreeMap<String, Pod>> {
    let mut pods = BTreeMap::new();
    for workload in &plan.fixture.workloads {
        let Some(number) = workload.pod_number() else {
            continue;
        };
        let resolver = plan.dns.as_deref().unwrap_or(NODE[0]);
        let pod = Pod::start(number, &plan.programs.echo, resolver, &plan.folder)?;
        if workload.proxy == Proxy::Sidecar {
            let program = plan.programs.binary("sightline-proxy")?;
            let mut init = pod.namespace.command(&program.display().to_string());
            init.args(workload.init_arguments(plan.dns.is_some()));
            crate::pods::input(init, "").with_context(|| format!("capture rules of {}", workload.name))?;
        }
        pods.insert(key(workload), pod);
    }
    if plan.layout == Layout::Pods {
        service_rules(&plan.fixture).apply(SILENT_HOST)?;
    }
    Ok(pods)
}

fn service_rules(fixture: &Fixture) -> ServiceRules {
    let mut rules = ServiceRules::default();
    for service in &fixture.services {
        let text = |value: &Value| value.as_str().and_then(|ip| ip.parse::<IpAddr>().ok());
        let Some(vip) = text(&service["spec"]["clusterIP"]) else {
            continue;
        };
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            let number = |name: &str| port[name].as_u64().and_then(|n| u16::try_from(n).ok());
            let Some(outer) = number("port") else { continue };
            let target = number("targetPort").unwrap_or(outer);
            let selected = fixture.selected(service);
            let pods: Vec<_> = selected.iter().map(|w| (w.pod_ip(), target)).collect();
            rules.add(vip, outer, &pods);
        }
    }
    rules
}

fn control_plane(plan: &Plan, address: IpAddr, kubeconfig: &Path) -> anyhow::Result<Process> {
    let at = |port: u16| SocketAddr::new(address, port).to_string();
    let arguments = [
        "--kubeconfig".to_owned(),
        kubeconfig.display().to_string(),
        "--discovery-address".to_owned(),
        at(DISCOVERY),
        "--query-address".to_owned(),
        at(QUERY),
        "--metrics-address".to_owned(),
        at(METRICS),
        "--data".to_owned(),
        plan.folder.join("controlplane").display().to_string(),
    ];
    let program = plan.programs.binary("sightline-controlplane")?;
    plan.programs
        .start("controlplane", &program, &arguments, AccessLog::default())
}

fn echo(plan: &Plan, workload: &Workload, pod: Option<&Pod>) -> anyhow::Result<Process> {
    let mut arguments = workload.arguments.clone();
    let bind = match pod {
        Some(_) => "::".to_owned(),
        None => workload.application().to_string(),
    };
    arguments.extend(["--bind".to_owned(), bind]);
    let name = format!("echo-{}-{}", workload.namespace, workload.name);
    let (program, arguments) = match pod {
        Some(pod) => pod.namespace.as_application(&plan.programs.echo, &arguments),
        None => (plan.programs.echo.clone(), arguments),
    };
    plan.programs
        .start(&name, &program, &arguments, AccessLog::default())
}

async fn proxy(
    plan: &Plan,
    cluster: &Cluster,
    workload: &Workload,
    pod: Option<&Pod>,
    root: &Path,
    log: AccessLog,
) -> anyhow::Result<Process> {
    let control = control(plan);
    if workload.label(envoy::LABEL.0) == envoy::LABEL.1 {
        return envoy::start(plan, cluster, workload, control, root, log).await;
    }
    let name = format!("proxy-{}-{}", workload.namespace, workload.name);
    let folder = plan.folder.join(&name);
    for part in ["state", "identity"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let bootstrap = objects::bootstrap(plan, workload, SocketAddr::new(control, DISCOVERY), root);
    let bootstrap_file = folder.join("bootstrap.yaml");
    std::fs::write(&bootstrap_file, serde_json::to_string_pretty(&bootstrap)?)?;
    let token_file = folder.join("token");
    let account = objects::account(workload);
    std::fs::write(
        &token_file,
        cluster.token(&workload.namespace, account, &["istio-ca"]).await?,
    )?;
    let text = |path: PathBuf| path.display().to_string();
    let arguments = [
        ("-c", text(bootstrap_file)),
        ("--ca-endpoint", SocketAddr::new(control, DISCOVERY).to_string()),
        ("--token-path", text(token_file)),
        ("--ca-root", root.display().to_string()),
        ("--state-dir", text(folder.join("state"))),
        ("--identity-dir", text(folder.join("identity"))),
        ("--status-address", workload.pod_ip().to_string()),
        ("--concurrency", "1".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect::<Vec<_>>();
    let program = plan.programs.binary("sightline-proxy")?;
    let Some(pod) = pod else {
        return plan.programs.start(&name, &program, &arguments, log);
    };
    for path in ["", "state", "identity", "bootstrap.yaml", "token"] {
        std::os::unix::fs::chown(folder.join(path), Some(SIDECAR), Some(SIDECAR))?;
    }
    let transparent = workload.interception() == "TPROXY";
    let (program, arguments) = pod.namespace.as_sidecar(&program, &arguments, transparent);
    plan.programs.start(&name, &program, &arguments, log)
}

/// The mesh CA's root, which the control plane publishes when it is up.
async fn root_certificate(cluster: &Cluster) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{ROOT_NAMESPACE}/configmaps/istio-ca-root-cert");
    let until = tokio::time::Instant::now() + START_DEADLINE;
    loop {
        let last = match cluster.get(&path).await {
            Ok(object) => match object["data"]["root-cert.pem"].as_str() {
                Some(root) => return Ok(root.to_owned()),
                None => anyhow::anyhow!("it has no root-cert.pem"),
            },
            Err(error) => error,
        };
        if tokio::time::Instant::now() > until {
            return Err(last.context("ConfigMap istio-ca-root-cert is not published"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_until_ready(address: SocketAddr, path: &str, processes: &mut [Process]) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + START_DEADLINE;
    loop {
        let way = Way {
            source: match address.ip() {
                ip if ip.is_loopback() => ip,
                _ => IpAddr::from([0, 0, 0, 0]),
            },
            first: address,
            tunnel: None,
            pod: None,
            tls: None,
        };
        let answer: Answer = Session::new(way).call(&get(path, Vec::new())).await;
        if answer.status == Some(200) {
            return Ok(());
        }
        processes.iter_mut().try_for_each(Process::check)?;
        if tokio::time::Instant::now() > until {
            bail!(
                "{address}{path} is not ready: {:?} {} {:?}",
                answer.status,
                answer.body,
                answer.error
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A plain GET.
#[must_use]
pub fn get(target: &str, headers: Vec<(String, String)>) -> Call {
    Call::Http(HttpCall {
        method: "GET".to_owned(),
        target: target.to_owned(),
        authority: "localhost".to_owned(),
        headers,
        body: String::new(),
        http2: false,
        close: false,
    })
}

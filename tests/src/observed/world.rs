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
use super::fixture::{Fixture, Proxy, ROOT_NAMESPACE, Workload};

mod objects;

/// Number of the /24 of API server and control plane.
const CONTROL: u8 = 250;
const DISCOVERY: u16 = 15012;
const METRICS: u16 = 15014;
const QUERY: u16 = 15019;
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
    query: Session,
    query_token: String,
    processes: Vec<Process>,
    _silent: Silent,
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
    pub base: mesh_model::address::AddressBase,
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
        for workload in &plan.fixture.workloads {
            if workload.serves() {
                processes.push(echo(plan, workload)?);
            }
        }
        for workload in &plan.fixture.workloads {
            if workload.proxy == Proxy::None {
                continue;
            }
            let log = AccessLog::default();
            let name = format!("{}/{}", workload.namespace, workload.name);
            logs.insert(name, log.clone());
            processes.push(proxy(plan, cluster, workload, control, &root_file, log).await?);
        }
        for workload in &plan.fixture.workloads {
            if workload.proxy != Proxy::None {
                let readiness = SocketAddr::new(workload.pod_ip(), mesh_model::address::port::READINESS);
                wait_until_ready(readiness, "/healthz/ready", &mut processes).await?;
            }
        }
        let silent = Silent::listen(SocketAddr::new(registry.fixture.silent_host, SILENT_PORT)).await?;
        let query_token = cluster.token(ROOT_NAMESPACE, "observer", &[]).await?;
        let query = Session::new(Way {
            source: control,
            first: SocketAddr::new(control, QUERY),
            tunnel: None,
            tls: Some("localhost".to_owned()),
        });
        Ok(Self {
            registry,
            logs,
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

fn control(plan: &Plan) -> IpAddr {
    plan.base.workload(CONTROL).application()
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

fn echo(plan: &Plan, workload: &Workload) -> anyhow::Result<Process> {
    let mut arguments = workload.arguments.clone();
    arguments.extend(["--bind".to_owned(), workload.application().to_string()]);
    let name = format!("echo-{}-{}", workload.namespace, workload.name);
    plan.programs
        .start(&name, &plan.programs.echo, &arguments, AccessLog::default())
}

async fn proxy(
    plan: &Plan,
    cluster: &Cluster,
    workload: &Workload,
    control: IpAddr,
    root: &Path,
    log: AccessLog,
) -> anyhow::Result<Process> {
    let name = format!("proxy-{}-{}", workload.namespace, workload.name);
    let folder = plan.folder.join(&name);
    for part in ["state", "identity"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let bootstrap = objects::bootstrap(workload, SocketAddr::new(control, DISCOVERY), root);
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
            source: address.ip(),
            first: address,
            tunnel: None,
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

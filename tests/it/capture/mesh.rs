//! The pods of these tests, and what a client in one of them can do.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use mesh_stories::observed::access_log::{AccessLog, Mark};
use mesh_stories::observed::children::Programs;
use mesh_stories::observed::client::{Answer, Call, HttpCall, Session, Way};
use mesh_stories::observed::fixture::{Fixture, Layout, Workload};
use mesh_stories::observed::world::{Plan, Registry, World};
use mesh_stories::pods::{NODE, Namespace, shared};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A folder that every user may enter; gone with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Pods, sidecars and control plane.
pub(crate) struct Mesh {
    pub(crate) world: World,
    folder: Folder,
}

impl Mesh {
    pub(crate) async fn start(fixture: &str) -> anyhow::Result<Self> {
        let folder = Folder(std::env::temp_dir().join(format!("sightline-capture-{}", std::process::id())));
        let logs = folder.0.join("logs");
        std::fs::create_dir_all(&logs)?;
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755))?;
        let built = PathBuf::from(env!("CARGO_BIN_EXE_rtecho"));
        let programs = folder.0.join("bin");
        let from = built.parent().context("the test is not in a target folder")?;
        for name in ["rtecho", "sightline-proxy", "sightline-controlplane"] {
            let program = from.join(name);
            ensure!(
                program.is_file(),
                "{} is missing; build it first: cargo build --bin {name}",
                program.display()
            );
            shared(&program, &programs)?;
        }
        let plan = Plan {
            fixture: Fixture::read(fixture, Layout::Pods)?,
            layout: Layout::Pods,
            dns: Some(NODE[0].to_owned()),
            programs: Programs {
                echo: programs.join("rtecho"),
                folder: programs,
                logs,
            },
            folder: folder.0.clone(),
        };
        let registry = Registry::start(&plan).await?;
        let world = World::start(registry, &plan).await?;
        Ok(Self { world, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn workload(&self, name: &str) -> anyhow::Result<&Workload> {
        let (namespace, name) = name.split_once('/').unwrap_or(("demo", name));
        self.world.registry.fixture.find(namespace, name)
    }

    pub(crate) fn namespace(&self, name: &str) -> anyhow::Result<Namespace> {
        let pod = self.world.pod(self.workload(name)?);
        Ok(pod
            .with_context(|| format!("{name} is no pod"))?
            .namespace
            .clone())
    }

    pub(crate) fn ip(&self, name: &str) -> anyhow::Result<IpAddr> {
        Ok(self.workload(name)?.pod_ip())
    }

    pub(crate) fn ipv6(&self, name: &str) -> anyhow::Result<IpAddr> {
        let pod = self.world.pod(self.workload(name)?);
        Ok(pod.with_context(|| format!("{name} is no pod"))?.addresses[1])
    }

    /// Address of a service.
    pub(crate) fn vip(&self, name: &str) -> anyhow::Result<IpAddr> {
        self.world.registry.fixture.resolve(name, "demo")
    }

    pub(crate) fn log(&self, name: &str) -> anyhow::Result<&AccessLog> {
        let workload = self.workload(name)?;
        self.world.log(&workload.namespace, &workload.name)
    }

    /// One request from a pod.
    pub(crate) async fn get(
        &self,
        from: &str,
        to: SocketAddr,
        host: &str,
        agent: &str,
    ) -> anyhow::Result<Answer> {
        let way = Way {
            source: to.ip(),
            first: to,
            tunnel: None,
            tls: None,
            pod: Some(self.namespace(from)?),
        };
        let call = Call::Http(HttpCall {
            method: "GET".to_owned(),
            target: format!("/?key={agent}"),
            authority: host.to_owned(),
            headers: vec![
                ("user-agent".to_owned(), agent.to_owned()),
                ("x-key".to_owned(), agent.to_owned()),
            ],
            body: String::new(),
            http2: false,
            close: true,
        });
        Ok(Session::new(way).call(&call).await)
    }

    /// A connection from a pod.
    pub(crate) async fn connect(&self, from: &str, to: SocketAddr) -> anyhow::Result<TcpStream> {
        let namespace = self.namespace(from)?;
        let socket = tokio::task::block_in_place(|| {
            namespace.run(move || {
                if to.is_ipv4() {
                    TcpSocket::new_v4()
                } else {
                    TcpSocket::new_v6()
                }
            })
        })??;
        within(async { Ok(socket.connect(to).await?) })
            .await
            .with_context(|| format!("{from} connects to {to}"))
    }

    /// A listener in a pod.
    pub(crate) fn listen(&self, pod: &str, port: u16) -> anyhow::Result<TcpListener> {
        let namespace = self.namespace(pod)?;
        let listener = tokio::task::block_in_place(|| {
            namespace.run(move || std::net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), port)))
        })??;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }

    /// The access-log line of a request or connection, once it is there.
    pub(crate) async fn line(
        &self,
        of: &str,
        agent: &str,
        local: Option<SocketAddr>,
    ) -> anyhow::Result<Value> {
        let log = self.log(of)?;
        let mark = Mark {
            agent: agent.to_owned(),
            local,
            from: 0,
        };
        within(async {
            loop {
                if let Some(line) = log.find(&mark) {
                    return Ok(Value::Object(line));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .with_context(|| format!("{of} logs nothing of {agent:?} {local:?}"))
    }

    /// Where the application of a workload saw a request come from.
    pub(crate) async fn seen_from(&self, server: &str, key: &str) -> anyhow::Result<String> {
        let way = Way {
            source: IpAddr::from([127, 0, 0, 1]),
            first: (IpAddr::from([127, 0, 0, 1]), 8080).into(),
            tunnel: None,
            tls: None,
            pod: Some(self.namespace(server)?),
        };
        let call = mesh_stories::observed::world::get(&format!("/seen?key={key}"), Vec::new());
        let answer = Session::new(way).call(&call).await;
        let seen: Value = serde_json::from_str(&answer.body).context("answer of /seen")?;
        Ok(seen["hits"][0]["remote"].as_str().unwrap_or_default().to_owned())
    }
}

/// Ends with an error at the deadline.
pub(crate) async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("nothing within {DEADLINE:?}")))
}

/// Sends a line and reads one.
pub(crate) async fn exchange(stream: &mut TcpStream, send: &str) -> anyhow::Result<String> {
    within(async {
        stream.write_all(send.as_bytes()).await?;
        read_line(stream).await
    })
    .await
}

/// Reads one line.
pub(crate) async fn read_line(stream: &mut TcpStream) -> anyhow::Result<String> {
    within(async {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let byte = stream.read_u8().await.context("read")?;
            line.push(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    })
    .await
}

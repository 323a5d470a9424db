//! The life of the process: start in order, serve, end without losing a request or a count.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_model::address::port;
use mesh_tls::{IdentityWatch, identity_channel};
use mesh_xds::discovery::UserAgentVersionType;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, SetLogLevel};
use crate::config::{Config, HostPort};
use crate::connect::{Security, Service};
use crate::handover::{Predecessor, Successor};
use crate::identity::{Contexts, Keeper};
use crate::record::Settings;
use crate::report::outbox::Parts;
use crate::runtime::{Runtime, RuntimeConfig};
use crate::serve::{Handler, Pages};
use crate::status::{self, Application, Facts, Health, application};
use crate::{discovery, dns, report};

/// Name of the control plane in its certificate.
const CONTROL_PLANE: &str = "istiod.istio-system.svc";
/// How long a first configuration may wait for the first certificate, so that the first handshakes succeed.
const CERTIFICATE_PATIENCE: Duration = Duration::from_secs(2);

/// Why the proxy ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port could not be opened.
    #[error("{what} {address}: {error}; is another proxy running there?")]
    Bind {
        /// Which port.
        what: &'static str,
        /// Address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The data plane could not start.
    #[error("the data plane could not start: {0}")]
    Start(std::io::Error),
    /// The bootstrap's own resources were refused.
    #[error("{0}")]
    Refused(String),
}

/// Runs until asked to end.
pub async fn run(config: Config, set_log_level: SetLogLevel) -> Result<(), RunError> {
    let started = Instant::now();
    // First of all, so that a signal at any later moment ends gracefully.
    let mut ending = Ending::new().map_err(RunError::Start)?;
    let config = Arc::new(config);
    tracing::info!(
        node = config.node.id,
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );
    for ignored in &config.bootstrap.ignored {
        tracing::warn!(path = ignored.path, reason = ignored.reason, "has no effect");
    }
    let identity = keep_identity(&config);
    let runtime = Runtime::start(RuntimeConfig {
        node: config.node.clone(),
        concurrency: config.arguments.concurrency.unwrap_or_default(),
        drain_time: config.drain_time,
        tls: Arc::new(Contexts::new(identity.clone())),
    })
    .map_err(RunError::Start)?;
    let facts = Facts {
        runtime: runtime.clone(),
        discovery: config
            .bootstrap
            .discovery
            .as_ref()
            .map(|_| discovery::Shown::default()),
        identity: identity.clone(),
        report: report::Shown::default(),
        health: Arc::new(Health::default()),
        quit: CancellationToken::new(),
        application: application::Target::of(config.bootstrap.node.metadata.as_ref())
            .map(|target| Arc::new(Application::new(target))),
    };
    let mut predecessor = Predecessor::find(&config).await;
    let mut pages = open_pages(&config, &facts, started, set_log_level, predecessor.as_mut()).await?;
    if let Some(predecessor) = &mut predecessor {
        runtime.inherit(predecessor.take_sockets());
    } else {
        pages.serve();
    }
    if dns::is_wanted(config.bootstrap.node.metadata.as_ref()) {
        start_lookups(&runtime).await?;
    }
    follow_identity(identity.clone(), runtime.clone());
    tokio::spawn(crate::memory::follow());
    tokio::spawn(crate::overload::follow(config.memory_limit));
    let mut reporting = Reporting::start(&config, &facts);
    if predecessor.is_none() {
        reporting.report(None);
    }
    match &config.bootstrap.discovery {
        None => apply_bootstrap(&config, &runtime).await?,
        Some(source) => start_discovery(&config, &facts, source, &runtime),
    }
    let mut inheriting = None;
    if let Some(predecessor) = predecessor {
        tokio::select! {
            taken = predecessor.take_over(&facts) => {
                pages.serve();
                reporting.report(taken.run);
                inheriting = taken.rest;
            }
            () = ending.wait(&facts.quit) => {
                runtime.shutdown(Duration::ZERO).await;
                return Ok(());
            }
        }
    }
    let successor = Successor::expect(&config);
    tokio::select! {
        () = ending.wait(&facts.quit) => {}
        link = successor.taken(&runtime, &pages) => {
            tracing::info!("another process has taken over; draining");
            facts.health.drain();
            pages.close();
            let run = reporting.hand().await;
            let leaving = crate::handover::leave(link, run, &runtime, config.successor_time, inheriting);
            tokio::select! {
                () = leaving => {}
                () = ending.again() => tracing::info!("asked to end: not waiting any longer"),
            }
            reporting.end().await;
            tracing::info!("ended");
            return Ok(());
        }
    }
    tracing::info!("draining");
    facts.health.drain();
    let drained = runtime.shutdown(config.termination_time);
    tokio::select! {
        () = drained => {}
        () = ending.again() => {
            tracing::info!("asked twice: not waiting any longer");
            runtime.shutdown(Duration::ZERO).await;
        }
    }
    if let Some(rest) = inheriting {
        // What the process before counts until its end is counted here.
        let _ = tokio::time::timeout(config.termination_time, rest).await;
    }
    reporting.end().await;
    tracing::info!("ended");
    Ok(())
}

async fn start_lookups(runtime: &Runtime) -> Result<(), RunError> {
    // Without the file there is nobody to ask; the names of the mesh are answered all the same.
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    dns::start(runtime.clone(), &resolv_conf)
        .await
        .map_err(|error| RunError::Bind {
            what: "DNS proxy",
            address: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port::DNS),
            error,
        })
}

/// SIGTERM, SIGINT and the admin page's quit.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn wait(&mut self, quit: &CancellationToken) {
        tokio::select! {
            () = self.again() => {}
            () = quit.cancelled() => {}
        }
    }
}

fn service(config: &Config, at: &HostPort, tls: bool, identity: Option<IdentityWatch>) -> Service {
    let security = match (&config.arguments.ca_root, tls) {
        (Some(roots), true) => Security::Roots(roots.clone()),
        _ => Security::Plain,
    };
    // An address has no name of its own; the control plane's certificate names it.
    let name = if at.host.parse::<IpAddr>().is_ok() && tls {
        CONTROL_PLANE.to_owned()
    } else {
        at.host.clone()
    };
    Service {
        addresses: vec![(at.host.clone(), at.port)],
        name,
        security,
        identity,
        token_path: config.arguments.token_path.clone(),
    }
}

fn keep_identity(config: &Config) -> Option<IdentityWatch> {
    let (id, authority) = (config.identity.clone()?, config.authority.as_ref()?);
    let (sender, watch) = identity_channel();
    let keeper = Keeper {
        id,
        authority: service(config, authority, true, Some(watch.clone())),
        roots: config.arguments.ca_root.clone().unwrap_or_default(),
        folder: config.arguments.identity_dir.clone(),
    };
    // A kept certificate serves from the very first handshake.
    if let Some(kept) = keeper.kept(SystemTime::now()) {
        sender.send_replace(Some(Arc::new(kept)));
    }
    tokio::spawn(keeper.run(sender));
    Some(watch)
}

fn follow_identity(identity: Option<IdentityWatch>, runtime: Runtime) {
    let Some(mut identity) = identity else {
        return;
    };
    tokio::spawn(async move {
        while identity.changed().await {
            let runtime = runtime.clone();
            // Contexts are made from files and keys: not on this thread.
            let _ = tokio::task::spawn_blocking(move || runtime.refresh_tls()).await;
        }
    });
}

async fn open_pages(
    config: &Arc<Config>,
    facts: &Facts,
    started: Instant,
    set_log_level: SetLogLevel,
    mut predecessor: Option<&mut Predecessor>,
) -> Result<Pages, RunError> {
    let mut wanted: Vec<(&'static str, SocketAddr, Handler)> = Vec::with_capacity(4);
    if let Some(address) = config.bootstrap.admin {
        let page = Admin {
            facts: facts.clone(),
            config: Arc::clone(config),
            started,
            set_log_level,
        };
        let handler: Handler = Arc::new(move |asked| admin::admin(&page, asked));
        wanted.push(("admin page", address, handler));
    }
    type Page = fn(&Facts, &crate::serve::Asked) -> crate::serve::Answer;
    let own: [(&'static str, u16, Page); 3] = [
        ("agent port", port::AGENT, status::agent),
        ("readiness port", port::READINESS, status::readiness),
        ("Prometheus port", port::PROMETHEUS, status::prometheus),
    ];
    for (what, number, page) in own {
        let Some(ip) = config.status_address else { break };
        let facts = facts.clone();
        let handler: Handler = Arc::new(move |asked| page(&facts, asked));
        wanted.push((what, SocketAddr::new(ip, number), handler));
    }
    let mut pages = Pages::default();
    for (what, address, handler) in wanted {
        let handed = predecessor
            .as_mut()
            .and_then(|before| before.take_socket(address));
        let socket = match handed {
            Some(socket) => TcpListener::from_std(socket),
            None => TcpListener::bind(address).await,
        };
        let socket = socket.map_err(|error| RunError::Bind { what, address, error })?;
        pages.add(address, socket, handler);
    }
    Ok(pages)
}

/// What goes to the control plane: counters, kept requests and spans.
struct Reporting {
    service: Option<Service>,
    node: String,
    facts: Facts,
    stop: CancellationToken,
    hand: CancellationToken,
    records: Vec<JoinHandle<()>>,
    reporter: Option<JoinHandle<Option<Parts>>>,
}

impl Reporting {
    /// Kept requests and spans go out from now on.
    fn start(config: &Config, facts: &Facts) -> Self {
        let endpoint = config.telemetry.as_ref();
        let service = endpoint.map(|at| service(config, &at.address, at.tls, facts.identity.clone()));
        let stop = CancellationToken::new();
        let mut tasks = Vec::with_capacity(2);
        let records = facts.runtime.records();
        if let Some(service) = &service
            && let Some(queue) = records.open(Settings::of(config.bootstrap.node.metadata.as_ref()))
        {
            let link = report::link::Link::new(service.clone(), config.node.id.clone());
            let exporter = report::records::Exporter::new(link.clone(), records.clone(), queue);
            tasks.push(tokio::spawn(exporter.run(stop.clone())));
            tasks.push(tokio::spawn(report::watch::run(
                link,
                records.clone(),
                stop.clone(),
            )));
        }
        Self {
            service,
            node: config.node.id.clone(),
            facts: facts.clone(),
            stop,
            hand: CancellationToken::new(),
            records: tasks,
            reporter: None,
        }
    }

    /// Counters go out from now on: a run of their own, or that of the process before.
    fn report(&mut self, run: Option<Parts>) {
        let Some(service) = self.service.clone() else {
            return;
        };
        let (node, shown) = (self.node.clone(), self.facts.report.clone());
        let source = self.facts.runtime.registry().clone();
        let reporter = match run {
            Some(run) => report::Reporter::resume(service, node, run, source, shown),
            None => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let epoch = u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
                report::Reporter::new(service, node, epoch, source, shown)
            }
        };
        let (stop, hand) = (self.stop.clone(), self.hand.clone());
        self.reporter = Some(tokio::spawn(reporter.run_or_hand(stop, hand)));
    }

    /// Stops the run of counters in the middle; another process goes on with it.
    async fn hand(&mut self) -> Option<Parts> {
        self.hand.cancel();
        self.reporter.take()?.await.ok().flatten()
    }

    /// Everything goes out; each part bounds its own last wait, all at the same time.
    async fn end(self) {
        self.stop.cancel();
        for task in self.records {
            let _ = task.await;
        }
        if let Some(reporter) = self.reporter {
            let _ = reporter.await;
        }
    }
}

async fn apply_bootstrap(config: &Config, runtime: &Runtime) -> Result<(), RunError> {
    let snapshot = Arc::new(config.bootstrap.snapshot());
    let runtime = runtime.clone();
    let applied = tokio::task::spawn_blocking(move || runtime.apply(snapshot)).await;
    match applied {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => {
            let lines: Vec<String> = refused
                .iter()
                .map(|r| format!("{}: {}", r.resource, r.reason))
                .collect();
            Err(RunError::Refused(lines.join("\n")))
        }
        Err(error) => Err(RunError::Refused(error.to_string())),
    }
}

fn start_discovery(
    config: &Config,
    facts: &Facts,
    source: &mesh_xds::bootstrap::DiscoverySource,
    runtime: &Runtime,
) {
    let sni = source.tls.as_ref().and_then(|t| t.sni.clone());
    let host = source.addresses.first().map(|(host, _)| host.clone());
    let service = Service {
        addresses: source.addresses.clone(),
        name: source
            .authority
            .clone()
            .or(sni)
            .or(host)
            .unwrap_or_else(|| CONTROL_PLANE.to_owned()),
        security: source.tls.clone().map_or(Security::Plain, Security::Context),
        identity: facts.identity.clone(),
        token_path: config.arguments.token_path.clone(),
    };
    let mut base = config.bootstrap.snapshot();
    base.revision.clear();
    let mut node = config.bootstrap.node.clone();
    env!("CARGO_PKG_NAME").clone_into(&mut node.user_agent_name);
    node.user_agent_version_type = Some(UserAgentVersionType::UserAgentVersion(
        env!("CARGO_PKG_VERSION").to_owned(),
    ));
    let mut client = discovery::Client::new(
        service,
        node,
        Arc::new(runtime.clone()),
        base,
        config.arguments.state_dir.clone(),
    );
    client.metadata.clone_from(&source.metadata);
    if let Some(shown) = &facts.discovery {
        client.shown = shown.clone();
    }
    let identity = facts.identity.clone();
    tokio::spawn(async move {
        if let Some(mut identity) = identity {
            let first = tokio::time::timeout(CERTIFICATE_PATIENCE, identity.first()).await;
            if first.is_err() {
                tracing::warn!("no certificate yet; mutual TLS will work once it comes");
            }
        }
        client.restore().await;
        client.run().await;
    });
}

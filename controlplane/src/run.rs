//! Wiring: what starts, in which order, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mesh_crd::mesh_config::MeshConfig;
use mesh_store::store::{Database, Store, StoreOptions};
use mesh_store::{History, Limits, Resolution};
use mesh_telemetry::otlp;
use mesh_xds::certificate::IstioCertificateServiceServer;
use mesh_xds::discovery::AggregatedDiscoveryServiceServer;
use mesh_xds::kept_traces::KeptTracesServer;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsServiceServer;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsServiceServer;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use crate::auth::Authenticator;
use crate::ca::{self, Rates, ServerTls, Signer};
use crate::clock::unix_ms;
use crate::discovery::Discovery;
use crate::export::Exporters;
use crate::gather::Gather;
use crate::index::{self, Generation, Index};
use crate::jwks;
use crate::listen::Incoming;
use crate::live::{KEPT, Live};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::proxies::Proxies;
use crate::query::{self, Query};
use crate::records::{Recorder, Taker};
use crate::revisions::{Recording, Witness};
use crate::scrape::{self, Scrape};
use crate::status::{self, Judged};
use crate::watch as watches;

/// Changes that may wait for the index.
const CHANGES: usize = 1024;
/// Time between folds of the history.
const FOLD: Duration = Duration::from_secs(10);
/// Pause while the API server does not answer at start.
const RETRY: Duration = Duration::from_millis(200);
/// Time that open streams get when the control plane ends.
const GRACE: Duration = Duration::from_millis(50);
/// Time that collectors get for the last spans.
const FLUSH: Duration = Duration::from_millis(400);
const KEEPALIVE: Duration = Duration::from_secs(30);
const MAX_STREAMS: u32 = 256;

/// A running control plane.
pub struct Running {
    discovery: SocketAddr,
    query: SocketAddr,
    metrics: SocketAddr,
    ready: watch::Receiver<Option<Arc<Generation>>>,
    cancel: CancellationToken,
    exporters: Exporters,
    tasks: JoinSet<()>,
}

struct Listeners {
    discovery: TcpListener,
    query: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    async fn bind(options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            discovery: bind(options.discovery_address, "--discovery-address").await?,
            query: bind(options.query_address, "--query-address").await?,
            metrics: bind(options.metrics_address, "--metrics-address").await?,
        })
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; end what uses it or choose another with {flag}")
    })
}

impl Running {
    /// Starts everything; returns when certificates are signed and queries answered. Whether configuration has been
    /// read is said by [`Running::ready`] and `/ready`.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listeners = Listeners::bind(&options).await?;
        let client = client(&options).await?;
        let Store {
            history,
            records,
            revisions,
        } = open_store(&options).await?;
        let authority = Arc::new(root(&client, &options).await?);
        let metrics = Arc::new(Metrics::new()?);
        let live = load(history.as_ref()).await;
        let (worlds_sender, worlds) = watch::channel(None);
        let (judged_sender, judged) = watch::channel(Judged::default());
        let proxies = Arc::new(Proxies::default());
        let authenticator = Authenticator::new(client.clone(), &options.trust_domain);
        let (discovery_at, query_at, metrics_at) = (
            listeners.discovery.local_addr()?,
            listeners.query.local_addr()?,
            listeners.metrics.local_addr()?,
        );
        let tls = ServerTls::new(Arc::clone(&authority), &[discovery_at.ip(), query_at.ip()])?;
        let expiry = crate::clock::system_ms(authority.not_after()) / 1000;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        metrics.root_expiry.set(expiry as f64);

        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let exporters = Exporters::start(&options, &metrics, &mut tasks)?;
        let (recording, witness, present) =
            Recording::new(client.clone(), Arc::clone(&revisions), Arc::clone(&metrics));
        watch_everything(
            &mut tasks,
            &client,
            &options,
            (worlds_sender, worlds.clone()),
            (&metrics, &witness),
        )?;
        tasks.spawn(recording.run());
        let recorder = Arc::new(Recorder::new(
            authenticator.clone(),
            Arc::clone(&proxies),
            Arc::clone(&records),
            Arc::clone(&metrics),
            exporters.clone(),
        ));
        let root_pem = authority.certificate_pem().to_owned();
        tasks.spawn(ca::publish_roots(client.clone(), root_pem, worlds.clone()));
        tasks.spawn(status::run(
            client,
            worlds.clone(),
            judged_sender,
            Arc::clone(&metrics),
        ));
        tasks.spawn(fold(Arc::clone(&history), Arc::clone(&metrics)));
        let scrape = Scrape {
            worlds: worlds.clone(),
            proxies: Arc::clone(&proxies),
            metrics: Arc::clone(&metrics),
            exporters: exporters.clone(),
        };

        let discovery = Discovery {
            authenticator: authenticator.clone(),
            worlds: worlds.clone(),
            proxies: Arc::clone(&proxies),
            metrics: Arc::clone(&metrics),
            makers: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(2, usize::from),
            )),
        };
        let signer = Signer {
            authority,
            authenticator: authenticator.clone(),
            metrics: Arc::clone(&metrics),
            rates: Rates::default(),
        };
        let gather = Gather {
            authenticator: authenticator.clone(),
            worlds: worlds.clone(),
            history: Arc::clone(&history),
            live: Arc::clone(&live),
            proxies: Arc::clone(&proxies),
            metrics: Arc::clone(&metrics),
        };
        let incoming = Incoming::start(listeners.discovery, Arc::clone(&tls.discovery))?;
        tasks.spawn(serve_discovery(
            incoming,
            discovery,
            signer,
            (gather, Taker(Arc::clone(&recorder))),
            cancel.clone(),
        ));
        let query = Query {
            authenticator,
            worlds: worlds.clone(),
            judged,
            proxies,
            history,
            records,
            revisions,
            recorder,
            present,
            store: store_name(&options),
            live,
            streams: Arc::new(Semaphore::new(query::MAX_STREAMS)),
        };
        let incoming = Incoming::start(listeners.query, Arc::clone(&tls.query))?;
        tasks.spawn(serve_http(incoming, query::router(query), cancel.clone()));
        tasks.spawn(serve_http(
            listeners.metrics,
            scrape::router(scrape),
            cancel.clone(),
        ));
        tasks.spawn(tls.renew());
        tracing::info!(discovery = %discovery_at, query = %query_at, metrics = %metrics_at, "control plane started");
        Ok(Self {
            discovery: discovery_at,
            query: query_at,
            metrics: metrics_at,
            ready: worlds,
            cancel,
            exporters,
            tasks,
        })
    }

    /// Address of discovery, certificates and telemetry.
    #[must_use]
    pub fn discovery_address(&self) -> SocketAddr {
        self.discovery
    }

    /// Address of the query API.
    #[must_use]
    pub fn query_address(&self) -> SocketAddr {
        self.query
    }

    /// Address of metrics and health.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Waits until the configuration has been read.
    pub async fn ready(&mut self) {
        // An error means that it is ending; there is nothing to wait for then.
        let _ = self.ready.wait_for(Option::is_some).await;
    }

    /// Ends everything.
    pub async fn shutdown(mut self) {
        self.cancel.cancel();
        // Open streams get a moment to end; watches never end by themselves.
        tokio::time::sleep(GRACE).await;
        self.exporters.flush(FLUSH).await;
        self.tasks.shutdown().await;
    }
}

async fn open_store(options: &Options) -> anyhow::Result<Store> {
    let options = StoreOptions {
        database: options.database.clone(),
        folder: options.data.clone(),
        limits: Limits {
            ten_seconds_kept: options.history_ten_seconds,
            minutes_kept: options.history_minutes,
            hours_kept: options.history_hours,
            requests_kept: options.history_requests,
            spans_kept: options.history_spans,
            revisions_kept: options.history_revisions,
            bytes: options.history_bytes,
        },
    };
    Ok(mesh_store::open(&options).await?)
}

/// Where the history is, for people: never with credentials.
fn store_name(options: &Options) -> String {
    match &options.database {
        Database::Sqlite => format!("sqlite {}", options.data.join("history.db").display()),
        Database::Postgres(url) => {
            let place = url.split_once("://").map_or("", |(_, place)| place);
            let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
            // Parameters may hold a password, too.
            format!("postgres {}", place.split('?').next().unwrap_or_default())
        }
    }
}

async fn client(options: &Options) -> anyhow::Result<kube::Client> {
    let config = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await
                .with_context(|| format!("kubeconfig {}", path.display()))?
        }
        None => kube::Config::infer()
            .await
            .context("no kubeconfig and not in a cluster; use --kubeconfig")?,
    };
    Ok(kube::Client::try_from(config)?)
}

/// Waits for the API server; a root that cannot be used ends the start.
async fn root(client: &kube::Client, options: &Options) -> anyhow::Result<mesh_tls::CertificateAuthority> {
    let mut told = false;
    loop {
        match ca::load_or_create(client, &options.namespace, &options.trust_domain).await {
            Ok(authority) => return Ok(authority),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                    return Err(error);
                }
                Some(_) => {
                    if !told {
                        tracing::warn!("the API server does not answer yet: {error:#}");
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                None => return Err(error),
            },
        }
    }
}

/// The live windows with what the history has of their time.
async fn load(history: &dyn History) -> Arc<Live> {
    let now = unix_ms() / 1000;
    let live = Live::new(now);
    let mut visit = |window: u64, key: &_, delta: &_| live.load(window, key, delta);
    let from = now.saturating_sub(KEPT + 10);
    if let Err(error) = history
        .read(from, now + 10, Resolution::TenSeconds, &mut visit)
        .await
    {
        // What is in it is asked for when it is needed, and there again.
        tracing::warn!(%error, "the last minutes cannot be read from the history");
        return Arc::new(Live::beginning(unix_ms() / 1000));
    }
    Arc::new(live)
}

/// The world, once it is known.
type Published = Option<Arc<Generation>>;

fn watch_everything(
    tasks: &mut JoinSet<()>,
    client: &kube::Client,
    options: &Options,
    (worlds, published): (watch::Sender<Published>, watch::Receiver<Published>),
    (metrics, witness): (&Arc<Metrics>, &Witness),
) -> anyhow::Result<()> {
    let kinds = watches::kinds();
    let mesh = MeshConfig {
        trust_domain: options.trust_domain.clone(),
        root_namespace: options.namespace.clone(),
        ..MeshConfig::default()
    };
    let (sender, changes) = mpsc::channel(CHANGES);
    tasks.spawn(index::run(
        Index::new(&kinds, mesh),
        changes,
        worlds,
        Arc::clone(metrics),
    ));
    let namespace = options.namespace.clone();
    tasks.spawn(watches::settings(client.clone(), namespace, sender.clone()));
    tasks.spawn(crate::secrets::run(client.clone(), sender.clone()));
    let settings = jwks::Settings {
        allowed: jwks::Allowed::parse(&options.jwks_allow)?,
        file: options.data.join("jwks.json"),
    };
    tasks.spawn(jwks::run(settings, published, sender.clone()));
    for watched in kinds {
        tasks.spawn(watches::run(
            client.clone(),
            watched,
            sender.clone(),
            witness.clone(),
        ));
    }
    Ok(())
}

async fn fold(history: Arc<dyn History>, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(FOLD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = history.fold(unix_ms() / 1000).await {
            tracing::debug!(%error, "fold");
        }
        metrics.recording.set(i64::from(history.failure().is_none()));
        if let Ok(usage) = history.usage().await {
            metrics
                .history_bytes
                .set(i64::try_from(usage.bytes).unwrap_or(i64::MAX));
        }
    }
}

async fn serve_discovery(
    incoming: Incoming,
    discovery: Discovery,
    signer: Signer,
    (gather, taker): (Gather, Taker),
    cancel: CancellationToken,
) {
    let telemetry = MetricsServiceServer::new(gather)
        .max_decoding_message_size(otlp::MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let spans = TraceServiceServer::new(taker.clone())
        .max_decoding_message_size(otlp::MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let requests = LogsServiceServer::new(taker.clone())
        .max_decoding_message_size(otlp::MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(Some(MAX_STREAMS))
        .add_service(AggregatedDiscoveryServiceServer::new(discovery))
        .add_service(IstioCertificateServiceServer::new(signer))
        .add_service(telemetry)
        .add_service(spans)
        .add_service(requests)
        .add_service(KeptTracesServer::new(taker))
        .serve_with_incoming_shutdown(incoming.into_stream(), cancel.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "discovery server ended");
    }
}

async fn serve_http<L>(listener: L, router: axum::Router, cancel: CancellationToken)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP server ended");
    }
}

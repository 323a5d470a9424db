//! Spans to collectors: a bounded queue for each, retries with pauses, everything counted.
//!
//! When a queue is full its oldest spans go, for the newest are worth most to whoever looks when the collector is back.

mod otlp;
mod zipkin;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use mesh_model::record::Span;
use rustls::RootCertStore;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::options::Options;

/// Spans that may wait for one collector.
const QUEUE: usize = 10_000;
/// Most spans of one message.
const BATCH: usize = 512;
/// Time for a message to fill.
const LINGER: Duration = Duration::from_millis(200);
/// Pauses after failures, doubled from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Time that a collector has for an answer.
const ANSWER: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
/// Longest reason that is shown, characters.
const MAX_REASON: usize = 300;

type Connector = HttpsConnector<HttpConnector>;

/// All collectors. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Exporters(Arc<Vec<Arc<Exporter>>>);

/// One collector's queue and counts.
#[derive(Debug)]
pub(crate) struct Exporter {
    kind: &'static str,
    endpoint: String,
    queue: Mutex<VecDeque<Arc<Span>>>,
    wake: Notify,
    in_flight: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    error: Mutex<Option<String>>,
    /// The control plane ends: what waits goes now or never.
    closing: CancellationToken,
    /// Nothing waits any more.
    closed: CancellationToken,
}

/// Why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    /// Whether the same message may arrive later.
    retry: bool,
    reason: String,
}

/// A way to a collector.
trait Deliver: Send {
    /// Sends spans; answers how many of them the collector refused, with its reason.
    fn deliver(
        &mut self,
        spans: &[Arc<Span>],
    ) -> impl Future<Output = Result<(u64, Option<String>), Failed>> + Send;
}

impl Exporters {
    /// Starts one task for each collector that the options name.
    pub(crate) fn start(
        options: &Options,
        metrics: &Arc<Metrics>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let mut list = Vec::new();
        let collectors = options.otlp_endpoint.iter().map(|e| ("otlp", e));
        for (kind, endpoint) in collectors.chain(options.zipkin_endpoint.iter().map(|e| ("zipkin", e))) {
            let uri = parse(kind, endpoint)?;
            let exporter = Arc::new(Exporter::new(kind, uri.to_string()));
            let connector = connector(options, &uri, kind == "otlp")?;
            let (own, metrics) = (Arc::clone(&exporter), Arc::clone(metrics));
            if kind == "otlp" {
                tasks.spawn(own.run(otlp::Otlp::new(&uri, connector)?, metrics));
            } else {
                tasks.spawn(own.run(zipkin::Zipkin::new(uri, connector), metrics));
            }
            list.push(exporter);
        }
        Ok(Self(Arc::new(list)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts spans into every queue; never waits.
    pub(crate) fn offer(&self, spans: &[Arc<Span>]) {
        for exporter in self.0.iter() {
            exporter.offer(spans);
        }
    }

    /// Delivers what waits, each collector for itself, at most until the deadline; what is left then is dropped.
    pub(crate) async fn flush(&self, deadline: Duration) {
        self.0.iter().for_each(|exporter| exporter.closing.cancel());
        let deadline = tokio::time::Instant::now() + deadline;
        for exporter in self.0.iter() {
            let _ = tokio::time::timeout_at(deadline, exporter.closed.cancelled()).await;
            exporter.give_up();
        }
    }

    pub(crate) fn status(&self) -> Vec<mesh_api::mesh::Exporter> {
        self.0.iter().map(|exporter| exporter.status()).collect()
    }
}

/// Reads an endpoint; a Zipkin without a path gets the usual one.
fn parse(kind: &str, endpoint: &str) -> anyhow::Result<Uri> {
    let flag = format!("--{kind}-endpoint {endpoint:?}");
    let uri: Uri = endpoint.parse().with_context(|| format!("{flag} is no URL"))?;
    let example = if kind == "otlp" {
        "http://127.0.0.1:4317"
    } else {
        "http://127.0.0.1:9411/api/v2/spans"
    };
    let Some(authority) = uri
        .authority()
        .filter(|_| matches!(uri.scheme_str(), Some("http" | "https")))
    else {
        anyhow::bail!("{flag} names no http(s) server; write for example {example}");
    };
    if authority.as_str().contains('@') {
        // Never repeated: it may hold a password.
        anyhow::bail!(
            "--{kind}-endpoint has credentials in its URL; put a proxy that adds them before the collector"
        );
    }
    match (kind, uri.path()) {
        (_, "/") | ("zipkin", _) => {}
        ("otlp", path) => anyhow::bail!("{flag}: gRPC has no path {path:?}; write for example {example}"),
        _ => {}
    }
    if kind == "zipkin" && uri.path() == "/" {
        let with_path = format!("{}api/v2/spans", uri);
        return with_path.parse().with_context(|| format!("{flag} is no URL"));
    }
    Ok(uri)
}

fn connector(options: &Options, uri: &Uri, http2: bool) -> anyhow::Result<Connector> {
    let mut roots = RootCertStore::empty();
    if uri.scheme_str() == Some("https") {
        for root in roots_of(options)? {
            // Bundles of systems hold certificates that are no roots any more.
            let _ = roots.add(root);
        }
        anyhow::ensure!(
            !roots.is_empty(),
            "no root certificate for {uri}; give one with --collector-ca FILE"
        );
    }
    let mut tls = mesh_tls::config::control_plane_client(Arc::new(roots), None)?;
    // The connector sets it.
    tls.alpn_protocols.clear();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    Ok(if http2 {
        builder.enable_http2().wrap_connector(http)
    } else {
        builder.enable_http1().wrap_connector(http)
    })
}

/// Where operating systems keep their roots.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

fn roots_of(options: &Options) -> anyhow::Result<Vec<rustls::pki_types::CertificateDer<'static>>> {
    match &options.collector_ca {
        Some(path) => {
            let pem = std::fs::read_to_string(path)
                .with_context(|| format!("--collector-ca {}", path.display()))?;
            Ok(mesh_tls::identity::certificates(
                &path.display().to_string(),
                &pem,
            )?)
        }
        None => system_roots().context("give roots with --collector-ca FILE"),
    }
}

/// Roots that the operating system trusts.
pub(crate) fn system_roots() -> anyhow::Result<Vec<rustls::pki_types::CertificateDer<'static>>> {
    let (name, pem) = BUNDLES
        .iter()
        .find_map(|path| Some(((*path).to_owned(), std::fs::read_to_string(path).ok()?)))
        .context("this system has no bundle of root certificates")?;
    Ok(mesh_tls::identity::certificates(&name, &pem)?)
}

impl Exporter {
    fn new(kind: &'static str, endpoint: String) -> Self {
        Self {
            kind,
            endpoint,
            queue: Mutex::default(),
            wake: Notify::new(),
            in_flight: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            error: Mutex::default(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Span>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, spans: &[Arc<Span>]) {
        if spans.is_empty() {
            return;
        }
        let mut queue = self.queue();
        queue.extend(spans.iter().cloned());
        let surplus = queue.len().saturating_sub(QUEUE);
        queue.drain(..surplus);
        drop(queue);
        self.dropped.fetch_add(count(surplus), Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn status(&self) -> mesh_api::mesh::Exporter {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        mesh_api::mesh::Exporter {
            kind: self.kind.to_owned(),
            endpoint: self.endpoint.clone(),
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            queued: count(self.queue().len()) + self.in_flight.load(Ordering::Relaxed),
            error: error.clone(),
        }
    }

    /// Delivers what is in the queue, batch by batch, until the end.
    async fn run(self: Arc<Self>, mut collector: impl Deliver, metrics: Arc<Metrics>) {
        loop {
            let closing = self.closing.is_cancelled();
            tokio::select! {
                () = self.wake.notified(), if !closing => {}
                () = self.closing.cancelled() => {}
            }
            let _ = tokio::time::timeout(LINGER, self.closing.cancelled()).await;
            loop {
                let batch: Vec<Arc<Span>> = {
                    let mut queue = self.queue();
                    let n = queue.len().min(BATCH);
                    queue.drain(..n).collect()
                };
                if batch.is_empty() {
                    break;
                }
                self.in_flight.store(count(batch.len()), Ordering::Relaxed);
                self.deliver(&mut collector, &batch).await;
                self.in_flight.store(0, Ordering::Relaxed);
                self.report(&metrics);
            }
            if closing {
                self.closed.cancel();
                return;
            }
        }
    }

    /// Delivers one batch, however long it takes; once the control plane ends, with one attempt.
    async fn deliver(&self, collector: &mut impl Deliver, batch: &[Arc<Span>]) {
        let spans = count(batch.len());
        let mut pause = PAUSES[0];
        loop {
            let last = self.closing.is_cancelled();
            match collector.deliver(batch).await {
                Ok((refused, reason)) => {
                    let refused = refused.min(spans);
                    self.sent.fetch_add(spans - refused, Ordering::Relaxed);
                    self.dropped.fetch_add(refused, Ordering::Relaxed);
                    self.tell(reason.filter(|_| refused > 0));
                    return;
                }
                Err(failed) if failed.retry && !last => {
                    self.tell(Some(failed.reason));
                    // Jitter, so that several control planes do not knock at once.
                    let pausing = pause.mul_f64(rand::random_range(0.75..1.0));
                    let _ = tokio::time::timeout(pausing, self.closing.cancelled()).await;
                    pause = (pause * 2).min(PAUSES[1]);
                }
                Err(failed) => {
                    self.dropped.fetch_add(spans, Ordering::Relaxed);
                    self.tell(Some(failed.reason));
                    return;
                }
            }
        }
    }

    /// Counts as dropped what did not get away before the end.
    fn give_up(&self) {
        let left = std::mem::take(&mut *self.queue()).len();
        let left = count(left) + self.in_flight.swap(0, Ordering::Relaxed);
        let dropped = self.dropped.fetch_add(left, Ordering::Relaxed) + left;
        if dropped > 0 {
            tracing::warn!(kind = self.kind, endpoint = %self.endpoint, left, dropped, "spans were not delivered");
        }
    }

    fn tell(&self, reason: Option<String>) {
        let reason = reason.map(|text| text.chars().take(MAX_REASON).collect::<String>());
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*error, &reason) {
            (None, Some(reason)) => {
                tracing::warn!(kind = self.kind, endpoint = %self.endpoint, %reason, "spans cannot be delivered");
            }
            (Some(_), None) => {
                tracing::info!(kind = self.kind, endpoint = %self.endpoint, "spans are delivered again");
            }
            _ => {}
        }
        *error = reason;
    }

    fn report(&self, metrics: &Metrics) {
        let labels = [self.kind, self.endpoint.as_str()];
        let set = |gauge: &prometheus::IntGaugeVec, value: u64| {
            gauge
                .with_label_values(&labels)
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let status = self.status();
        set(&metrics.exporter_queued, status.queued);
        for (counter, total) in [
            (&metrics.exporter_sent, status.sent),
            (&metrics.exporter_dropped, status.dropped),
        ] {
            let counter = counter.with_label_values(&labels);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

impl Exporters {
    /// Brings the metrics up to date.
    pub(crate) fn report(&self, metrics: &Metrics) {
        self.0.iter().for_each(|exporter| exporter.report(metrics));
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

//! Pushes counters to the control plane: every 250 ms, each batch until it is acknowledged, none twice.

pub mod link;
pub mod outbox;
pub mod records;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mesh_model::edge::{Batch, WindowDelta};
use mesh_telemetry::otlp::{self, metadata};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::connect::{Backoff, Service};
use crate::stats::Registry;
use outbox::Outbox;

/// Between two flushes.
pub const FLUSH: Duration = Duration::from_millis(250);
/// Longest wait for one acknowledgement.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the last acknowledgements of a run.
pub const LAST_WAIT: Duration = Duration::from_millis(500);

/// Where counted windows come from: the data plane's registry, or a list in tests.
pub trait Source: Send + Sync + 'static {
    /// Takes what was counted since the last call, and the number of requests counted under `other`.
    fn drain(&self) -> (Vec<WindowDelta>, u64);
}

impl Source for Registry {
    fn drain(&self) -> (Vec<WindowDelta>, u64) {
        (self.drain_deltas(), self.drain_overflowed())
    }
}

/// What metrics show of reporting.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    dropped: AtomicU64,
    acknowledged: AtomicU64,
    failures: AtomicU64,
}

impl Shown {
    /// Requests that were counted and given up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
    /// Batches acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }
    /// Attempts that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }
}

/// The reporter.
pub struct Reporter<S> {
    service: Service,
    source: S,
    outbox: Outbox,
    shown: Shown,
    client: Option<MetricsServiceClient<Channel>>,
    /// Serial of the certificate with which the connection was made.
    presented: Option<String>,
    warned: bool,
}

impl<S: Source> Reporter<S> {
    /// Makes one for this run: `epoch` is its start, Unix nanoseconds.
    pub fn new(service: Service, proxy: String, epoch: u64, source: S, shown: Shown) -> Self {
        Self {
            service,
            source,
            outbox: Outbox::new(proxy, epoch),
            shown,
            client: None,
            presented: None,
            warned: false,
        }
    }

    /// Goes on with the run of another process.
    pub fn resume(service: Service, proxy: String, parts: outbox::Parts, source: S, shown: Shown) -> Self {
        Self {
            outbox: Outbox::resume(proxy, parts),
            ..Self::new(service, String::new(), 0, source, shown)
        }
    }

    /// Runs until `stop`; then sends the rest and waits for its acknowledgement, [`LAST_WAIT`] at most.
    pub async fn run(self, stop: CancellationToken) {
        // Nobody hands this one over.
        self.run_or_hand(stop, CancellationToken::new()).await;
    }

    /// As [`Reporter::run`]; at `hand` it stops in the middle, and another process goes on with what is left.
    pub async fn run_or_hand(
        mut self,
        stop: CancellationToken,
        hand: CancellationToken,
    ) -> Option<outbox::Parts> {
        let mut backoff = Backoff::new(FLUSH, Duration::from_secs(2));
        let mut pause = FLUSH;
        // The first batch goes out even when nothing was counted: it tells the control plane that a new run has
        // begun, so that what a killed one took along is flagged at once and not at the next request.
        let mut announced = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
                () = hand.cancelled() => return Some(self.outbox.into_parts()),
            }
            self.collect();
            pause = FLUSH;
            if !std::mem::replace(&mut announced, true) {
                self.outbox.next_even_if_empty(unix_ms());
            }
            while let Some(batch) = self.outbox.next(unix_ms()).cloned() {
                tokio::select! {
                    sent = self.send(&batch, false) => {
                        if !sent {
                            pause = backoff.next(rand::random());
                            break;
                        }
                        backoff.reset();
                    }
                    // The same batch goes out again below, unchanged, or from the next process.
                    () = stop.cancelled() => break,
                    () = hand.cancelled() => break,
                }
            }
        }
        if tokio::time::timeout(LAST_WAIT, self.finish()).await.is_err() {
            tracing::warn!("the last counters were not acknowledged in time");
        }
        None
    }

    fn collect(&mut self) {
        let (windows, overflowed) = self.source.drain();
        self.outbox.add(windows, overflowed);
        self.shown
            .0
            .dropped
            .store(self.outbox.dropped(), Ordering::Relaxed);
    }

    async fn finish(&mut self) {
        self.collect();
        while let Some(batch) = self.outbox.next(unix_ms()).cloned() {
            if !self.send(&batch, false).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while let Some(batch) = self.outbox.next_even_if_empty(unix_ms()).cloned() {
            if self.send(&batch, true).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends one batch; whether it is dealt with.
    async fn send(&mut self, batch: &Batch, last: bool) -> bool {
        match self.export(batch, last).await {
            Ok(()) => {
                self.outbox.acknowledged(batch.sequence);
                self.shown.0.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.warned = false;
                true
            }
            Err(Failure::Never(reason)) => {
                tracing::error!(
                    sequence = batch.sequence,
                    reason,
                    "counters were refused and are lost"
                );
                self.outbox.refused(batch.sequence);
                self.shown
                    .0
                    .dropped
                    .store(self.outbox.dropped(), Ordering::Relaxed);
                true
            }
            Err(Failure::Again(reason)) => {
                self.client = None;
                self.shown.0.failures.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(reason, "counters wait for the control plane");
                }
                false
            }
        }
    }

    async fn export(&mut self, batch: &Batch, last: bool) -> Result<(), Failure> {
        let mut client = self.client().await?;
        let mut request = tonic::Request::new(otlp::encode(batch));
        request.set_timeout(CALL_TIMEOUT);
        let bearer = self.service.authorization().map_err(again)?;
        let headers = request.metadata_mut();
        if let Some(bearer) = bearer {
            headers.insert("authorization", bearer);
        }
        let proxy =
            MetadataValue::try_from(batch.proxy.as_str()).map_err(|e| Failure::Never(e.to_string()))?;
        headers.insert(metadata::PROXY, proxy);
        headers.insert(metadata::EPOCH, batch.epoch.into());
        headers.insert(metadata::SEQUENCE, batch.sequence.into());
        if last {
            headers.insert(metadata::FINAL, MetadataValue::from_static("true"));
        }
        let answer = tokio::time::timeout(CALL_TIMEOUT, client.export(request))
            .await
            .map_err(|_| Failure::Again("no acknowledgement in time".into()))?;
        match answer {
            Ok(answer) => match answer.into_inner().partial_success {
                Some(partial) if partial.rejected_data_points > 0 => Err(Failure::Never(format!(
                    "{} points rejected: {}",
                    partial.rejected_data_points, partial.error_message
                ))),
                _ => Ok(()),
            },
            Err(status) => {
                let reason = format!("{:?}: {}", status.code(), status.message());
                Err(match status.code() {
                    Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => Failure::Never(reason),
                    _ => Failure::Again(reason),
                })
            }
        }
    }

    /// The open connection, or a new one when the certificate has changed since.
    async fn client(&mut self) -> Result<MetricsServiceClient<Channel>, Failure> {
        let identity = self
            .service
            .identity
            .as_ref()
            .and_then(mesh_tls::IdentityWatch::current);
        let serial = identity.as_ref().map(|i| i.serial.clone());
        if let Some(client) = &self.client
            && serial == self.presented
        {
            return Ok(client.clone());
        }
        let channel = self
            .service
            .connect_as(identity.as_deref())
            .await
            .map_err(again)?;
        let client = MetricsServiceClient::new(channel).max_encoding_message_size(otlp::MAX_MESSAGE_BYTES);
        self.client = Some(client.clone());
        self.presented = serial;
        Ok(client)
    }
}

/// What a failed export means for its batch.
enum Failure {
    /// Send it again, unchanged.
    Again(String),
    /// No attempt can succeed.
    Never(String),
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err, which passes the error by value"
)]
fn again(error: crate::connect::ConnectError) -> Failure {
    Failure::Again(error.to_string())
}

fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

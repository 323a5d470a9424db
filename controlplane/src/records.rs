//! Kept requests and spans from proxies: who sends is checked, what comes is committed before it is acknowledged,
//! then shown, asked for at the other proxies, and forwarded to collectors.

mod kept;
mod recent;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_model::record::{KeptRequest, Span, SpanId, TraceId};
use mesh_store::records::Records;
use mesh_telemetry::otlp;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsService;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast};
use tonic::{Request, Response, Status};

use self::recent::Recent;
use crate::auth::Authenticator;
use crate::clock::unix_ns;
use crate::export::Exporters;
use crate::gather::may_report;
use crate::metrics::Metrics;
use crate::proxies::Proxies;

pub(crate) use kept::Announcer;

/// Bytes of messages that are being worked on at the same time, KiB.
const ROOM_KIB: u32 = 64 << 10;
/// For how long a message may wait for room.
const PATIENCE: Duration = Duration::from_secs(2);
/// Batches that a slow reader of the tail may lag behind.
const TAIL: usize = 256;
/// Spans and requests that are remembered, so that what comes twice is shown and forwarded once.
const REMEMBERED: usize = 50_000;
/// A record may end so far in the future: clocks are never quite equal.
const TOLERATED_NS: u64 = 1_000_000_000;

/// Requests that were kept together.
pub(crate) type Kept = Arc<Vec<KeptRequest>>;

type Name = (TraceId, SpanId);

/// Takes records of all proxies.
pub(crate) struct Recorder {
    authenticator: Authenticator,
    proxies: Arc<Proxies>,
    records: Arc<dyn Records>,
    metrics: Arc<Metrics>,
    exporters: Exporters,
    announcer: Announcer,
    tail: broadcast::Sender<Kept>,
    room: Semaphore,
    forwarded: Mutex<Recent<Name>>,
    shown: Mutex<Recent<Name>>,
    dropped: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(
        authenticator: Authenticator,
        proxies: Arc<Proxies>,
        records: Arc<dyn Records>,
        metrics: Arc<Metrics>,
        exporters: Exporters,
    ) -> Self {
        Self {
            authenticator,
            proxies,
            records,
            metrics,
            exporters,
            announcer: Announcer::default(),
            tail: broadcast::Sender::new(TAIL),
            room: Semaphore::new(ROOM_KIB as usize),
            forwarded: Mutex::new(Recent::new(REMEMBERED)),
            shown: Mutex::new(Recent::new(REMEMBERED)),
            dropped: AtomicU64::new(0),
        }
    }

    /// Requests as they are kept.
    pub(crate) fn tail(&self) -> broadcast::Receiver<Kept> {
        self.tail.subscribe()
    }

    /// Requests and spans that were given up.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn exporters(&self) -> &Exporters {
        &self.exporters
    }

    fn refused(&self, reason: &str) {
        self.metrics.records_refused.with_label_values(&[reason]).inc();
    }

    /// The proxy that a call speaks for.
    async fn proxy<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let identity = self
            .authenticator
            .workload(request)
            .await
            .inspect_err(|_| self.refused("unauthenticated"))?;
        let named = request
            .metadata()
            .get(otlp::metadata::PROXY)
            .and_then(|v| v.to_str().ok())
            .filter(|name| !name.is_empty());
        let Some(proxy) = named else {
            self.refused("metadata");
            return Err(Status::invalid_argument(format!(
                "metadata {} is missing",
                otlp::metadata::PROXY
            )));
        };
        if !may_report(&identity, proxy, self.proxies.identity(proxy).as_ref()) {
            self.refused("identity");
            return Err(Status::permission_denied(format!(
                "{identity} may not report as {proxy}"
            )));
        }
        Ok(proxy.to_owned())
    }

    /// Room for a message of this size; what gets none in time is sent again later.
    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Status> {
        let kib = u32::try_from(bytes.div_ceil(1024))
            .unwrap_or(ROOM_KIB)
            .clamp(1, ROOM_KIB);
        match tokio::time::timeout(PATIENCE, self.room.acquire_many(kib)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                self.refused("room");
                Err(Status::unavailable("too many records wait to be stored"))
            }
        }
    }

    fn drop_records(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.dropped.fetch_add(records, Ordering::Relaxed);
        self.metrics.records_dropped.inc_by(records);
    }

    async fn keep(&self, proxy: &str, requests: Vec<KeptRequest>, spans: Vec<Span>) -> Result<(), Status> {
        if requests.is_empty() && spans.is_empty() {
            return Ok(());
        }
        // Spans live ten seconds in the rings of proxies, so asking does not wait for the store.
        self.announcer
            .announce(proxy, requests.iter().map(|r| r.trace_id));
        self.forward(&spans);
        if let Err(error) = self.records.keep(&requests, &spans).await {
            self.refused("store");
            return Err(match error {
                // It would be refused again, so the proxy gives it up.
                mesh_store::Error::Damaged(_) => {
                    self.drop_records(requests.len() + spans.len());
                    Status::invalid_argument(error.to_string())
                }
                _ => Status::unavailable(error.to_string()),
            });
        }
        let count = |kind: &str, n: usize| {
            let counter = self.metrics.records.with_label_values(&[kind]);
            counter.inc_by(u64::try_from(n).unwrap_or_default());
        };
        count("request", requests.len());
        count("span", spans.len());
        self.show(requests);
        Ok(())
    }

    /// To collectors, each span once. Whatever comes is sampled, or belongs to a kept request.
    fn forward(&self, spans: &[Span]) {
        if self.exporters.is_empty() {
            return;
        }
        let new: Vec<Arc<Span>> = {
            let mut forwarded = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
            let new = spans.iter().filter(|s| forwarded.insert((s.trace_id, s.span_id)));
            new.map(|span| Arc::new(span.clone())).collect()
        };
        self.exporters.offer(&new);
    }

    fn show(&self, mut requests: Vec<KeptRequest>) {
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            requests.retain(|r| shown.insert((r.trace_id, r.span_id)));
        }
        if !requests.is_empty() {
            // Nobody may be listening.
            let _ = self.tail.send(Arc::new(requests));
        }
    }
}

/// A clock that is ahead would put records at the top of every list for as long: those that end in the future are
/// moved, all of a message by the same time, so that the last ends now. A clock that is behind cannot be told from a
/// late message; its records stay where they are. Answers the shift.
fn shift<'t>(
    ends_ns: impl Iterator<Item = u64>,
    starts: impl Iterator<Item = &'t mut u64>,
    now_ns: u64,
) -> u64 {
    let ahead = ends_ns.max().unwrap_or_default().saturating_sub(now_ns);
    if ahead <= TOLERATED_NS {
        return 0;
    }
    starts.for_each(|start| *start = start.saturating_sub(ahead));
    ahead
}

/// The services of proxies' records.
#[derive(Clone)]
pub(crate) struct Taker(pub(crate) Arc<Recorder>);

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let recorder = &self.0;
        let proxy = recorder.proxy(&request).await?;
        let request = request.into_inner();
        let mut spans = otlp::decode_spans(&request, &proxy)
            .inspect_err(|_| recorder.refused("invalid"))
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let _room = recorder.room(request.encoded_len()).await?;
        let ends: Vec<u64> = spans
            .iter()
            .map(|s| s.started_ns.saturating_add(s.duration_ns))
            .collect();
        let starts = spans.iter_mut().map(|s| &mut s.started_ns);
        if shift(ends.into_iter(), starts, unix_ns()) > 0 {
            recorder.metrics.records_shifted.inc();
        }
        recorder.keep(&proxy, Vec::new(), spans).await?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Taker {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let recorder = &self.0;
        let proxy = recorder.proxy(&request).await?;
        let request = request.into_inner();
        let mut requests = otlp::decode_requests(&request, &proxy)
            .inspect_err(|_| recorder.refused("invalid"))
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let _room = recorder.room(request.encoded_len()).await?;
        let ends: Vec<u64> = requests
            .iter()
            .map(|r| r.started_ns.saturating_add(r.duration_ns))
            .collect();
        let starts = requests.iter_mut().map(|r| &mut r.started_ns);
        if shift(ends.into_iter(), starts, unix_ns()) > 0 {
            recorder.metrics.records_shifted.inc();
        }
        recorder.keep(&proxy, requests, Vec::new()).await?;
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[cfg(test)]
pub(crate) mod tests;

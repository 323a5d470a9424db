//! Kept requests and spans on their way to the control plane.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mesh_model::record::{Span, SpanId, SpanKind, TraceId};
use mesh_model::workload::Workload;
use mesh_telemetry::otlp;
use mesh_xds::kept_traces::{KeptTraces, KeptTracesServer, pack};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use parking_lot::Mutex;
use sightline_proxy::record::{Record, Records};
use sightline_proxy::report::link::Link;
use sightline_proxy::report::records::Exporter;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{plain, soon};

#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    away: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    watches: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        assert_eq!(request.metadata().get(otlp::metadata::PROXY).unwrap(), "p");
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(Status::unavailable("away"));
        }
        let spans = otlp::decode_spans(request.get_ref(), "p").unwrap();
        self.spans.lock().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl KeptTraces for Collector {
    type WatchStream = ReceiverStream<Result<Vec<u8>, Status>>;

    async fn watch(&self, _: Request<()>) -> Result<Response<Self::WatchStream>, Status> {
        // The first watch breaks at once.
        let (sender, receiver) = mpsc::channel(4);
        if self.watches.fetch_add(1, Ordering::Relaxed) > 0 {
            sender.send(Ok(pack(&[TraceId([7; 16])]))).await.unwrap();
            tokio::spawn(async move { sender.closed().await });
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn collector() -> (Link, Collector) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fake = Collector::default();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(fake.clone()))
            .add_service(KeptTracesServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (Link::new(plain(port), "p".into()), fake)
}

fn record(n: u64) -> Record {
    Record::Span(Box::new(Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId((n + 1).to_be_bytes()),
        parent: None,
        kind: SpanKind::Server,
        name: "a".into(),
        proxy: "p".into(),
        workload: Workload::unknown(),
        started_ns: 1,
        duration_ns: 1,
        error: false,
        sampled: false,
        attributes: Vec::new(),
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_and_the_rest_at_the_end() {
    let (link, fake) = collector().await;
    let (sender, queue) = mpsc::channel(64);
    let records = Records::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(Exporter::new(link, records.clone(), queue).run(stop.clone()));
    sender.send(record(0)).await.unwrap();
    soon("the first span", async {
        while fake.spans.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for n in 1..20 {
        sender.send(record(n)).await.unwrap();
    }
    stop.cancel();
    soon("the end", running).await.unwrap();
    // A batch whose acknowledgement came too late is sent twice: ids tell.
    let ids: BTreeSet<SpanId> = fake.spans.lock().iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), 20);
    assert_eq!(records.shown().dropped_spans, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_control_plane_does_not_take_is_bounded_and_counted() {
    let (link, fake) = collector().await;
    fake.away.store(true, Ordering::Relaxed);
    let (sender, queue) = mpsc::channel(4096);
    let records = Records::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(Exporter::new(link, records.clone(), queue).run(stop.clone()));
    let total = 10_000;
    soon("all taken in", async {
        for n in 0..total {
            sender.send(record(n)).await.unwrap();
        }
    })
    .await;
    soon("the first losses", async {
        while records.shown().dropped_spans == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop.cancel();
    soon("the end, which does not wait long", running).await.unwrap();
    assert_eq!(records.shown().dropped_spans, total);
    assert!(fake.spans.lock().is_empty() && fake.calls.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_watch_is_begun_again() {
    let (link, fake) = collector().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(sightline_proxy::report::watch::run(
        link,
        Records::default(),
        stop.clone(),
    ));
    soon("the second watch", async {
        while fake.watches.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop.cancel();
    soon("the end", running).await.unwrap();
}

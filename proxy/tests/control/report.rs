//! Every count arrives exactly once, also when acknowledgements are lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mesh_model::edge::{Batch, Reporter as Side, RequestProtocol, SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};
use mesh_telemetry::otlp;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use parking_lot::Mutex;
use sightline_proxy::report::{Reporter, Shown, Source};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{plain, soon};

#[derive(Default)]
struct Committed {
    batches: HashMap<(u64, u64), ExportMetricsServiceRequest>,
    calls: u32,
    last: Option<u64>,
}

#[derive(Clone)]
struct Fake {
    committed: Arc<Mutex<Committed>>,
    /// Every n-th acknowledgement gets through.
    every: u32,
}

#[tonic::async_trait]
impl MetricsService for Fake {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let number = |key: &str| -> u64 {
            request
                .metadata()
                .get(key)
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        let key = (number(otlp::metadata::EPOCH), number(otlp::metadata::SEQUENCE));
        assert_eq!(request.metadata().get(otlp::metadata::PROXY).unwrap(), "p");
        let last = request.metadata().contains_key(otlp::metadata::FINAL);
        let mut committed = self.committed.lock();
        committed.calls += 1;
        let calls = committed.calls;
        let request = request.into_inner();
        // Committed, then the acknowledgement is lost.
        if let Some(before) = committed.batches.get(&key) {
            assert_eq!(before, &request, "sent again unchanged");
        }
        committed.batches.insert(key, request);
        if last {
            committed.last = Some(key.1);
        }
        if calls.is_multiple_of(self.every) {
            Ok(Response::new(ExportMetricsServiceResponse::default()))
        } else {
            Err(Status::unavailable("the acknowledgement is lost"))
        }
    }
}

/// Gives one request a call until `left` is used up.
struct Counted {
    left: Arc<AtomicU32>,
    given: Arc<AtomicU32>,
}

impl Source for Counted {
    fn drain(&self) -> (Vec<WindowDelta>, u64) {
        let more = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if more.is_err() {
            return (Vec::new(), 0);
        }
        self.given.fetch_add(1, Ordering::Relaxed);
        let key = SeriesKey {
            reporter: Side::Source,
            source: Workload::unknown(),
            source_principal: "unknown".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code: 200,
            grpc_status: None,
            flags: ResponseFlags::NONE,
            mutual_tls: false,
            origin: RouteOrigin::default(),
        };
        let mut delta = SeriesDelta {
            requests: 1,
            attempts: 1,
            ..SeriesDelta::default()
        };
        delta.duration.record(3.0);
        let window = WindowDelta {
            window: 1_700_000_000,
            series: vec![(key, delta)],
        };
        (vec![window], 0)
    }
}

fn requests(committed: &Committed) -> u64 {
    committed
        .batches
        .iter()
        .map(|((epoch, sequence), request)| otlp::decode(request, "p", *epoch, *sequence).unwrap())
        .map(|batch: Batch| {
            batch
                .windows
                .iter()
                .flat_map(|w| &w.series)
                .map(|(_, d)| d.requests)
                .sum::<u64>()
        })
        .sum()
}

async fn sink(every: u32) -> (u16, Fake) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fake = Fake {
        committed: Arc::default(),
        every,
    };
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (port, fake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_counted_twice_when_acknowledgements_are_lost() {
    let (port, fake) = sink(3).await;
    let given = Arc::new(AtomicU32::new(0));
    let source = Counted {
        left: Arc::new(AtomicU32::new(6)),
        given: Arc::clone(&given),
    };
    let shown = Shown::default();
    let stop = CancellationToken::new();
    let reporter = Reporter::new(plain(port), "p".into(), 7, source, shown.clone());
    let running = tokio::spawn(reporter.run(stop.clone()));
    soon("six requests at the sink", async {
        while requests(&fake.committed.lock()) < 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop.cancel();
    soon("the end", running).await.unwrap();
    let committed = fake.committed.lock();
    assert_eq!(requests(&committed), 6);
    assert!(shown.failures() > 0, "acknowledgements were lost");
    assert_eq!(shown.dropped(), 0);
    let highest = committed.batches.keys().map(|(_, sequence)| *sequence).max();
    assert_eq!(
        committed.batches.len() as u64,
        highest.unwrap(),
        "no number is left out"
    );
    assert!(committed.batches.keys().all(|(epoch, _)| *epoch == 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_sends_what_is_left_and_says_that_it_was_the_last() {
    let (port, fake) = sink(1).await;
    let source = Counted {
        left: Arc::new(AtomicU32::new(1)),
        given: Arc::default(),
    };
    let stop = CancellationToken::new();
    stop.cancel();
    let reporter = Reporter::new(plain(port), "p".into(), 8, source, Shown::default());
    soon("the end", reporter.run(stop)).await;
    let committed = fake.committed.lock();
    assert_eq!(requests(&committed), 1);
    assert_eq!(committed.last, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_control_plane_the_end_does_not_wait_long() {
    let source = Counted {
        left: Arc::new(AtomicU32::new(1)),
        given: Arc::default(),
    };
    let stop = CancellationToken::new();
    stop.cancel();
    let reporter = Reporter::new(plain(1), "p".into(), 9, source, Shown::default());
    let began = std::time::Instant::now();
    soon("the end", reporter.run(stop)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_announces_itself_before_anything_is_counted() {
    let (port, fake) = sink(1).await;
    let source = Counted {
        left: Arc::new(AtomicU32::new(0)),
        given: Arc::default(),
    };
    let stop = CancellationToken::new();
    let reporter = Reporter::new(plain(port), "p".into(), 7, source, Shown::default());
    let running = tokio::spawn(reporter.run(stop.clone()));
    soon("the first batch", async {
        while fake.committed.lock().batches.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(fake.committed.lock().last, None, "the first is not the last");
    stop.cancel();
    soon("the end", running).await.unwrap();
    let committed = fake.committed.lock();
    assert_eq!((requests(&committed), committed.last), (0, Some(2)));
}

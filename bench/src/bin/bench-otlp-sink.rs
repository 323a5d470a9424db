//! bench-otlp-sink ADDR: takes the proxies' OTLP metrics and counts the requests in them, dropping repeated
//! batches as the control plane does. `GET` on the same address plus one port (plain HTTP) answers the count.
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mesh_model::edge::RequestProtocol;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::{Request, Response, Status};

#[derive(Default)]
struct Sink {
    seen: Mutex<HashSet<(String, u64, u64)>>,
    requests: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let text = |key: &str| {
            request
                .metadata()
                .get(key)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let proxy = text("sightline-proxy");
        let number = |key: &str| text(key).parse::<u64>().unwrap_or_default();
        let (epoch, sequence) = (number("sightline-epoch"), number("sightline-sequence"));
        let batch = mesh_telemetry::otlp::decode(request.get_ref(), &proxy, epoch, sequence)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let fresh = self
            .seen
            .lock()
            .map_err(|_| Status::internal("poisoned"))?
            .insert((proxy, epoch, sequence));
        if fresh {
            let n: u64 = batch
                .windows
                .iter()
                .flat_map(|w| &w.series)
                // A TCP connection is counted like a request, but the generator knows messages only.
                .filter(|(key, _)| key.protocol != RequestProtocol::Tcp)
                .map(|(_, d)| d.requests)
                .sum();
            self.requests.fetch_add(n, Ordering::Relaxed);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Takes spans and kept requests, so that sending them is part of what is measured.
struct Taker;

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Taker {
    async fn export(
        &self,
        _: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let addr: std::net::SocketAddr = std::env::args().nth(1).expect("ADDR").parse().expect("ADDR");
    let sink = Sink::default();
    let requests = sink.requests.clone();
    let mut count_addr = addr;
    count_addr.set_port(addr.port() + 1);
    let counts = std::net::TcpListener::bind(count_addr).expect("bind");
    std::thread::spawn(move || {
        for stream in counts.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0u8; 1024]);
            let body = requests.load(Ordering::Relaxed).to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    tonic::transport::Server::builder()
        .add_service(MetricsServiceServer::new(sink))
        .add_service(TraceServiceServer::new(Taker))
        .add_service(LogsServiceServer::new(Taker))
        .serve(addr)
        .await
        .expect("serve");
}

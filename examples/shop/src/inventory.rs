//! The inventory: how many copies are left, over gRPC.
//!
//! One unary call, `shop.v1.Inventory/Stock`. A fixed share of the calls is slow, and a fixed share fails, so that
//! there is something to find.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use http::{HeaderMap, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::{Channel, Endpoint};

use crate::calls;
use crate::counters::Counters;

const NAME: &str = "shop.v1.Inventory";
const METHOD: &str = "/shop.v1.Inventory/Stock";

/// Every so many calls are slow, and how slow.
const SLOW_EVERY: u64 = 40;
const SLOW: Duration = Duration::from_millis(120);

/// Every so many calls fail.
const FAILS_EVERY: u64 = 25;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Which book.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StockRequest {
    #[prost(uint32, tag = "1")]
    pub(crate) book: u32,
}

/// How many are left.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StockReply {
    #[prost(uint32, tag = "1")]
    pub(crate) copies: u32,
}

/// The service.
#[derive(Clone)]
struct Inventory {
    counters: Arc<Counters>,
    calls: Arc<AtomicU64>,
}

impl Inventory {
    async fn stock(self, _request: StockRequest) -> Result<tonic::Response<StockReply>, tonic::Status> {
        self.counters.received();
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call.is_multiple_of(SLOW_EVERY) {
            tokio::time::sleep(SLOW).await;
        }
        if call.is_multiple_of(FAILS_EVERY) {
            return Err(tonic::Status::internal("the shelf was not found"));
        }
        Ok(tonic::Response::new(StockReply { copies: 12 }))
    }
}

impl tonic::server::NamedService for Inventory {
    const NAME: &'static str = NAME;
}

impl tonic::server::UnaryService<StockRequest> for Inventory {
    type Response = StockReply;
    type Future = BoxFuture<tonic::Response<StockReply>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<StockRequest>) -> Self::Future {
        Box::pin(self.clone().stock(request.into_inner()))
    }
}

impl Service<Request<tonic::body::Body>> for Inventory {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let inventory = self.clone();
        Box::pin(async move {
            if request.uri().path() != METHOD {
                let status = tonic::Status::unimplemented(format!("only {METHOD} is known"));
                return Ok(status.into_http());
            }
            let codec = tonic_prost::ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec).unary(inventory, request).await)
        })
    }
}

/// Serves until the stop signal.
pub(crate) async fn serve(
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    counters: Arc<Counters>,
) -> Result<()> {
    let inventory = Inventory {
        counters,
        calls: Arc::default(),
    };
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tonic::transport::Server::builder()
        .add_service(inventory)
        .serve_with_incoming_shutdown(connections, async move {
            // An error means that nobody can stop it any more.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
        .context("cannot serve gRPC")
}

/// Asks the inventory, through the sidecar where there is one.
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    /// `authority` is `inventory:9091`, `proxy` `http://ADDRESS:PORT`. Connects at the first call.
    pub(crate) fn new(authority: &str, proxy: Option<&str>) -> Result<Self> {
        let origin: Uri = format!("http://{authority}")
            .parse()
            .with_context(|| format!("{authority:?} is not HOST:PORT"))?;
        let target = proxy
            .filter(|proxy| !proxy.is_empty())
            .map_or_else(|| origin.to_string(), str::to_owned);
        let channel = Endpoint::from_shared(target)
            .context("http_proxy is not a URI")?
            .origin(origin)
            .timeout(DEADLINE)
            .connect_lazy();
        Ok(Self { channel })
    }

    /// Copies that are left, with the trace headers of `incoming`.
    pub(crate) async fn copies(&self, incoming: &HeaderMap) -> Result<u32> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready()
            .await
            .map_err(|error: tonic::transport::Error| anyhow::Error::new(error))
            .context("no connection to the inventory")?;
        let mut headers = HeaderMap::new();
        calls::copy_trace(incoming, &mut headers);
        let request = tonic::Request::from_parts(
            tonic::metadata::MetadataMap::from_headers(headers),
            tonic::Extensions::default(),
            StockRequest { book: 0 },
        );
        let codec = tonic_prost::ProstCodec::<StockRequest, StockReply>::default();
        let path = http::uri::PathAndQuery::from_static(METHOD);
        let reply = grpc
            .unary(request, path, codec)
            .await
            .context("call to the inventory")?;
        Ok(reply.into_inner().copies)
    }
}

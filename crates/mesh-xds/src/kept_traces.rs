//! Which traces are kept: `sightline.telemetry.v1.KeptTraces/Watch`.
//!
//! The control plane tells every connected proxy the ids of kept traces; a proxy answers by exporting the spans of
//! these that it still holds. A request is `google.protobuf.Empty`, an answer `google.protobuf.BytesValue`: ids of
//! 16 bytes one after the other ([`pack`], [`unpack`]); an empty answer says that nothing was kept.

use mesh_model::record::TraceId;
use tonic::codegen::tokio_stream::Stream;

use crate::Invalid;

/// Name of the gRPC service.
pub const SERVICE_NAME: &str = "sightline.telemetry.v1.KeptTraces";
const METHOD: &str = "/sightline.telemetry.v1.KeptTraces/Watch";

/// Most ids of one answer.
pub const MAX_IDS: usize = 4096;

/// The bytes of an answer; ids beyond [`MAX_IDS`] belong into a further one.
#[must_use]
pub fn pack(ids: &[TraceId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

/// The ids of an answer.
pub fn unpack(bytes: &[u8]) -> Result<Vec<TraceId>, Invalid> {
    let (ids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Invalid::new("ids", "must be 16 bytes each"));
    }
    if ids.len() > MAX_IDS {
        return Err(Invalid::new("ids", format!("more than {MAX_IDS}")));
    }
    ids.iter()
        .map(|id| match id {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => {
                Err(Invalid::new("ids", "must not be all zero"))
            }
            id => Ok(TraceId(*id)),
        })
        .collect()
}

/// Tells proxies which traces are kept: implemented by the control plane.
#[tonic::async_trait]
pub trait KeptTraces: Send + Sync + 'static {
    /// Answers, each the packed ids of traces that were kept since the last.
    type WatchStream: Stream<Item = Result<Vec<u8>, tonic::Status>> + Send + 'static;

    /// Follows kept traces for the authenticated caller.
    async fn watch(
        &self,
        request: tonic::Request<()>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status>;
}

/// Serves [`KeptTraces`] in a tonic router.
#[derive(Debug)]
pub struct KeptTracesServer<T> {
    inner: std::sync::Arc<T>,
}

impl<T> Clone for KeptTracesServer<T> {
    fn clone(&self) -> Self {
        Self {
            inner: std::sync::Arc::clone(&self.inner),
        }
    }
}

impl<T> KeptTracesServer<T> {
    /// Wraps the implementation.
    pub fn new(inner: T) -> Self {
        Self {
            inner: std::sync::Arc::new(inner),
        }
    }
}

impl<T> tonic::server::NamedService for KeptTracesServer<T> {
    const NAME: &'static str = SERVICE_NAME;
}

struct Watch<T>(std::sync::Arc<T>);

impl<T: KeptTraces> tonic::server::ServerStreamingService<()> for Watch<T> {
    type Response = Vec<u8>;
    type ResponseStream = T::WatchStream;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Self::ResponseStream>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
        let service = std::sync::Arc::clone(&self.0);
        Box::pin(async move { service.watch(request).await })
    }
}

impl<T, B> tonic::codegen::Service<tonic::codegen::http::Request<B>> for KeptTracesServer<T>
where
    T: KeptTraces,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = tonic::codegen::http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::codegen::http::Request<B>) -> Self::Future {
        let inner = std::sync::Arc::clone(&self.inner);
        Box::pin(async move {
            if request.uri().path() != METHOD {
                let status = tonic::Status::unimplemented(format!(
                    "{SERVICE_NAME} has Watch only, not {}",
                    request.uri().path()
                ));
                return Ok(status.into_http());
            }
            let codec = tonic_prost::ProstCodec::<Vec<u8>, ()>::default();
            Ok(tonic::server::Grpc::new(codec)
                .server_streaming(Watch(inner), request)
                .await)
        })
    }
}

/// Follows kept traces: used by the proxy.
#[derive(Debug, Clone)]
pub struct KeptTracesClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> KeptTracesClient<T>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<tonic::codegen::StdError>,
    T::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    /// Over an existing channel.
    pub fn new(channel: T) -> Self {
        Self {
            inner: tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_IDS * 16 + 64),
        }
    }

    /// Calls `Watch`; authentication travels in the request's metadata or the TLS certificate.
    pub async fn watch(
        &mut self,
        request: tonic::Request<()>,
    ) -> Result<tonic::Response<tonic::Streaming<Vec<u8>>>, tonic::Status> {
        self.inner
            .ready()
            .await
            .map_err(|e| tonic::Status::unavailable(format!("kept traces: {}", e.into())))?;
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(METHOD);
        self.inner
            .server_streaming(request, path, tonic_prost::ProstCodec::<(), Vec<u8>>::default())
            .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ids_are_read_as_they_were_packed() {
        let ids = [TraceId([1; 16]), TraceId([7; 16])];
        assert_eq!(unpack(&pack(&ids)).unwrap(), ids);
        assert_eq!(unpack(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_no_list_of_ids_is_refused() {
        for (bytes, reason) in [
            (vec![1; 17], "16 bytes each"),
            (vec![0; 16], "all zero"),
            (vec![1; 16 * (MAX_IDS + 1)], "more than"),
        ] {
            let refused = unpack(&bytes).unwrap_err();
            assert!(refused.reason.contains(reason), "{refused}");
        }
    }
}

//! Istio's certificate protocol: `istio.v1.auth.IstioCertificateService/CreateCertificate`.

use envoy_types::pb::google::protobuf::Struct;

/// What a workload sends: a CSR, and for how long it wants the certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// PEM-encoded certificate signing request.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Facts about the caller; not trusted.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// Wanted lifetime in seconds; 0 leaves it to the CA.
    #[prost(int64, tag = "4")]
    pub validity_duration: i64,
}

/// The signed chain: leaf first, then intermediates, root last; one PEM certificate an entry.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM certificates.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// Name of the gRPC service.
pub const SERVICE_NAME: &str = "istio.v1.auth.IstioCertificateService";
const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// Signs workload certificates: implemented by the control plane.
#[tonic::async_trait]
pub trait IstioCertificateService: Send + Sync + 'static {
    /// Signs a CSR for the authenticated caller.
    async fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status>;
}

/// Serves an [`IstioCertificateService`] in a tonic router.
#[derive(Debug)]
pub struct IstioCertificateServiceServer<T> {
    inner: std::sync::Arc<T>,
}

impl<T> Clone for IstioCertificateServiceServer<T> {
    fn clone(&self) -> Self {
        Self {
            inner: std::sync::Arc::clone(&self.inner),
        }
    }
}

impl<T> IstioCertificateServiceServer<T> {
    /// Wraps the implementation.
    pub fn new(inner: T) -> Self {
        Self {
            inner: std::sync::Arc::new(inner),
        }
    }
}

impl<T> tonic::server::NamedService for IstioCertificateServiceServer<T> {
    const NAME: &'static str = SERVICE_NAME;
}

struct Create<T>(std::sync::Arc<T>);

impl<T: IstioCertificateService> tonic::server::UnaryService<IstioCertificateRequest> for Create<T> {
    type Response = IstioCertificateResponse;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Self::Response>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let service = std::sync::Arc::clone(&self.0);
        Box::pin(async move { service.create_certificate(request).await })
    }
}

impl<T, B> tonic::codegen::Service<tonic::codegen::http::Request<B>> for IstioCertificateServiceServer<T>
where
    T: IstioCertificateService,
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
                    "{SERVICE_NAME} has CreateCertificate only, not {}",
                    request.uri().path()
                ));
                return Ok(status.into_http());
            }
            let codec = tonic_prost::ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec)
                .unary(Create(inner), request)
                .await)
        })
    }
}

/// Asks a CA for a certificate: used by the proxy.
#[derive(Debug, Clone)]
pub struct IstioCertificateServiceClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> IstioCertificateServiceClient<T>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<tonic::codegen::StdError>,
    T::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    /// Over an existing channel.
    pub fn new(channel: T) -> Self {
        Self {
            inner: tonic::client::Grpc::new(channel),
        }
    }

    /// Calls `CreateCertificate`; authentication travels in the request's metadata or the TLS certificate.
    pub async fn create_certificate(
        &mut self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status> {
        self.inner
            .ready()
            .await
            .map_err(|e| tonic::Status::unavailable(format!("certificate service: {}", e.into())))?;
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(METHOD);
        self.inner
            .unary(request, path, tonic_prost::ProstCodec::default())
            .await
    }
}

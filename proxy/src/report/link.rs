//! One connection to the control plane's telemetry port, shared by everything that is reported.

use std::sync::Arc;

use tokio::sync::Mutex;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::connect::{ConnectError, Service};

/// The connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Service,
    proxy: String,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    channel: Channel,
    /// Serial of the certificate with which the connection was made.
    presented: Option<String>,
}

impl Link {
    /// Not connected yet; `proxy` is the node id.
    #[must_use]
    pub fn new(service: Service, proxy: String) -> Self {
        Self(Arc::new(Shared {
            service,
            proxy,
            open: Mutex::new(None),
        }))
    }

    /// The open connection, or a new one when there is none or the certificate has changed since.
    pub async fn channel(&self) -> Result<Channel, ConnectError> {
        let shared = &*self.0;
        let identity = shared
            .service
            .identity
            .as_ref()
            .and_then(mesh_tls::IdentityWatch::current);
        let serial = identity.as_ref().map(|i| i.serial.clone());
        let mut open = shared.open.lock().await;
        if let Some(known) = open.as_ref().filter(|known| known.presented == serial) {
            return Ok(known.channel.clone());
        }
        let channel = shared.service.connect_as(identity.as_deref()).await?;
        *open = Some(Open {
            channel: channel.clone(),
            presented: serial,
        });
        Ok(channel)
    }

    /// The next call dials anew.
    pub async fn forget(&self) {
        *self.0.open.lock().await = None;
    }

    /// A request that says who sends it.
    pub fn request<T>(&self, message: T) -> Result<tonic::Request<T>, ConnectError> {
        let mut request = tonic::Request::new(message);
        let headers = request.metadata_mut();
        if let Some(bearer) = self.0.service.authorization()? {
            headers.insert("authorization", bearer);
        }
        let proxy = MetadataValue::try_from(self.0.proxy.as_str())
            .map_err(|e| ConnectError::Material(format!("node id: {e}")))?;
        headers.insert(mesh_telemetry::otlp::metadata::PROXY, proxy);
        Ok(request)
    }
}

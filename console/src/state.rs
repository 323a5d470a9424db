//! What every request shares.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::answer::Failure;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::controlplane::ControlPlane;
use crate::gate::Hosts;
use crate::layout::Memory;
use crate::session::Sessions;

/// Open streams, one a page; more pages than this poll.
const STREAMS: usize = 1024;

/// The console.
pub struct Console {
    /// Command line.
    pub config: Config,
    /// Names the console answers to.
    pub hosts: Hosts,
    /// Kubernetes API.
    pub cluster: Cluster,
    /// Query port.
    pub controlplane: ControlPlane,
    /// Signed-in users.
    pub sessions: Sessions,
    /// Tokens reviewed a moment ago.
    pub reviews: Reviews,
    /// Where nodes stood.
    pub layouts: Memory,
    /// Room for streams.
    pub streams: Arc<Semaphore>,
}

impl Console {
    /// Puts the parts together; `listen` is the bound address.
    pub fn new(config: Config, listen: std::net::SocketAddr, cluster: Cluster) -> Self {
        let controlplane = ControlPlane::new(
            config.controlplane.clone(),
            config.controlplane_ca.clone(),
            config.token_path.clone(),
        );
        Self {
            hosts: Hosts::new(listen, &config.allowed_hosts),
            cluster,
            controlplane,
            sessions: Sessions::default(),
            reviews: Reviews::default(),
            layouts: Memory::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            config,
        }
    }
}

/// Token reviews of the last minute, by hash: a script that polls with its token costs one review a minute.
#[derive(Default)]
pub struct Reviews {
    // Held for a look-up only.
    known: Mutex<HashMap<[u8; 32], (Instant, String)>>,
}

impl Reviews {
    const FRESH: Duration = Duration::from_secs(60);
    const LIMIT: usize = 1024;

    /// The name behind a valid token. Refusals are not remembered.
    pub async fn name(
        &self,
        cluster: &Cluster,
        token: &str,
        now: Instant,
    ) -> Result<Option<String>, Failure> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((at, name)) = self.known.lock().get(&key)
            && now.duration_since(*at) < Self::FRESH
        {
            return Ok(Some(name.clone()));
        }
        let name = cluster.review(token).await?;
        if let Some(name) = &name {
            let mut known = self.known.lock();
            if known.len() >= Self::LIMIT {
                known.retain(|_, (at, _)| now.duration_since(*at) < Self::FRESH);
            }
            if known.len() < Self::LIMIT {
                known.insert(key, (now, name.clone()));
            }
        }
        Ok(name)
    }
}

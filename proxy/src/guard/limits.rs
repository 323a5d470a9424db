//! Numbers that circuit breakers look at, true for as long as what they count lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::compile::{ClusterEntry, EndpointEntry};

/// A request in flight, as limits and balancing see it.
pub(super) struct Active {
    limited: Option<Arc<ClusterEntry>>,
    endpoint: Arc<EndpointEntry>,
}

impl Active {
    pub(super) fn new(cluster: &Arc<ClusterEntry>, endpoint: &Arc<EndpointEntry>) -> Option<Self> {
        let most = cluster.config.limits.max_requests;
        let limited = if most == u32::MAX {
            None
        } else {
            if cluster.shared.requests.fetch_add(1, Ordering::Relaxed) >= most {
                cluster.shared.requests.fetch_sub(1, Ordering::Relaxed);
                return None;
            }
            Some(Arc::clone(cluster))
        };
        endpoint.counters.active.fetch_add(1, Ordering::Relaxed);
        endpoint.counters.requests.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            limited,
            endpoint: Arc::clone(endpoint),
        })
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.counters.active.fetch_sub(1, Ordering::Relaxed);
        if let Some(cluster) = &self.limited {
            cluster.shared.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A retry in flight.
pub(super) struct Retrying<'a>(Option<&'a ClusterEntry>);

impl<'a> Retrying<'a> {
    pub(super) fn new(cluster: &'a ClusterEntry) -> Self {
        if cluster.config.limits.max_retries == u32::MAX {
            return Self(None);
        }
        cluster.shared.retries.fetch_add(1, Ordering::Relaxed);
        Self(Some(cluster))
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = self.0 {
            cluster.shared.retries.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

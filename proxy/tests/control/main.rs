//! The control side of the proxy against fake services on loopback: discovery and reporting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod discovery;
mod hot_restart;
mod overload;
mod records;
mod report;

use std::time::Duration;

use sightline_proxy::connect::{Security, Service};

/// Longest wait for anything that must happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn plain(port: u16) -> Service {
    Service {
        addresses: vec![("127.0.0.1".into(), port)],
        name: "localhost".into(),
        security: Security::Plain,
        identity: None,
        token_path: None,
    }
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {SOON:?}"))
}

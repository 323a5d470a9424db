//! The embedded API server: the Kubernetes REST protocol over SQLite.
//!
//! It serves the kinds that a mesh uses to `kube`, `kubectl` and the control plane as a real API server would:
//! the same paths, answers and refusals. It has no controllers; only what a client can see in the answer to
//! its own request happens here (defaults, cluster addresses, the emptying of a deleted namespace).
//!
//! A request's way: [`server`] accepts and limits, [`handle`] authenticates, authorises and dispatches,
//! [`read`], [`watch`], [`write`], [`delete`] and [`review`] answer from the [`store`]; [`kind`] holds what the core kinds
//! do on their own, [`admission`] what Istio's webhook would refuse.

mod admission;
mod apply;
mod audit;
mod authenticate;
mod authorize;
mod bootstrap;
mod decode;
mod delete;
mod dependents;
mod discovery;
mod fields;
mod folder;
mod handle;
mod kind;
mod managed;
mod names;
mod object;
mod openapi;
mod patch;
mod pki;
#[cfg(test)]
mod properties;
mod protobuf;
mod read;
mod registry;
mod reply;
mod request;
mod review;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod token;
mod types;
mod watch;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use server::Server;
pub use store::StoreError;

/// What the server needs to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder for the database, keys, kubeconfig and token; made when absent.
    pub data_dir: PathBuf,
    /// Refuse Istio objects that a mesh's webhook would refuse (default: yes).
    pub admission: bool,
    /// Further names (without port) that a client's Host header may carry.
    pub hosts: Vec<String>,
    /// How long superseded revisions stay readable for watches and paged lists.
    pub history: Duration,
    /// How many revisions stay readable at most.
    pub history_revisions: i64,
    /// How many connections are served at once; more wait.
    pub connections: usize,
}

impl Config {
    /// A configuration with the defaults.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            data_dir: data_dir.into(),
            admission: true,
            hosts: Vec::new(),
            history: Duration::from_secs(600),
            history_revisions: 50_000,
            connections: 512,
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server has the folder open.
    #[error("the data folder {} is in use by another API server: stop it, or choose another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version wrote the folder.
    #[error("the data folder {} has format {found}, this version knows up to {known}: use a newer version, or another folder", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The newest format known.
        known: u32,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A key or certificate in the data folder is damaged.
    #[error("{0}")]
    Authority(String),
    /// Certificates cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every request shares.
pub(crate) struct App {
    pub(crate) store: store::Store,
    pub(crate) signer: token::Signer,
    pub(crate) admin_token: String,
    pub(crate) authorizer: authorize::Authorizer,
    pub(crate) admission: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) stop: tokio_util::sync::CancellationToken,
}

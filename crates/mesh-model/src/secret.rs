//! Key material that the control plane delivers to gateways.

use std::fmt;

/// A secret by its name (`kubernetes://shop-credential`).
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A certificate with its key.
    Certificate {
        /// Certificate chain, PEM.
        chain: String,
        /// Private key, PEM.
        key: String,
    },
    /// Trust anchors, PEM.
    Roots(String),
}

/// Never shows a key.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { .. } => f.write_str("Certificate(..)"),
            Self::Roots(_) => f.write_str("Roots(..)"),
        }
    }
}

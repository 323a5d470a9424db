//! The mesh's own parts: proxies, certificates, control plane, history, exporters.

mod page;
mod status;

pub use page::{MeshPage, ProxyPage};

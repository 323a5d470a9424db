//! Services, workloads, applications, namespaces: lists, and a page for each one.

mod detail;
mod dump;
mod list;
mod metrics;
mod neighbours;
mod proxy;
mod rows;
mod subject;
mod traffic;

pub use detail::{AppPage, NamespacePage, ServicePage, WorkloadPage};
pub use list::{AppsPage, NamespacesPage, ServicesPage, WorkloadsPage};
pub use proxy::{ProxyView, state_face};

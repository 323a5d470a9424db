//! Traces: when and how long, and each one span by span.

mod detail;
mod list;
mod minimap;
mod out;
mod scatter;
mod side;
mod tree;
mod waterfall;

pub use detail::TracePage;
pub use list::{TracesPage, TracesView};
pub use out::{Target, links_out};

//! Kept requests: errors, slow ones, and a sample of the rest.

mod curl;
mod drawer;
mod facets;
mod filter;
mod flow;
mod page;
mod rows;
mod tail;

pub use filter::{Filter, percent_encode};
pub use page::{RequestsPage, RequestsView};

//! The graph page: what calls what, how much, how well.

mod cards;
mod choice;
mod curve;
mod dots;
mod feed;
mod page;
mod paint;
mod panel;
mod scene;
mod spark;
mod stage;
mod table;
mod toolbar;
mod viewport;

pub use page::GraphPage;

//! The graph page: what calls what, how much, how well.

mod cards;
mod change;
mod choice;
mod curve;
mod dots;
mod export;
mod far;
mod feed;
mod language;
mod links;
mod page;
mod paint;
mod panel;
mod playback;
mod scene;
mod select;
mod stage;
mod table;
mod toolbar;
mod tools;
mod viewport;

pub use page::GraphPage;

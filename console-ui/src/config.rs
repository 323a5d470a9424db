//! The configuration pages: all objects with their problems, and the editor.

mod editor;
mod island;
mod list;
mod problems;
mod progress;
mod review;

pub use editor::{EditorPage, NewPage};
pub use list::ListPage;

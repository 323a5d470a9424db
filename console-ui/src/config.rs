//! The configuration pages: all objects with their problems, and the editor.

mod editor;
mod island;
mod list;
mod problems;
mod progress;
mod review;
mod save;

pub use editor::{EditorPage, NewPage};
pub use island::Diff;
pub use list::ListPage;
pub use problems::severity_face;
pub use save::{Outcome, page_of, path_of, save};

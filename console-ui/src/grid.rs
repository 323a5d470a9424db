//! A table of any length: rows are plain data, sorted by several columns, with the columns that the reader wants.
//! Only what is on the screen is drawn, and every row is a real link.

mod cell;
mod csv;
mod order;
mod tools;
mod view;

pub use cell::{Cell, Column, Look, Row};
pub use csv::download;
pub use tools::GridTools;
pub use view::Grid;

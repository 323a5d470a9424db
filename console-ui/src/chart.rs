//! Charts over time: lines, areas, stacks, sparklines and heat maps, as SVG.
//!
//! [`Chart`] draws [`Data`]; hovering reads all lines out, dragging shows that time on every chart, dashed marks are
//! changes of the configuration. [`from_metrics`] makes [`Data`] of the API's answers.

mod axis;
mod data;
mod heat;
mod marks;
mod plot;
mod spark;

pub mod from_metrics;

pub use data::{Data, Form, Line, Tone, Unit};
pub use heat::{Brush, HeatChart};
pub use marks::{Marks, follow_marks};
pub use plot::Chart;
pub use spark::sparkline;

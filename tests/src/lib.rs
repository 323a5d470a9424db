//! Whole-mesh stories: what users come for, run against the real processes.
pub mod observed;
pub mod pods;

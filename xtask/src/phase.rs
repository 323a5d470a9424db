//! Phases with a heading and a time.

use std::time::{Duration, Instant};

/// Announces a phase, runs it, and says how long it took.
pub(crate) fn phase<T>(name: &str, body: impl FnOnce() -> T) -> (T, Duration) {
    println!("\n=== {name}");
    let start = Instant::now();
    let value = body();
    let took = start.elapsed();
    println!("--- {name}: {:.1} s", took.as_secs_f64());
    (value, took)
}

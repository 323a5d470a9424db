//! The bytes of connections that stay open are counted while they do.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mesh_model::edge::SeriesKey;

use super::Moved;
use crate::stats::SlotKey;
use crate::worker::Worker;

/// How often the bytes of an open connection are counted (Istio's reporting interval).
const PROGRESS: Duration = Duration::from_secs(5);

/// Counts the bytes of an open connection, for ever.
pub(super) async fn tell_progress(
    worker: &Worker,
    slot: &SlotKey,
    series: &SeriesKey,
    (moved, told): (&Cell<Moved>, &Cell<Moved>),
) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        let (now, before) = (moved.get(), told.replace(moved.get()));
        let more = (now.up - before.up, now.down - before.down);
        worker.stats.moved(slot, Instant::now(), more, || series.clone());
    }
}

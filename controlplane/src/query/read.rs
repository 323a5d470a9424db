//! Windows of an interval: old ones from the history, the rest from memory, each once.

use std::sync::Arc;

use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_store::Resolution;

use super::time::Interval;
use super::{Failure, Query};
use crate::fold;
use crate::live::Totals;
use crate::traffic::{Cut, Ledger};

/// Receives series with the start of their window.
pub(super) type Visit<'v> = &'v mut (dyn FnMut(u64, &SeriesKey, &SeriesDelta) + Send);

impl Query {
    /// Visits every series of the windows in the interval; answers the start, which may have snapped further down.
    ///
    /// While the history cannot be used, what memory has is answered, and the start says so; if that is nothing,
    /// the failure is.
    pub(super) async fn visit(
        &self,
        from: u64,
        to: u64,
        step: Resolution,
        visit: Visit<'_>,
    ) -> Result<u64, Failure> {
        let (mut start, mut at) = (from, from);
        loop {
            let floor = self.live.floor().min(to);
            if at >= floor {
                break;
            }
            match self.history.read(at, floor, step, visit).await {
                Ok((read_from, read_to)) => {
                    if at == from {
                        start = read_from;
                    }
                    at = read_to.max(floor);
                }
                Err(error) if floor >= to => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "answered from memory alone");
                    (start, at) = (floor, floor);
                    break;
                }
            }
        }
        self.live.visit(at, to, visit);
        Ok(start)
    }

    /// Sums of an interval, each request once; answers its start, which is as [`Query::visit`] says.
    pub(super) async fn sums(&self, from: u64, to: u64) -> Result<(u64, Totals), Failure> {
        let (mut start, mut at) = (from, from);
        let mut old = Totals::new();
        loop {
            let floor = self.live.floor().min(to);
            if at >= floor {
                break;
            }
            let mut visit = |_: u64, key: &SeriesKey, delta: &SeriesDelta| match old.get_mut(key) {
                Some(sum) => sum.merge(delta),
                None => {
                    old.insert(Arc::new(key.clone()), delta.clone());
                }
            };
            let sums = self
                .history
                .sums(at, floor, Resolution::Hour, &fold::counts, &mut visit);
            match sums.await {
                Ok((read_from, read_to)) => {
                    if at == from {
                        start = read_from;
                    }
                    // Coarse windows may reach into memory's time.
                    at = read_to.max(floor);
                }
                Err(error) if floor >= to => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "answered from memory alone");
                    (start, at) = (floor, floor);
                    old.clear();
                    break;
                }
            }
        }
        let (_, mut sums) = self.live.sums(at, to, fold::counts);
        for (key, delta) in old {
            sums.entry(key).or_default().merge(&delta);
        }
        Ok((start, sums))
    }

    /// The requests of an interval by series, each request once, cut into about thirty points.
    pub(super) async fn ledger(&self, interval: Interval, now: u64) -> Result<Ledger, Failure> {
        // An open window counts until now: rates must not be too low.
        let end = interval.to.min(now.max(interval.from + 1));
        let mut ledger = Ledger::new(Cut::into_points(interval.from, end, 36));
        let resolution = ledger.cut.resolution();
        let mut visit = |window: u64, key: &SeriesKey, delta: &SeriesDelta| {
            if fold::counts(key) {
                ledger.add(window, key, delta);
            }
        };
        let start = self
            .visit(interval.from, interval.to, resolution, &mut visit)
            .await?;
        ledger.begin(start);
        Ok(ledger)
    }
}

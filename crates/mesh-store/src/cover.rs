//! Which blocks answer for an interval (pure).
//!
//! Every delta is added to all resolutions, so any gapless cover by aligned windows gives the same sums.

use crate::history::Resolution;

/// Windows `[start, end)` of one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Resolution.
    pub resolution: Resolution,
    /// First window's start.
    pub start: u64,
    /// Last window's end.
    pub end: u64,
}

/// Covers `[from, to)` with the largest windows that fit, never finer ones than are kept at that time:
/// `horizon` says from when on a resolution is kept. Snaps `from` down and `to` up where it must. `step` is
/// the largest window allowed (finer for a series of points). Segments are in order and join each other.
#[must_use]
pub fn cover(from: u64, to: u64, step: Resolution, horizon: impl Fn(Resolution) -> u64) -> Vec<Segment> {
    let kept = |at: u64| {
        Resolution::ALL
            .into_iter()
            .find(|r| r.floor(at) >= horizon(*r))
            .unwrap_or(Resolution::Hour)
    };
    let mut at = kept(from).floor(from);
    let end = Resolution::TenSeconds.ceil(to);
    let mut segments: Vec<Segment> = Vec::new();
    while at < end {
        let finest = kept(at);
        let chosen = Resolution::ALL
            .into_iter()
            .rev()
            .find(|r| *r >= finest && *r <= step && r.floor(at) == at && at + r.seconds() <= end)
            .unwrap_or(finest);
        // A coarser window than `at` is aligned to can only be the first one that is kept: skip to its border.
        let start = chosen.floor(at).max(segments.last().map_or(0, |last| last.end));
        let next = chosen.floor(at) + chosen.seconds();
        match segments.last_mut() {
            Some(last) if last.resolution == chosen && last.end == start => last.end = next,
            _ => segments.push(Segment {
                resolution: chosen,
                start,
                end: next,
            }),
        }
        at = next;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::cover;
    use crate::history::Resolution::{self, Hour, Minute, TenSeconds};

    #[track_caller]
    fn check(from: u64, to: u64, step: Resolution, horizons: [u64; 3], wanted: &[(Resolution, u64, u64)]) {
        let horizon = |r| match r {
            TenSeconds => horizons[0],
            Minute => horizons[1],
            Hour => horizons[2],
        };
        let got: Vec<_> = cover(from, to, step, horizon)
            .iter()
            .map(|s| (s.resolution, s.start, s.end))
            .collect();
        assert_eq!(got, wanted, "{from}..{to}");
    }

    #[test]
    fn the_largest_windows_that_fit() {
        check(15, 25, Hour, [0; 3], &[(TenSeconds, 10, 30)]);
        check(
            50,
            130,
            Hour,
            [0; 3],
            &[(TenSeconds, 50, 60), (Minute, 60, 120), (TenSeconds, 120, 130)],
        );
        check(
            3540,
            7210,
            Hour,
            [0; 3],
            &[(Minute, 3540, 3600), (Hour, 3600, 7200), (TenSeconds, 7200, 7210)],
        );
        check(50, 130, TenSeconds, [0; 3], &[(TenSeconds, 50, 130)]);
        check(10, 10, Hour, [0; 3], &[]);
    }

    #[test]
    fn what_is_not_kept_is_answered_by_coarser_windows() {
        // The 10 s windows before 7200 are gone.
        check(
            3615,
            7205,
            Minute,
            [7200, 0, 0],
            &[(Minute, 3600, 7200), (TenSeconds, 7200, 7210)],
        );
        check(65, 70, Hour, [7200, 0, 0], &[(Minute, 60, 120)]);
        check(3700, 3800, Hour, [7200, 7200, 0], &[(Hour, 3600, 7200)]);
        // Older than everything: an empty hour block answers.
        check(10, 20, Hour, [7200, 7200, 7200], &[(Hour, 0, 3600)]);
    }
}

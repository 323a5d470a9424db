//! An interval as the URL writes it. Pure.

use crate::text::t;

/// Shown when the URL says nothing.
pub const DEFAULT_SECONDS: u32 = 300;
/// Longest interval: the history keeps hours for 90 days.
const MOST_SECONDS: u32 = 90 * 86_400;

/// One end of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Seconds before now.
    Ago(u32),
    /// Milliseconds since 1970.
    At(f64),
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Start.
    pub from: Bound,
    /// End.
    pub to: Bound,
}

impl Bound {
    /// `now`, `now-5m`, milliseconds since 1970, or RFC 3339.
    pub fn parse(text: &str, rfc3339: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("now") {
            if rest.is_empty() {
                return Some(Self::Ago(0));
            }
            let rest = rest.strip_prefix('-')?;
            let (digits, unit) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
            let scale = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return None,
            };
            let seconds = digits.parse::<u32>().ok()?.checked_mul(scale)?;
            return (seconds <= MOST_SECONDS).then_some(Self::Ago(seconds));
        }
        let at = text
            .parse::<f64>()
            .ok()
            .filter(|at| at.is_finite())
            .or_else(|| rfc3339(text))?;
        // From 2001 on: smaller numbers are seconds, or a mistake.
        (at > 1e12 && at < 1e14).then_some(Self::At(at))
    }

    /// Milliseconds since 1970.
    pub fn at(self, now: f64) -> f64 {
        match self {
            Self::Ago(seconds) => now - f64::from(seconds) * 1000.0,
            Self::At(at) => at,
        }
    }

    /// As the URL writes it.
    pub fn for_url(self) -> String {
        match self {
            Self::Ago(0) => "now".into(),
            Self::Ago(seconds) if seconds.is_multiple_of(86_400) => format!("now-{}d", seconds / 86_400),
            Self::Ago(seconds) if seconds.is_multiple_of(3600) => format!("now-{}h", seconds / 3600),
            Self::Ago(seconds) if seconds.is_multiple_of(60) => format!("now-{}m", seconds / 60),
            Self::Ago(seconds) => format!("now-{seconds}s"),
            Self::At(at) => format!("{at:.0}"),
        }
    }

    /// As the API takes it.
    pub fn for_api(self) -> String {
        match self {
            Self::Ago(0) => "now".into(),
            Self::Ago(seconds) => format!("now-{seconds}s"),
            Self::At(at) => crate::clock::iso(at),
        }
    }
}

impl Default for Range {
    fn default() -> Self {
        Self::last(DEFAULT_SECONDS)
    }
}

impl Range {
    /// The last seconds, until now.
    pub fn last(seconds: u32) -> Self {
        Self {
            from: Bound::Ago(seconds),
            to: Bound::Ago(0),
        }
    }

    /// What the URL says; what it says wrongly is the default. `window` is the short form of `from`.
    pub fn from_url(
        from: Option<&str>,
        to: Option<&str>,
        window: Option<&str>,
        rfc3339: impl Fn(&str) -> Option<f64>,
    ) -> Self {
        let window = window
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|seconds| (10..=MOST_SECONDS).contains(seconds))
            .unwrap_or(DEFAULT_SECONDS);
        let from = from
            .and_then(|text| Bound::parse(text, &rfc3339))
            .unwrap_or(Bound::Ago(window));
        let to = to
            .and_then(|text| Bound::parse(text, &rfc3339))
            .unwrap_or(Bound::Ago(0));
        let range = Self { from, to };
        let ordered = match (from, to) {
            (Bound::Ago(from), Bound::Ago(to)) => from > to,
            (Bound::At(from), Bound::At(to)) => from < to,
            _ => true,
        };
        if ordered { range } else { Self::last(window) }
    }

    /// As the URL writes it: from, to.
    pub fn for_url(self) -> [String; 2] {
        [self.from.for_url(), self.to.for_url()]
    }

    /// Whether its end moves with the clock.
    pub fn follows_now(self) -> bool {
        self.to == Bound::Ago(0)
    }

    /// Start and end, milliseconds since 1970.
    pub fn bounds(self, now: f64) -> (f64, f64) {
        let (from, to) = (self.from.at(now), self.to.at(now));
        (from.min(to), to.max(from))
    }

    /// Length, at least a second.
    pub fn seconds(self, now: f64) -> f64 {
        let (from, to) = self.bounds(now);
        ((to - from) / 1000.0).max(1.0)
    }

    /// The same length, `half` lengths later (earlier if negative); never in the future.
    #[must_use]
    pub fn shifted(self, halves: f64, now: f64) -> Self {
        let (from, to) = self.bounds(now);
        let by = (to - from) / 2.0 * halves;
        if to + by >= now {
            return self.lasting(now);
        }
        Self {
            from: Bound::At((from + by).round()),
            to: Bound::At((to + by).round()),
        }
    }

    /// Twice the length round the same middle; never in the future.
    #[must_use]
    pub fn widened(self, now: f64) -> Self {
        if let (Bound::Ago(seconds), Bound::Ago(0)) = (self.from, self.to) {
            return Self::last((seconds * 2).min(MOST_SECONDS));
        }
        let (from, to) = self.bounds(now);
        let quarter = (to - from) / 2.0;
        let to = (to + quarter).min(now);
        Self {
            from: Bound::At((to - 4.0 * quarter).round()),
            to: Bound::At(to.round()),
        }
    }

    /// The same length, up to now.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped between 1 and 90 days"
    )]
    pub fn lasting(self, now: f64) -> Self {
        let seconds = self.seconds(now).round().clamp(10.0, f64::from(MOST_SECONDS));
        Self::last(seconds as u32)
    }

    /// In words: `Last 5 min`, or nothing where only times can say it.
    pub fn words(self) -> Option<String> {
        match (self.from, self.to) {
            (Bound::Ago(seconds), Bound::Ago(0)) => Some((t().last)(&length(seconds))),
            _ => None,
        }
    }
}

/// A length in words.
pub fn length(seconds: u32) -> String {
    match seconds {
        n if n >= 86_400 && n.is_multiple_of(86_400) => (t().days)(n / 86_400),
        n if n >= 3600 && n.is_multiple_of(3600) => (t().hours)(n / 3600),
        n if n >= 60 && n.is_multiple_of(60) => (t().minutes)(n / 60),
        n if n >= 600 => (t().minutes)(n / 60),
        n => (t().seconds)(n),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW: f64 = 1_800_000_000_000.0;

    fn read(from: &str, to: &str, window: &str) -> Range {
        let given = |text: &'static str| (!text.is_empty()).then_some(text);
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        Range::from_url(given(leak(from)), given(leak(to)), given(leak(window)), |text| {
            (text == "2027-01-15T08:00:00Z").then_some(NOW)
        })
    }

    #[test]
    fn the_url_is_read() {
        for (from, to, window, expected) in [
            ("", "", "", Range::last(300)),
            ("", "", "60", Range::last(60)),
            ("", "", "-1", Range::last(300)),
            ("now-1h", "now", "", Range::last(3600)),
            ("now-2d", "", "60", Range::last(172_800)),
            ("now-999999d", "now", "", Range::last(300)),
            ("now-m", "now", "", Range::last(300)),
            ("now", "now-5m", "", Range::last(300)),
            ("<script>", "5", "x", Range::last(300)),
            (
                "1799999000000",
                "2027-01-15T08:00:00Z",
                "",
                Range {
                    from: Bound::At(1_799_999_000_000.0),
                    to: Bound::At(NOW),
                },
            ),
        ] {
            assert_eq!(read(from, to, window), expected, "{from} {to} {window}");
        }
    }

    #[test]
    fn the_url_keeps_it() {
        for range in [
            Range::last(90),
            Range::last(300),
            Range::last(7200),
            Range::last(172_800),
            Range {
                from: Bound::At(NOW - 5000.0),
                to: Bound::At(NOW),
            },
        ] {
            let [from, to] = range.for_url();
            assert_eq!(read(&from, &to, ""), range);
        }
    }

    #[test]
    fn arrows_never_lead_into_the_future() {
        let before = Range::last(600).shifted(-1.0, NOW);
        assert_eq!(before.bounds(NOW), (NOW - 900_000.0, NOW - 300_000.0));
        assert_eq!(before.shifted(1.0, NOW), Range::last(600));
        assert_eq!(Range::last(600).shifted(1.0, NOW), Range::last(600));
    }

    #[test]
    fn zooming_out_doubles() {
        assert_eq!(Range::last(600).widened(NOW), Range::last(1200));
        let past = Range {
            from: Bound::At(NOW - 400_000.0),
            to: Bound::At(NOW - 200_000.0),
        };
        assert_eq!(past.widened(NOW).bounds(NOW), (NOW - 500_000.0, NOW - 100_000.0));
        let recent = Range {
            from: Bound::At(NOW - 200_000.0),
            to: Bound::At(NOW),
        };
        assert_eq!(recent.widened(NOW).bounds(NOW), (NOW - 400_000.0, NOW));
    }
}

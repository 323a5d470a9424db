//! Times in queries: RFC 3339, `now`, `now-5m` (pure).

use mesh_store::Resolution;

/// Longest interval: what the coarsest windows are kept for, with some room.
const MAX_SECONDS: u64 = 100 * 24 * 3600;

/// An interval snapped to window borders, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: u64,
    /// End of the last window.
    pub(super) to: u64,
    /// Whether no window in it is still open.
    pub(super) complete: bool,
}

/// Reads `from` and `to`; absent, they are `now-5m` and `now`.
pub(super) fn interval(from: Option<&str>, to: Option<&str>, now_ms: u64) -> Result<Interval, String> {
    let from = parse(from.unwrap_or("now-5m"), now_ms)?;
    let to = parse(to.unwrap_or("now"), now_ms)?;
    if from > to {
        return Err("from lies after to".into());
    }
    if (to - from) / 1000 > MAX_SECONDS {
        return Err("the interval is longer than 100 days".into());
    }
    let from = Resolution::TenSeconds.floor(from / 1000);
    let to = Resolution::TenSeconds.ceil(to.div_ceil(1000)).max(from);
    Ok(Interval {
        from,
        to,
        complete: to.saturating_mul(1000) <= now_ms,
    })
}

/// Unix milliseconds of a text.
pub(super) fn parse(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Some(rest) = text.strip_prefix("now") {
        let ago = match rest.strip_prefix('-') {
            Some(duration) => seconds(duration),
            None if rest.is_empty() => Some(0),
            None => None,
        };
        return ago
            .and_then(|ago| ago.checked_mul(1000))
            .map(|ago| now_ms.saturating_sub(ago))
            .ok_or_else(|| format!("{text:?} is not now, now-90s, now-5m, now-2h or now-7d"));
    }
    let at: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is neither RFC 3339 nor now-5m"))?;
    u64::try_from(at.as_millisecond()).map_err(|_| format!("{text:?} lies before 1970"))
}

fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{Interval, interval};

    const NOW: u64 = 1_700_000_005_250;

    #[track_caller]
    fn check(from: Option<&str>, to: Option<&str>, wanted: Option<(u64, u64, bool)>) {
        let got = interval(from, to, NOW).ok();
        let wanted = wanted.map(|(from, to, complete)| Interval { from, to, complete });
        assert_eq!(got, wanted, "{from:?} {to:?}");
    }

    #[test]
    fn from_snaps_down_and_an_open_window_is_told() {
        check(None, None, Some((1_699_999_700, 1_700_000_010, false)));
        check(
            Some("now-10s"),
            Some("now-6s"),
            Some((1_699_999_990, 1_700_000_000, true)),
        );
        check(
            Some("2023-11-14T22:13:20Z"),
            Some("now"),
            Some((1_700_000_000, 1_700_000_010, false)),
        );
        check(
            Some("2023-11-14T22:13:11.5+00:00"),
            Some("2023-11-14T22:13:20Z"),
            Some((1_699_999_990, 1_700_000_000, true)),
        );
        check(
            Some("now"),
            Some("now"),
            Some((1_700_000_000, 1_700_000_010, false)),
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "now-",
            "now-5",
            "now-5x",
            "now-+5s",
            "now5m",
            "yesterday",
            "now-99999999999999999999d",
        ] {
            check(Some(text), None, None);
        }
        check(Some("now"), Some("now-1m"), None);
        check(Some("now-101d"), None, None);
    }
}

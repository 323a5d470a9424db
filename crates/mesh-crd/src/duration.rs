//! Durations as Go and CEL write them (`1.5s`, `1m30s`, `500ms`).

use std::time::Duration;

/// Parses a duration; `None` if it is none, or negative.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() || text.len() > 64 {
        return None;
    }
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|i| *i > 0)?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let number: f64 = number.parse().ok()?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        nanos += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = tail;
    }
    // Go's durations are 64-bit nanoseconds.
    if !(0.0..9.2e18).contains(&nanos) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Some(Duration::from_nanos(nanos.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(text: &str, milliseconds: Option<u128>) {
        assert_eq!(parse(text).map(|d| d.as_millis()), milliseconds, "{text}");
    }

    #[test]
    fn go_durations() {
        check("1s", Some(1000));
        check("1.5s", Some(1500));
        check("1h2m3s4ms", Some(3_723_004));
        check("500us", Some(0));
        check("0", Some(0));
        check("0s", Some(0));
        check("+2s", Some(2000));
        check("-1s", None);
        check("5", None);
        check("", None);
        check("s", None);
        check("1 s", None);
        check("1d", None);
        check("1..2s", None);
        check("9999999999999999h", None);
        check("string", None);
    }
}

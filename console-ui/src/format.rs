//! Numbers as people read them. Pure.

/// Requests a second.
pub fn rate(requests: u64, seconds: f64) -> String {
    if seconds <= 0.0 || requests == 0 {
        return "0".into();
    }
    decimals(number(requests) / seconds)
}

/// Three significant digits at most, thousands grouped.
pub fn decimals(value: f64) -> String {
    if value >= 1000.0 {
        count(rounded(value))
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Three significant digits at most, without zeros at the end.
pub fn short(value: f64) -> String {
    let text = if value >= 1_000_000.0 {
        return format!("{} M", short(value / 1_000_000.0));
    } else if value >= 1000.0 {
        count(rounded(value))
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 0.01 || value == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Bytes in binary units, of a mean or a rate.
pub fn byte_size(value: f64) -> String {
    let mut scaled = value.max(0.0);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1023.95 {
            return format!("{} {unit}", short(scaled));
        }
        scaled /= 1024.0;
    }
    format!("{} TiB", short(scaled))
}

/// `part` of `whole` in percent; a few of many never read as none.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".into();
    }
    let percent = number(part) * 100.0 / number(whole);
    if percent < 0.01 {
        "<0.01 %".into()
    } else if percent < 1.0 {
        format!("{percent:.2} %")
    } else if percent < 10.0 || (percent > 99.0 && percent < 100.0) {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// Milliseconds, or seconds above one.
pub fn millis(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(ms) if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

/// Thousands grouped.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in binary units.
pub fn bytes(value: u64) -> String {
    let mut scaled = number(value);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1023.95 {
            return if unit == "B" {
                format!("{scaled:.0} B")
            } else {
                format!("{scaled:.1} {unit}")
            };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// A length of time in its largest unit.
pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let [second, minute, hour, day] = crate::text::t().units;
    let (value, unit) = if seconds < 60.0 {
        (seconds, second)
    } else if seconds < 3600.0 {
        ((seconds / 60.0).floor(), minute)
    } else if seconds < 86_400.0 {
        ((seconds / 3600.0).floor(), hour)
    } else {
        ((seconds / 86_400.0).floor(), day)
    };
    format!("{value:.0} {unit}")
}

/// At most `limit` characters, the middle left out: names differ at their ends.
pub fn shorten(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit || limit < 4 {
        return text.to_owned();
    }
    let head = (limit - 1) * 3 / 5;
    let tail = limit - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// Exact up to 2^53, which no counter here reaches.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn number(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and small"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (requests, seconds, expected) in [
            (0, 60.0, "0"),
            (1, 60.0, "0.02"),
            (600, 60.0, "10.0"),
            (2514, 60.0, "41.9"),
            (30_000, 60.0, "500"),
            (90_000, 60.0, "1,500"),
        ] {
            assert_eq!(rate(requests, seconds), expected);
        }
        assert_eq!(rate(5, 0.0), "0");
    }

    #[test]
    fn a_few_of_many_are_not_none() {
        for (part, whole, expected) in [
            (0, 10, "0 %"),
            (1, 1_000_000, "<0.01 %"),
            (1, 1000, "0.10 %"),
            (15, 1000, "1.5 %"),
            (500, 1000, "50 %"),
            (999, 1000, "99.9 %"),
            (10, 10, "100 %"),
        ] {
            assert_eq!(percent(part, whole), expected);
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(span(3.4), "3 s");
        assert_eq!(span(119.0), "1 min");
        assert_eq!(span(7200.0), "2 h");
        assert_eq!(millis(Some(4.26)), "4.3 ms");
        assert_eq!(millis(Some(1234.0)), "1.23 s");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(byte_size(0.0), "0 B");
        assert_eq!(byte_size(2048.0), "2 KiB");
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (2.0, "2"),
            (20.5, "20.5"),
            (1500.0, "1,500"),
            (2_500_000.0, "2.5 M"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("reviews-v1", 16), "reviews-v1");
        assert_eq!(shorten("istio-ingressgateway-canary", 16).chars().count(), 16);
        assert!(shorten("istio-ingressgateway-canary", 16).ends_with("canary"));
    }
}

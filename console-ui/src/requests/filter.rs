//! Which requests are wanted, as the URL and the API write it. Pure.

use std::collections::BTreeMap;

/// Fields with values of their own, as the API names them.
pub const FIELDS: [&str; 15] = [
    "source",
    "destination",
    "service",
    "code",
    "flags",
    "virtualService",
    "route",
    "match",
    "method",
    "protocol",
    "reason",
    "reporter",
    "app",
    "workload",
    "namespace",
];

/// Names of all parameters that belong to a filter.
const OTHERS: [&str; 4] = ["minMs", "maxMs", "text", "trace"];

/// A filter: values of one field are joined by "or", fields by "and".
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// By field.
    pub values: BTreeMap<&'static str, Vec<String>>,
    /// At least this long, milliseconds.
    pub min_ms: Option<f64>,
    /// At most this long.
    pub max_ms: Option<f64>,
    /// Part of path, authority, request id and the like.
    pub text: String,
    /// One trace.
    pub trace: String,
}

impl Filter {
    /// Reads parameters.
    pub fn read(all: impl Fn(&str) -> Vec<String>) -> Self {
        let mut filter = Self::default();
        for field in FIELDS {
            let mut values: Vec<String> = all(field).into_iter().filter(|value| !value.is_empty()).collect();
            values.dedup();
            if !values.is_empty() {
                filter.values.insert(field, values);
            }
        }
        let one = |name: &str| all(name).pop().unwrap_or_default();
        let millis = |name: &str| {
            one(name)
                .parse::<f64>()
                .ok()
                .filter(|ms| ms.is_finite() && *ms > 0.0)
        };
        filter.min_ms = millis("minMs");
        filter.max_ms = millis("maxMs");
        filter.text = one("text");
        filter.trace = one("trace");
        filter
    }

    /// With one value of one field.
    pub fn of(field: &'static str, value: impl Into<String>) -> Self {
        let mut filter = Self::default();
        filter.values.insert(field, vec![value.into()]);
        filter
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a parameter belongs to a filter.
    pub fn owns(name: &str) -> bool {
        FIELDS.contains(&name) || OTHERS.contains(&name)
    }

    /// Parameters in a fixed order.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for field in FIELDS {
            let values = self.values.get(field).into_iter().flatten();
            pairs.extend(values.map(|value| (field, value.clone())));
        }
        let millis = |ms: f64| {
            let text = format!("{ms:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        pairs.extend(self.min_ms.map(|ms| ("minMs", millis(ms))));
        pairs.extend(self.max_ms.map(|ms| ("maxMs", millis(ms))));
        for (name, text) in [("text", &self.text), ("trace", &self.trace)] {
            if !text.is_empty() {
                pairs.push((name, text.clone()));
            }
        }
        pairs
    }

    /// `&source=…&code=…`, to be appended to a query.
    pub fn query(&self) -> String {
        let pair = |(name, value): (&str, String)| format!("&{name}={}", percent_encode(&value));
        self.pairs().into_iter().map(pair).collect()
    }

    /// Both filters at once: a value that only one of them knows stays.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (field, values) in &other.values {
            both.values.insert(field, values.clone());
        }
        both.min_ms = other.min_ms.or(self.min_ms);
        both.max_ms = other.max_ms.or(self.max_ms);
        if !other.text.is_empty() {
            both.text.clone_from(&other.text);
        }
        if !other.trace.is_empty() {
            both.trace.clone_from(&other.trace);
        }
        both
    }

    /// Whether a value is chosen.
    pub fn has(&self, field: &str, value: &str) -> bool {
        self.values
            .get(field)
            .is_some_and(|values| values.iter().any(|known| known == value))
    }

    /// With one value more, or without it.
    #[must_use]
    pub fn toggled(&self, field: &'static str, value: &str) -> Self {
        let mut next = self.clone();
        let values = next.values.entry(field).or_default();
        match values.iter().position(|known| known == value) {
            Some(at) => {
                values.remove(at);
            }
            None => values.push(value.to_owned()),
        }
        if values.is_empty() {
            next.values.remove(field);
        }
        next
    }

    /// All values of a field that are known, but this one.
    #[must_use]
    pub fn without(&self, field: &'static str, value: &str, known: &[String]) -> Self {
        let chosen = self.values.get(field).map_or(known, Vec::as_slice);
        let rest: Vec<String> = chosen.iter().filter(|other| *other != value).cloned().collect();
        let mut next = self.clone();
        if rest.is_empty() {
            next.values.remove(field);
        } else {
            next.values.insert(field, rest);
        }
        next
    }

    /// Without a field.
    #[must_use]
    pub fn without_field(&self, field: &str) -> Self {
        let mut next = self.clone();
        next.values.remove(field);
        next
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The name of a facet's field as the API's parameter: `virtual_service` is `virtualService`.
pub fn field_of(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    FIELDS.into_iter().find(|field| plain(field) == plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Filter {
        Filter::read(|name| {
            pairs
                .iter()
                .filter(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
                .collect()
        })
    }

    #[test]
    fn the_url_is_read_and_written() {
        for (pairs, expected) in [
            (&[][..], ""),
            (
                &[("code", "503"), ("code", "200"), ("source", "default/a")][..],
                "&source=default%2Fa&code=503&code=200",
            ),
            (&[("minMs", "12.50"), ("maxMs", "x")][..], "&minMs=12.5"),
            (&[("minMs", "-1"), ("text", "a&b=c")][..], "&text=a%26b%3Dc"),
            (
                &[("other", "1"), ("route", ""), ("match", "<script>")][..],
                "&match=%3Cscript%3E",
            ),
            (&[("trace", "ab")][..], "&trace=ab"),
        ] {
            assert_eq!(read(pairs).query(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn values_are_chosen_and_left_out() {
        let filter = Filter::default().toggled("code", "200");
        assert!(filter.has("code", "200"));
        assert_eq!(filter.toggled("code", "200"), Filter::default());
        let known = ["200", "404", "503"].map(str::to_owned);
        let rest = Filter::default().without("code", "200", &known);
        assert_eq!(rest.query(), "&code=404&code=503");
        assert_eq!(rest.without("code", "404", &known).query(), "&code=503");
        assert_eq!(filter.without("code", "200", &known), Filter::default());
    }

    #[test]
    fn the_page_s_own_filter_wins_over_its_base() {
        let base = Filter::of("app", "default/reviews");
        let own = Filter::of("code", "503");
        assert_eq!(base.and(&own).query(), "&code=503&app=default%2Freviews");
        assert!(Filter::owns("virtualService") && !Filter::owns("from"));
    }

    #[test]
    fn fields_of_facets() {
        for (name, expected) in [
            ("virtual_service", Some("virtualService")),
            ("virtualService", Some("virtualService")),
            ("code", Some("code")),
            ("nonsense", None),
        ] {
            assert_eq!(field_of(name), expected, "{name}");
        }
    }
}

//! Which requests of a segment a query asks for.

use memchr::memmem::Finder;
use mesh_model::edge::SeriesKey;
use mesh_model::workload::{UNKNOWN, Workload};

use super::RequestQuery;
use super::codec;
use super::segment::{Names, Scan, Text, write_hex};

/// `namespace/name` of a workload; just `unknown` for what is not known.
pub(crate) fn workload(workload: &Workload) -> String {
    joined(&workload.namespace, &workload.name)
}

/// `namespace/app` of a workload.
pub(crate) fn app(workload: &Workload) -> String {
    joined(&workload.namespace, &workload.app)
}

fn joined(namespace: &str, name: &str) -> String {
    if name == UNKNOWN && (namespace == UNKNOWN || namespace.is_empty()) {
        UNKNOWN.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// A query, prepared.
pub(crate) struct Matcher<'q> {
    query: &'q RequestQuery,
    text: Option<Needle>,
}

/// Part of a text, whatever the case.
pub(crate) struct Needle {
    lower: String,
    finder: Finder<'static>,
}

impl Needle {
    /// `None` for nothing to look for.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        (!lower.is_empty()).then(|| Self {
            finder: Finder::new(lower.as_bytes()).into_owned(),
            lower,
        })
    }

    /// Whether it is part of `text`; `buffer` saves allocations.
    pub(crate) fn is_in(&self, text: &str, buffer: &mut String) -> bool {
        if text.len() < self.lower.len() && text.is_ascii() {
            return false;
        }
        buffer.clear();
        if text.is_ascii() {
            buffer.push_str(text);
            buffer.make_ascii_lowercase();
        } else {
            buffer.extend(text.chars().flat_map(char::to_lowercase));
        }
        self.finder.find(buffer.as_bytes()).is_some()
    }

    /// Whether it can be part of hexadecimal digits (and dashes).
    fn may_be_hex(&self, dashes: bool) -> bool {
        self.lower
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || (dashes && byte == b'-'))
    }
}

impl<'q> Matcher<'q> {
    pub(crate) fn new(query: &'q RequestQuery) -> Self {
        Self {
            query,
            text: Needle::new(&query.text),
        }
    }

    /// Whether names are looked at.
    pub(crate) fn needs_names(&self) -> bool {
        self.text.is_some() || self.query.trace.is_some()
    }

    /// Rows that match, rising.
    pub(crate) fn rows(&self, scan: &Scan, names: Option<&Names<'_>>) -> Vec<usize> {
        let query = self.query;
        let keys: Vec<bool> = scan.keys.iter().map(|key| self.key(key)).collect();
        if !keys.contains(&true) {
            return Vec::new();
        }
        let methods: Option<Vec<bool>> = (!query.methods.is_empty()).then(|| {
            scan.texts
                .iter()
                .map(|text| query.methods.contains(text))
                .collect()
        });
        let mut reasons = [query.reasons.is_empty(); 3];
        for reason in &query.reasons {
            if let Some(wanted) = reasons.get_mut(usize::from(codec::reason_code(*reason))) {
                *wanted = true;
            }
        }
        let end = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let (to, longest) = (end(query.to_ns), end(query.max_duration_ns));
        let at = |marks: &[bool], place: u16| marks.get(usize::from(place)).copied().unwrap_or_default();
        let mut rows = Vec::new();
        let columns = scan
            .started
            .iter()
            .zip(&scan.duration)
            .zip(&scan.series)
            .zip(&scan.reason);
        for (row, (((started, duration), series), reason)) in columns.enumerate() {
            if at(&keys, *series)
                && *started >= query.from_ns
                && (*started < to || query.to_ns == 0)
                && *duration >= query.min_duration_ns
                && *duration <= longest
                && at(&reasons, u16::from(*reason))
            {
                rows.push(row);
            }
        }
        let place = |text: Text, row: usize| scan.column(text).get(row).copied().unwrap_or_default();
        if let Some(methods) = methods {
            rows.retain(|row| at(&methods, place(Text::Method, *row)));
        }
        if let (Some(trace), Some(names)) = (&query.trace, names) {
            rows.retain(|row| names.trace(*row) == trace.0);
        }
        if let Some(needle) = &self.text {
            retain_text(&mut rows, needle, scan, names);
        }
        rows
    }

    /// Whether requests of this series can match.
    pub(crate) fn key(&self, key: &SeriesKey) -> bool {
        let query = self.query;
        let one = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|w| w == value);
        let named = |wanted: &[String], name: fn(&Workload) -> String, ends: &[&Workload]| {
            wanted.is_empty() || ends.iter().any(|end| wanted.contains(&name(end)))
        };
        let (source, destination) = (&key.source, &key.destination);
        one(&query.services, &key.service.host)
            && (query.codes.is_empty() || query.codes.contains(&key.response_code))
            && one(&query.protocols, key.protocol.as_str())
            && one(&query.reporters, key.reporter.as_str())
            && one(&query.virtual_services, &key.origin.virtual_service)
            && one(&query.routes, &key.origin.route)
            && one(&query.matches, &key.origin.match_name)
            && (query.namespaces.is_empty()
                || [source, destination]
                    .iter()
                    .any(|end| query.namespaces.contains(&end.namespace)))
            && named(&query.sources, workload, &[source])
            && named(&query.destinations, workload, &[destination])
            && named(&query.workloads, workload, &[source, destination])
            && named(&query.apps, app, &[source, destination])
            && (query.flags.is_empty()
                || key
                    .flags
                    .to_string()
                    .split(',')
                    .any(|flag| query.flags.iter().any(|wanted| wanted == flag)))
    }
}

fn retain_text(rows: &mut Vec<usize>, needle: &Needle, scan: &Scan, names: Option<&Names<'_>>) {
    let mut buffer = String::new();
    let marks: Vec<bool> = scan
        .texts
        .iter()
        .map(|text| needle.is_in(text, &mut buffer))
        .collect();
    let columns = Text::SEARCHED.map(|text| scan.column(text));
    let mut written = String::new();
    rows.retain(|row| {
        let in_texts = columns.iter().any(|column| {
            let place = column.get(*row).copied().unwrap_or_default();
            marks.get(usize::from(place)).copied().unwrap_or_default()
        });
        if in_texts {
            return true;
        }
        let Some(names) = names else {
            return false;
        };
        if needle.may_be_hex(false) {
            written.clear();
            names
                .trace(*row)
                .iter()
                .for_each(|byte| write_hex(&mut written, *byte));
            if needle.finder.find(written.as_bytes()).is_some() {
                return true;
            }
        }
        match names.request_id(*row) {
            super::segment::RequestId::Text(text) => needle.is_in(text, &mut buffer),
            id @ super::segment::RequestId::Uuid(_) => {
                needle.may_be_hex(true) && {
                    written.clear();
                    id.write(&mut written);
                    needle.finder.find(written.as_bytes()).is_some()
                }
            }
        }
    });
}

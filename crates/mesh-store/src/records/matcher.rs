//! Which requests of a segment a query asks for.

use memchr::memmem::Finder;
use mesh_model::workload::{UNKNOWN, Workload};

use super::RequestQuery;
use super::codec;
use super::names::Names;
use super::segment::{Scan, Searched};
use super::series::{self, Series};
use super::texts::mark;

/// `namespace/name` of a workload; just `unknown` for what is not known.
pub(crate) fn workload(workload: &Workload) -> String {
    joined(&workload.namespace, &workload.name)
}

/// `namespace/app` of a workload.
pub(crate) fn app(workload: &Workload) -> String {
    joined(&workload.namespace, &workload.app)
}

/// `namespace/name`; just `unknown` for what is not known.
pub(crate) fn joined(namespace: &str, name: &str) -> String {
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

    /// Finds it in what is lower case.
    pub(crate) fn finder(&self) -> &Finder<'static> {
        &self.finder
    }

    /// Whether it can be part of hexadecimal digits (and dashes).
    pub(crate) fn may_be_hex(&self, dashes: bool) -> bool {
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

    /// Whether texts are looked at.
    pub(crate) fn needs_texts(&self) -> bool {
        self.text.is_some()
    }

    /// Rows that match, rising.
    pub(crate) fn rows(&self, scan: &Scan, names: Option<&Names<'_>>) -> Vec<usize> {
        let query = self.query;
        let keys = self.series(&scan.series);
        if !keys.contains(&true) {
            return Vec::new();
        }
        let methods: Option<Vec<bool>> = (!query.methods.is_empty()).then(|| {
            let wanted = |text: &str| query.methods.iter().any(|method| method == text);
            scan.methods.iter().map(wanted).collect()
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
            .zip(&scan.place)
            .zip(&scan.reason);
        for (row, (((started, duration), place), reason)) in columns.enumerate() {
            if at(&keys, *place)
                && *started >= query.from_ns
                && (*started < to || query.to_ns == 0)
                && *duration >= query.min_duration_ns
                && *duration <= longest
                && at(&reasons, u16::from(*reason))
            {
                rows.push(row);
            }
        }
        if let Some(methods) = methods {
            rows.retain(|row| at(&methods, scan.method.get(*row).copied().unwrap_or_default()));
        }
        if let (Some(trace), Some(names)) = (&query.trace, names) {
            rows.retain(|row| names.trace(*row) == trace.0);
        }
        if let Some(needle) = self.text.as_ref().filter(|_| !rows.is_empty()) {
            retain_text(&mut rows, needle, scan, names);
        }
        rows
    }

    /// Which series can match.
    fn series(&self, series: &Series) -> Vec<bool> {
        let query = self.query;
        let one = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|w| w == value);
        let workloads: Vec<Workloads> = series
            .workloads()
            .map(|[namespace, name, app]| Workloads {
                source: named(&query.sources, namespace, name),
                destination: named(&query.destinations, namespace, name),
                either: named(&query.workloads, namespace, name),
                namespace: one(&query.namespaces, namespace),
                app: named(&query.apps, namespace, app),
            })
            .collect();
        let hosts: Vec<bool> = series.hosts().map(|host| one(&query.services, host)).collect();
        let origins: Vec<bool> = series
            .origins()
            .map(|[virtual_service, route, name]| {
                one(&query.virtual_services, virtual_service)
                    && one(&query.routes, route)
                    && one(&query.matches, name)
            })
            .collect();
        let at = |marks: &[bool], place: u32| marks.get(place as usize).copied().unwrap_or_default();
        let workload = |place: u32| workloads.get(place as usize).copied().unwrap_or_default();
        let row = |row: &series::Row| {
            let (source, destination) = (workload(row.source), workload(row.destination));
            at(&hosts, row.service)
                && at(&origins, row.origin)
                && source.source
                && destination.destination
                && (source.either || destination.either)
                && (source.namespace || destination.namespace)
                && (source.app || destination.app)
                && (query.codes.is_empty() || query.codes.contains(&row.code))
                && one(&query.protocols, row.protocol.as_str())
                && one(&query.reporters, row.reporter.as_str())
                && (query.flags.is_empty()
                    || row
                        .flags
                        .to_string()
                        .split(',')
                        .any(|flag| query.flags.iter().any(|wanted| wanted == flag)))
        };
        series.rows().iter().map(row).collect()
    }
}

/// What a query says of a workload.
#[derive(Debug, Clone, Copy, Default)]
struct Workloads {
    source: bool,
    destination: bool,
    either: bool,
    namespace: bool,
    app: bool,
}

fn named(wanted: &[String], namespace: &str, name: &str) -> bool {
    wanted.is_empty() || wanted.contains(&joined(namespace, name))
}

fn retain_text(rows: &mut Vec<usize>, needle: &Needle, scan: &Scan, names: Option<&Names<'_>>) {
    let mut found = vec![false; scan.len()];
    if let Some(searched) = &scan.searched {
        let marks = in_texts(needle, searched);
        for (row, found) in found.iter_mut().enumerate() {
            let places = searched.columns.iter().filter_map(|column| column.get(row));
            *found = places
                .into_iter()
                .any(|place| marks.get(usize::from(*place)).copied().unwrap_or_default());
        }
    }
    if let Some(names) = names {
        names.mark(needle, &mut found);
    }
    rows.retain(|row| found.get(*row).copied().unwrap_or_default());
}

/// Which texts have the needle in them.
fn in_texts(needle: &Needle, searched: &Searched) -> Vec<bool> {
    let texts = &searched.texts;
    let (all, ends) = texts.whole();
    if all.is_ascii() {
        let mut marks = vec![false; texts.len()];
        mark(
            &needle.finder,
            all.to_ascii_lowercase().as_bytes(),
            ends,
            &mut marks,
        );
        return marks;
    }
    let mut buffer = String::new();
    texts.iter().map(|text| needle.is_in(text, &mut buffer)).collect()
}

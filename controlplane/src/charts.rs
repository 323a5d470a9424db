//! Exact counts over time, grouped by a field (pure).

mod promql;

use std::collections::BTreeMap;

use mesh_api::metrics::{Group, MetricPoint};
use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::workload::{UNKNOWN, Workload};

use crate::traffic::Cut;

pub(crate) use promql::{Subject, promql};

/// Most groups of an answer besides the one for the rest.
const MAX_GROUPS: usize = 20;
/// Name of the group that holds the rest.
const OTHER: &str = "other";

/// What lines are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Field {
    /// One line.
    #[default]
    Nothing,
    Source,
    Destination,
    Service,
    /// Of the destination.
    Version,
    Code,
    Flags,
    Route,
    Protocol,
    GrpcStatus,
    MutualTls,
}

impl Field {
    /// Every field with its name in queries.
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Nothing, "none"),
        (Self::Source, "source"),
        (Self::Destination, "destination"),
        (Self::Service, "service"),
        (Self::Version, "version"),
        (Self::Code, "code"),
        (Self::Flags, "flags"),
        (Self::Route, "route"),
        (Self::Protocol, "protocol"),
        (Self::GrpcStatus, "grpcStatus"),
        (Self::MutualTls, "mutualTls"),
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Nothing);
        }
        Self::ALL
            .into_iter()
            .find(|(_, name)| *name == text)
            .map(|(field, _)| field)
    }

    fn value(self, key: &SeriesKey) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Source => id(&key.source),
            Self::Destination => id(&key.destination),
            Self::Service => key.service.host.clone(),
            Self::Version => key.destination.version.clone(),
            Self::Code => key.response_code.to_string(),
            Self::Flags => key.flags.to_string(),
            Self::Route => route(key),
            Self::Protocol => key.protocol.as_str().to_owned(),
            Self::GrpcStatus => key.grpc_status.map(|s| s.to_string()).unwrap_or_default(),
            Self::MutualTls => key.mutual_tls.to_string(),
        }
    }
}

fn id(workload: &Workload) -> String {
    if workload.name == UNKNOWN {
        UNKNOWN.into()
    } else {
        format!("{}/{}", workload.namespace, workload.name)
    }
}

/// `namespace/virtual service: route.match`, as far as there are names.
fn route(key: &SeriesKey) -> String {
    let origin = &key.origin;
    let mut text = origin.virtual_service.clone();
    for (separator, part) in [(": ", &origin.route), (".", &origin.match_name)] {
        if !part.is_empty() {
            text.push_str(if text.is_empty() { "" } else { separator });
            text.push_str(part);
        }
    }
    text
}

/// Lines that are being drawn.
#[derive(Debug)]
pub(crate) struct Chart {
    cut: Cut,
    field: Field,
    groups: BTreeMap<String, Line>,
}

#[derive(Debug, Default)]
struct Line {
    total: Sums,
    /// Only points with traffic.
    points: BTreeMap<usize, Sums>,
}

#[derive(Debug, Default, Clone)]
struct Sums {
    requests: u64,
    errors: u64,
    client_errors: u64,
    attempts: u64,
    request_bytes: u64,
    response_bytes: u64,
    duration: ExponentialHistogram,
}

impl Chart {
    pub(crate) fn new(cut: Cut, field: Field) -> Self {
        Self {
            cut,
            field,
            groups: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, window: u64, key: &SeriesKey, delta: &SeriesDelta) {
        let line = self.groups.entry(self.field.value(key)).or_default();
        let point = line.points.entry(self.cut.point(window)).or_default();
        for sums in [&mut line.total, point] {
            sums.add(key, delta);
        }
    }

    /// What was read begins at `start`.
    pub(crate) fn begin(&mut self, start: u64) {
        self.cut.from = start.min(self.cut.to);
    }

    /// The groups with most requests, and the rest in one.
    pub(crate) fn finish(self, quantiles: &[f64]) -> Vec<Group> {
        let mut lines: Vec<(String, Line)> = self.groups.into_iter().collect();
        lines.sort_by(|(a, x), (b, y)| y.total.requests.cmp(&x.total.requests).then_with(|| a.cmp(b)));
        if lines.len() > MAX_GROUPS + 1 {
            let mut other = Line::default();
            for (_, line) in lines.split_off(MAX_GROUPS) {
                other.merge(&line);
            }
            lines.push((OTHER.to_owned(), other));
        }
        if lines.is_empty() && self.field == Field::Nothing {
            lines.push((String::new(), Line::default()));
        }
        let empty = Sums::default();
        let cut = self.cut;
        let groups = lines.into_iter().map(|(name, line)| Group {
            name,
            total: line.total.point(cut.from, quantiles),
            points: (0..cut.points())
                .map(|i| line.points.get(&i).unwrap_or(&empty).point(cut.at(i), quantiles))
                .collect(),
        });
        groups.collect()
    }
}

impl Line {
    fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        for (index, sums) in &other.points {
            self.points.entry(*index).or_default().merge(sums);
        }
    }
}

impl Sums {
    fn add(&mut self, key: &SeriesKey, delta: &SeriesDelta) {
        self.requests += delta.requests;
        if key.is_error() {
            self.errors += delta.requests;
        }
        if key.is_client_error() {
            self.client_errors += delta.requests;
        }
        self.attempts += delta.attempts;
        self.request_bytes += delta.request_bytes;
        self.response_bytes += delta.response_bytes;
        self.duration.merge(&delta.duration);
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
        self.attempts += other.attempts;
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
        self.duration.merge(&other.duration);
    }

    fn point(&self, at: u64, quantiles: &[f64]) -> MetricPoint {
        MetricPoint {
            at,
            requests: self.requests,
            errors: self.errors,
            client_errors: self.client_errors,
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            quantiles_ms: quantiles.iter().map(|q| self.duration.quantile(*q)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;

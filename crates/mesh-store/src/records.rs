//! Kept requests, spans and configuration revisions: what a number leads to.

pub(crate) mod codec;
pub(crate) mod heat;
pub(crate) mod matcher;
pub(crate) mod names;
pub(crate) mod segment;
pub(crate) mod series;
pub(crate) mod texts;

use mesh_model::record::{KeptReason, KeptRequest, Span, TraceId};

use crate::Error;

/// Which kept requests are asked for; empty fields match everything, fields are joined by "and", values of one
/// field by "or".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestQuery {
    /// Started at or after, Unix nanoseconds.
    pub from_ns: u64,
    /// Started before, Unix nanoseconds; 0 = no end.
    pub to_ns: u64,
    /// `namespace/workload` of the source.
    pub sources: Vec<String>,
    /// `namespace/workload` of the destination.
    pub destinations: Vec<String>,
    /// FQDN of the destination service.
    pub services: Vec<String>,
    /// Namespaces, of the source or of the destination.
    pub namespaces: Vec<String>,
    /// Canonical service of source or destination, `namespace/app`.
    pub apps: Vec<String>,
    /// `namespace/workload` of source or destination.
    pub workloads: Vec<String>,
    /// Response codes.
    pub codes: Vec<u16>,
    /// Response flags as in access logs (`UH`); `-` = none.
    pub flags: Vec<String>,
    /// `namespace/name` of VirtualServices.
    pub virtual_services: Vec<String>,
    /// Route names.
    pub routes: Vec<String>,
    /// Match names.
    pub matches: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// `http`, `grpc`, `tcp`.
    pub protocols: Vec<String>,
    /// `source`, `destination`.
    pub reporters: Vec<String>,
    /// Reasons.
    pub reasons: Vec<KeptReason>,
    /// At least this long, nanoseconds.
    pub min_duration_ns: u64,
    /// At most this long, nanoseconds; 0 = no limit.
    pub max_duration_ns: u64,
    /// Part of path, authority, request id, details, user agent, upstream host or trace id; case does not count.
    pub text: String,
    /// Trace.
    pub trace: Option<TraceId>,
}

/// A page of kept requests, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestPage {
    /// At most as many as asked for.
    pub requests: Vec<KeptRequest>,
    /// Where the next page goes on; `None` = this was the last.
    pub next: Option<String>,
}

/// How many requests have each value of a field; most frequent first, at most 50 values a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facets {
    /// All that match.
    pub total: u64,
    /// Field name (as in [`RequestQuery`], singular: `source`, `destination`, `service`, `code`, `flags`,
    /// `virtual_service`, `route`, `match`, `method`, `protocol`, `reporter`, `reason`) with its values.
    pub fields: Vec<(&'static str, Vec<(String, u64)>)>,
}

/// Requests by time and duration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeatMap {
    /// Start of the first column, Unix nanoseconds.
    pub from_ns: u64,
    /// Width of a column, nanoseconds.
    pub column_ns: u64,
    /// Lower bounds of the rows, nanoseconds, rising; equal steps of the logarithm.
    pub rows_ns: Vec<u64>,
    /// (column, row, requests, errors), only what is not empty.
    pub cells: Vec<(u32, u32, u64, u64)>,
}

/// Which traces are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceQuery {
    /// Started at or after, Unix nanoseconds.
    pub from_ns: u64,
    /// Started before, Unix nanoseconds; 0 = no end.
    pub to_ns: u64,
    /// `namespace/workload` that took part.
    pub workloads: Vec<String>,
    /// `namespace/app` that took part.
    pub apps: Vec<String>,
    /// Only those with an error.
    pub errors_only: bool,
    /// At least this long, nanoseconds.
    pub min_duration_ns: u64,
    /// At most this long, nanoseconds; 0 = no limit.
    pub max_duration_ns: u64,
    /// Part of a span's name, an attribute's value or the trace id; case does not count.
    pub text: String,
}

/// A trace in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSummary {
    /// Trace.
    pub trace_id: TraceId,
    /// Name of its root span, or of the earliest one if the root is not here.
    pub name: String,
    /// `namespace/app` of the root span.
    pub root: String,
    /// Earliest start, Unix nanoseconds.
    pub started_ns: u64,
    /// Earliest start to latest end, nanoseconds.
    pub duration_ns: u64,
    /// Spans.
    pub spans: u32,
    /// Spans with an error.
    pub errors: u32,
    /// `namespace/app` with its spans, most first.
    pub apps: Vec<(String, u32)>,
}

/// Kept requests and spans.
#[async_trait::async_trait]
pub trait Records: Send + Sync {
    /// Commits requests and spans; those that are there already (same trace and span) change nothing.
    async fn keep(&self, requests: &[KeptRequest], spans: &[Span]) -> Result<(), Error>;

    /// Newest first; `after` is [`RequestPage::next`] of the page before.
    async fn requests(
        &self,
        query: &RequestQuery,
        limit: usize,
        after: Option<&str>,
    ) -> Result<RequestPage, Error>;

    /// Values of every field among the requests that match.
    async fn facets(&self, query: &RequestQuery) -> Result<Facets, Error>;

    /// Time × duration of the requests that match, in about `columns` columns.
    async fn heat_map(&self, query: &RequestQuery, columns: u32) -> Result<HeatMap, Error>;

    /// All spans of a trace, by start.
    async fn trace(&self, id: TraceId) -> Result<Vec<Span>, Error>;

    /// Traces, newest first.
    async fn traces(&self, query: &TraceQuery, limit: usize) -> Result<Vec<TraceSummary>, Error>;
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It came.
    Created,
    /// Its content (not only its status) changed.
    Updated,
    /// It went.
    Deleted,
}

impl Change {
    /// All, in the order of an object's life.
    pub const ALL: [Self; 3] = [Self::Created, Self::Updated, Self::Deleted];

    /// Name in APIs and stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == text)
    }
}

/// One seen state of a configuration object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Counts up; given by the store (0 when recorded).
    pub id: u64,
    /// When it was seen, Unix milliseconds.
    pub at_ms: u64,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// What happened.
    pub change: Change,
    /// The user who did it, where known.
    pub user: String,
    /// The field manager that wrote it, where known.
    pub manager: String,
    /// The object as people edit it, YAML without status and managedFields; at a deletion its last content.
    pub yaml: String,
    /// States between the one before and this one may have been missed.
    pub gap: bool,
}

/// Which revisions are asked for; empty fields match everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevisionQuery {
    /// Kind.
    pub kind: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Seen at or after, Unix milliseconds.
    pub from_ms: u64,
    /// Seen before, Unix milliseconds; 0 = no end.
    pub to_ms: u64,
    /// Older than this id; 0 = from the newest.
    pub before: u64,
}

/// The history of configuration objects.
#[async_trait::async_trait]
pub trait Revisions: Send + Sync {
    /// Records a state; the same (uid, resource version, change) again changes nothing. Answers whether it was new.
    async fn record(&self, revision: &Revision) -> Result<bool, Error>;

    /// Newest first.
    async fn revisions(&self, query: &RevisionQuery, limit: usize) -> Result<Vec<Revision>, Error>;
}

#[cfg(test)]
mod tests;

//! Spans of a trace, and traces in one line each.

use std::collections::BTreeMap;

use mesh_model::record::{Span, TraceId};

use super::keep::time;
use super::tally::ROW;
use crate::block::{Input, damaged, put};
use crate::history::Error;
use crate::link::{Link, Row, Value};
use crate::records::codec::{self, Unpacker, put_text};
use crate::records::matcher::{self, Needle};
use crate::records::{TraceQuery, TraceSummary};

const VERSION: u8 = 1;
/// Lines fetched at once.
const PAGE: i64 = 256;
/// Most traces in an answer.
const MOST: usize = 1000;

/// All spans of a trace, by start.
pub(super) async fn trace(link: &mut Link<'_>, id: TraceId) -> Result<Vec<Span>, Error> {
    let sql = "SELECT span_id, payload FROM span WHERE trace_id = $1";
    let rows = link.rows(sql, &[Value::Blob(&id.0)]).await?;
    let mut unpacker = Unpacker::new()?;
    let mut spans = rows
        .iter()
        .map(|row| unpacker.span(&id.0, row.blob(0)?, row.blob(1)?))
        .collect::<Result<Vec<Span>, Error>>()?;
    spans.sort_by_key(|span| (span.started_ns, std::cmp::Reverse(span.duration_ns), span.span_id));
    Ok(spans)
}

/// Writes the line of a trace after `bytes` of spans were added; answers the bytes to tally.
pub(super) async fn summarise(link: &mut Link<'_>, id: TraceId, bytes: u64) -> Result<u64, Error> {
    let spans = trace(link, id).await?;
    let Some(line) = Line::of(id, &spans) else {
        return Ok(bytes);
    };
    let payload = line.encode();
    // The line's own bytes are estimated once: they hardly change.
    let own = "SELECT COUNT(*) FROM trace WHERE trace_id = $1";
    let known = link.number(own, &[Value::Blob(&id.0)]).await? > 0;
    let added = if known {
        bytes
    } else {
        bytes + payload.len() as u64 + ROW
    };
    link.execute(
        "INSERT INTO trace (trace_id, started_ns, seen, bytes, payload) VALUES ($1, $2, 0, $3, $4) \
         ON CONFLICT (trace_id) DO UPDATE SET started_ns = excluded.started_ns, \
         bytes = trace.bytes + excluded.bytes, payload = excluded.payload",
        &[
            Value::Blob(&id.0),
            Value::from(time(line.summary.started_ns)),
            Value::from(added),
            Value::from(&payload),
        ],
    )
    .await?;
    Ok(added)
}

/// Traces, newest first.
pub(super) async fn traces(
    link: &mut Link<'_>,
    query: &TraceQuery,
    limit: usize,
) -> Result<Vec<TraceSummary>, Error> {
    let limit = limit.clamp(1, MOST);
    let needle = Needle::new(&query.text);
    let to = if query.to_ns == 0 { u64::MAX } else { query.to_ns };
    let mut after = (time(to), Vec::new());
    let mut found = Vec::new();
    loop {
        let rows = link
            .rows(
                "SELECT trace_id, started_ns, payload FROM trace WHERE started_ns >= $1 \
                 AND (started_ns, trace_id) < ($2, $3) ORDER BY started_ns DESC, trace_id DESC LIMIT $4",
                &[
                    Value::from(time(query.from_ns)),
                    Value::from(after.0),
                    Value::from(&after.1),
                    Value::Int(PAGE),
                ],
            )
            .await?;
        for row in &rows {
            after = (row.number(1)?, row.blob(0)?.to_vec());
            let line = line(row)?;
            if !line.matches(query) {
                continue;
            }
            if let Some(needle) = &needle
                && !has_text(link, &line, needle).await?
            {
                continue;
            }
            found.push(line.summary);
            if found.len() >= limit {
                return Ok(found);
            }
        }
        if rows.len() < PAGE as usize {
            return Ok(found);
        }
    }
}

async fn has_text(link: &mut Link<'_>, line: &Line, needle: &Needle) -> Result<bool, Error> {
    let mut buffer = String::new();
    let id = line.summary.trace_id;
    if needle.is_in(&id.to_string(), &mut buffer) {
        return Ok(true);
    }
    let spans = trace(link, id).await?;
    Ok(spans.iter().any(|span| {
        needle.is_in(&span.name, &mut buffer)
            || span
                .attributes
                .iter()
                .any(|(_, value)| needle.is_in(value, &mut buffer))
    }))
}

fn line(row: &Row) -> Result<Line, Error> {
    Line::decode(codec::trace_id(row.blob(0)?)?, row.blob(2)?)
}

/// A trace in one line, with who took part.
#[derive(Debug, PartialEq)]
struct Line {
    summary: TraceSummary,
    workloads: Vec<String>,
}

impl Line {
    fn of(id: TraceId, spans: &[Span]) -> Option<Self> {
        let root = spans
            .iter()
            .find(|span| span.parent.is_none())
            .or(spans.first())?;
        let started_ns = spans.iter().map(|span| span.started_ns).min()?;
        let ended = spans
            .iter()
            .map(|span| span.started_ns.saturating_add(span.duration_ns))
            .max()?;
        let mut apps: BTreeMap<String, u32> = BTreeMap::new();
        for span in spans {
            *apps.entry(matcher::app(&span.workload)).or_default() += 1;
        }
        let mut apps: Vec<(String, u32)> = apps.into_iter().collect();
        apps.sort_by_key(|(_, spans)| std::cmp::Reverse(*spans));
        let mut workloads: Vec<String> = spans
            .iter()
            .map(|span| matcher::workload(&span.workload))
            .collect();
        workloads.sort_unstable();
        workloads.dedup();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Self {
            summary: TraceSummary {
                trace_id: id,
                name: root.name.clone(),
                root: matcher::app(&root.workload),
                started_ns,
                duration_ns: ended.saturating_sub(started_ns),
                spans: count(spans.len()),
                errors: count(spans.iter().filter(|span| span.error).count()),
                apps,
            },
            workloads,
        })
    }

    fn matches(&self, query: &TraceQuery) -> bool {
        let summary = &self.summary;
        let apps = || summary.apps.iter().map(|(app, _)| app);
        (query.to_ns == 0 || summary.started_ns < query.to_ns)
            && summary.started_ns >= query.from_ns
            && summary.duration_ns >= query.min_duration_ns
            && (query.max_duration_ns == 0 || summary.duration_ns <= query.max_duration_ns)
            && (!query.errors_only || summary.errors > 0)
            && (query.apps.is_empty() || apps().any(|app| query.apps.contains(app)))
            && (query.workloads.is_empty() || self.workloads.iter().any(|w| query.workloads.contains(w)))
    }

    fn encode(&self) -> Vec<u8> {
        let summary = &self.summary;
        let mut out = vec![VERSION];
        put(&mut out, summary.started_ns);
        put(&mut out, summary.duration_ns);
        put(&mut out, u64::from(summary.spans));
        put(&mut out, u64::from(summary.errors));
        put_text(&mut out, &summary.name);
        put_text(&mut out, &summary.root);
        put(&mut out, summary.apps.len() as u64);
        for (app, spans) in &summary.apps {
            put_text(&mut out, app);
            put(&mut out, u64::from(*spans));
        }
        put(&mut out, self.workloads.len() as u64);
        self.workloads
            .iter()
            .for_each(|workload| put_text(&mut out, workload));
        out
    }

    fn decode(trace_id: TraceId, bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(damaged("unknown version of a trace's line"));
        }
        let narrow = |value: u64| u32::try_from(value).map_err(|_| damaged("number"));
        let (started_ns, duration_ns) = (input.number()?, input.number()?);
        let (spans, errors) = (narrow(input.number()?)?, narrow(input.number()?)?);
        let (name, root) = (input.text()?, input.text()?);
        let apps = (0..input.length()?)
            .map(|_| Ok((input.text()?, narrow(input.number()?)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let workloads = (0..input.length()?)
            .map(|_| input.text())
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            summary: TraceSummary {
                trace_id,
                name,
                root,
                started_ns,
                duration_ns,
                spans,
                errors,
                apps,
            },
            workloads,
        })
    }
}

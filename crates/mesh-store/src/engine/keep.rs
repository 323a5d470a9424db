//! Kept requests and spans come in; full segments are sealed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use mesh_model::record::{KeptRequest, Span, TraceId};

use super::tally::{Family, ROW};
use super::traces;
use crate::history::Error;
use crate::link::{Connection, Link, Lock, Value, built};
use crate::records::codec::{self, KnownKeys, Packer};
use crate::records::names::{NAME, Names};
use crate::records::segment::{self, FULL};

/// Spans of one trace that are kept; a loop in a mesh must not grow one without end.
const MOST_SPANS: u64 = 2000;

/// Requests written, or removed, by one statement.
const CHUNK: usize = 100;

static MANY: LazyLock<String> = LazyLock::new(|| insert(CHUNK));
static ONE: LazyLock<String> = LazyLock::new(|| insert(1));
static REMOVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM request WHERE (trace_id, span_id) IN (VALUES {})",
        places(CHUNK, 2)
    )
});
static REMOVE_ONE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM request WHERE (trace_id, span_id) IN (VALUES {})",
        places(1, 2)
    )
});

fn insert(rows: usize) -> String {
    format!(
        "INSERT INTO request (trace_id, span_id, payload) VALUES {} ON CONFLICT (trace_id, span_id) DO NOTHING \
         RETURNING CAST(LENGTH(payload) AS BIGINT)",
        places(rows, 3)
    )
}

/// `($1, $2), ($3, $4)`
fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns)
            .map(|column| format!("${}", row * columns + column))
            .collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<String>>().join(", ")
}

/// What is to be kept.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) requests: Vec<KeptRequest>,
    pub(super) spans: Vec<Span>,
}

/// Commits all of it in one transaction; what is there already changes nothing.
pub(super) async fn keep(connection: &mut Connection, keep: &Keep) -> Result<(), Error> {
    let mut transaction = connection.begin(&[Lock::Records]).await?;
    let mut link = transaction.link();
    requests(&mut link, &keep.requests).await?;
    spans(&mut link, &keep.spans).await?;
    transaction.commit().await
}

/// Time as columns have it: signed.
pub(super) fn time(ns: u64) -> u64 {
    ns.min(i64::MAX as u64)
}

fn name(request: &KeptRequest) -> [u8; NAME] {
    let mut name = [0; NAME];
    let (trace, span) = name.split_at_mut(16);
    trace.copy_from_slice(&request.trace_id.0);
    span.copy_from_slice(&request.span_id.0);
    name
}

async fn requests(link: &mut Link<'_>, requests: &[KeptRequest]) -> Result<(), Error> {
    let mut known: HashSet<[u8; NAME]> = HashSet::new();
    sealed(link, requests, &mut known).await?;
    let mut rows: Vec<(&KeptRequest, Vec<u8>)> = Vec::new();
    for request in requests {
        // One statement must not name a row twice.
        if known.insert(name(request)) {
            rows.push((request, codec::encode_request(request)));
        }
    }
    let mut added = 0;
    let whole = rows.len() - rows.len() % CHUNK;
    let (many, few) = rows.split_at(whole);
    for (chunk, sql) in
        (many.chunks(CHUNK).map(|chunk| (chunk, &*MANY))).chain(few.chunks(1).map(|c| (c, &*ONE)))
    {
        let values: Vec<Value<'_>> = chunk
            .iter()
            .flat_map(|(request, payload)| {
                [
                    Value::Blob(&request.trace_id.0),
                    Value::Blob(&request.span_id.0),
                    Value::from(payload),
                ]
            })
            .collect();
        for row in link.rows(built(sql.clone()), &values).await? {
            added += row.number(0)? + ROW;
        }
    }
    Family::Requests.change(link, added, 0).await
}

/// Adds those of the requests that stand in a segment already: a repeated request has the same start.
async fn sealed(
    link: &mut Link<'_>,
    requests: &[KeptRequest],
    known: &mut HashSet<[u8; NAME]>,
) -> Result<(), Error> {
    let asked: HashMap<[u8; NAME], u64> = (requests.iter())
        .map(|request| (name(request), time(request.started_ns)))
        .collect();
    let (Some(first), Some(last)) = (asked.values().min(), asked.values().max()) else {
        return Ok(());
    };
    let sql = "SELECT id, from_ns, to_ns FROM request_segment WHERE to_ns >= $1 AND from_ns <= $2";
    let rows = link.rows(sql, &[Value::from(*first), Value::from(*last)]).await?;
    for row in &rows {
        let times = row.number(1)?..=row.number(2)?;
        if !asked.values().any(|start| times.contains(start)) {
            continue;
        }
        let sql = "SELECT names FROM request_segment WHERE id = $1";
        let Some(names) = link.row(sql, &[Value::Int(row.int(0)?)]).await? else {
            continue;
        };
        for pair in Names::pairs(names.blob(0)?)? {
            if let Ok(name) = <[u8; NAME]>::try_from(pair)
                && asked.get(&name).is_some_and(|start| times.contains(start))
            {
                known.insert(name);
            }
        }
    }
    Ok(())
}

async fn spans(link: &mut Link<'_>, spans: &[Span]) -> Result<(), Error> {
    let mut by_trace: BTreeMap<TraceId, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_trace.entry(span.trace_id).or_default().push(span);
    }
    let mut packer = Packer::new()?;
    let mut added = 0;
    for (trace, spans) in by_trace {
        let id = Value::Blob(&trace.0);
        let mut there = link
            .number("SELECT COUNT(*) FROM span WHERE trace_id = $1", &[id])
            .await?;
        let mut bytes = 0;
        for span in spans {
            if there >= MOST_SPANS {
                tracing::debug!(%trace, "a trace has too many spans; the rest is left out");
                break;
            }
            let payload = packer.span(span)?;
            let new = link
                .execute(
                    "INSERT INTO span (trace_id, span_id, payload) VALUES ($1, $2, $3) \
                     ON CONFLICT (trace_id, span_id) DO NOTHING",
                    &[id, Value::Blob(&span.span_id.0), Value::from(&payload)],
                )
                .await?;
            if new > 0 {
                there += 1;
                bytes += payload.len() as u64 + ROW;
            }
        }
        if bytes > 0 {
            added += traces::summarise(link, trace, bytes).await?;
        }
    }
    Family::Spans.change(link, added, 0).await
}

/// Makes segments of fresh requests while there are enough for a full one.
pub(super) async fn seal(connection: &mut Connection, now: u64) -> Result<(), Error> {
    while seal_one(connection, now).await? {}
    Ok(())
}

async fn seal_one(connection: &mut Connection, now: u64) -> Result<bool, Error> {
    let mut transaction = connection.begin(&[Lock::Fold, Lock::Records]).await?;
    let mut link = transaction.link();
    let fresh = link.number("SELECT COUNT(*) FROM request", &[]).await?;
    if fresh < FULL as u64 {
        return Ok(false);
    }
    let mut requests = fresh_requests(&mut link).await?;
    requests.sort_by_key(|(request, _)| request.started_ns);
    let mut removed = 0;
    let mut sealed = 0;
    for chunk in requests.chunks_exact(FULL) {
        let (chunk, sizes): (Vec<KeptRequest>, Vec<u64>) = chunk.iter().cloned().unzip();
        let packed = segment::pack(&chunk)?;
        let id = link
            .number(
                "INSERT INTO request_segment (from_ns, to_ns, sealed, requests, scan, names, rest) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
                &[
                    Value::from(time(packed.from_ns)),
                    Value::from(time(packed.to_ns)),
                    Value::from(now),
                    Value::from(packed.requests),
                    Value::from(&packed.scan),
                    Value::from(&packed.names),
                    Value::from(&packed.rest),
                ],
            )
            .await?;
        link.execute(
            "INSERT INTO request_text (segment, payload) VALUES ($1, $2)",
            &[Value::from(id), Value::from(&packed.texts)],
        )
        .await?;
        for chunk in chunk.chunks(CHUNK) {
            let sql = if chunk.len() == CHUNK {
                &*REMOVE
            } else {
                &*REMOVE_ONE
            };
            for part in chunk.chunks(if chunk.len() == CHUNK { CHUNK } else { 1 }) {
                let values: Vec<Value<'_>> = part
                    .iter()
                    .flat_map(|request| [&request.trace_id.0[..], &request.span_id.0[..]])
                    .map(Value::Blob)
                    .collect();
                link.execute(built(sql.clone()), &values).await?;
            }
        }
        removed += sizes.iter().sum::<u64>();
        sealed += packed.bytes();
    }
    Family::Requests.change(&mut link, sealed, removed).await?;
    transaction.commit().await?;
    Ok(fresh >= (MOST_FRESH + FULL) as u64)
}

/// Fresh requests that are read at once.
const MOST_FRESH: usize = 16 * FULL;

/// Fresh requests with their bytes in the tally.
pub(super) async fn fresh_requests(link: &mut Link<'_>) -> Result<Vec<(KeptRequest, u64)>, Error> {
    let sql = "SELECT trace_id, span_id, payload FROM request LIMIT $1";
    let rows = link.rows(sql, &[Value::from(MOST_FRESH as u64)]).await?;
    let mut known = KnownKeys::new();
    rows.iter()
        .map(|row| {
            let payload = row.blob(2)?;
            let request = codec::decode_request(row.blob(0)?, row.blob(1)?, payload, &mut known)?;
            Ok((request, payload.len() as u64 + ROW))
        })
        .collect()
}

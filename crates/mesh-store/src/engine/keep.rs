//! Kept requests and spans come in; full segments are sealed.

use std::collections::BTreeMap;

use mesh_model::record::{KeptRequest, Span, TraceId};

use super::tally::{Family, ROW};
use super::traces;
use crate::history::Error;
use crate::link::{Connection, Link, Lock, Value};
use crate::records::codec::{self, Packer};
use crate::records::segment::{self, FULL, NAME, Names};

/// Spans of one trace that are kept; a loop in a mesh must not grow one without end.
const MOST_SPANS: u64 = 2000;

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
    let sealed = sealed(link, requests).await?;
    let mut added = 0;
    for request in requests {
        let name = name(request);
        let mut known = false;
        for (from, to, names) in &sealed {
            if (*from..=*to).contains(&time(request.started_ns)) && Names::contain(names, &name)? {
                known = true;
                break;
            }
        }
        if known {
            continue;
        }
        let payload = codec::encode_request(request);
        let new = link
            .execute(
                "INSERT INTO request (trace_id, span_id, payload) VALUES ($1, $2, $3) \
                 ON CONFLICT (trace_id, span_id) DO NOTHING",
                &[
                    Value::Blob(&request.trace_id.0),
                    Value::Blob(&request.span_id.0),
                    Value::from(&payload),
                ],
            )
            .await?;
        if new > 0 {
            added += payload.len() as u64 + ROW;
        }
    }
    Family::Requests.change(link, added, 0).await
}

/// Names in the segments that may have one of these: a repeated request has the same start.
async fn sealed(link: &mut Link<'_>, requests: &[KeptRequest]) -> Result<Vec<(u64, u64, Vec<u8>)>, Error> {
    let starts = || requests.iter().map(|request| time(request.started_ns));
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else {
        return Ok(Vec::new());
    };
    let sql = "SELECT id, from_ns, to_ns FROM request_segment WHERE to_ns >= $1 AND from_ns <= $2";
    let rows = link.rows(sql, &[Value::from(first), Value::from(last)]).await?;
    let mut sealed = Vec::new();
    for row in &rows {
        let (from, to) = (row.number(1)?, row.number(2)?);
        if !starts().any(|start| (from..=to).contains(&start)) {
            continue;
        }
        let sql = "SELECT names FROM request_segment WHERE id = $1";
        if let Some(names) = link.row(sql, &[Value::Int(row.int(0)?)]).await? {
            sealed.push((from, to, names.blob(0)?.to_vec()));
        }
    }
    Ok(sealed)
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
        link.execute(
            "INSERT INTO request_segment (from_ns, to_ns, sealed, requests, scan, names, rest) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
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
        for request in &chunk {
            link.execute(
                "DELETE FROM request WHERE trace_id = $1 AND span_id = $2",
                &[Value::Blob(&request.trace_id.0), Value::Blob(&request.span_id.0)],
            )
            .await?;
        }
        removed += sizes.iter().sum::<u64>();
        sealed += (packed.scan.len() + packed.names.len() + packed.rest.len()) as u64;
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
    rows.iter()
        .map(|row| {
            let payload = row.blob(2)?;
            let request = codec::decode_request(row.blob(0)?, row.blob(1)?, payload)?;
            Ok((request, payload.len() as u64 + ROW))
        })
        .collect()
}

//! `/api/requests`: kept requests, page by page, by value, by time, and as they come.

pub(super) mod filter;
pub(super) mod shape;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query as Params, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use futures::Stream;
use mesh_api::requests::{Facet, Facets, HeatCell, HeatMap, KeptRequest, RequestPage};
use mesh_model::record::{SpanId, TraceId};
use mesh_store::records::RequestQuery;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use self::filter::{Asked, matches};
use super::{Failure, Query};
use crate::clock::unix_ms;
use crate::records::Kept;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
const DEFAULT_COLUMNS: u32 = 120;
const MAX_COLUMNS: u32 = 1000;
/// Most requests of one event of the tail.
const MAX_EVENT: usize = 200;
/// Time between two events of the tail.
const PACE: Duration = Duration::from_millis(150);

type Pairs = Result<Params<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>;

/// Reads the filter; the named parameters are the route's own.
fn asked(params: Pairs, own: &[&str]) -> Result<Asked, Failure> {
    let Params(pairs) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    Asked::parse(&pairs, own, unix_ms()).map_err(|(message, remedy)| Failure::bad(message, &remedy))
}

pub(super) async fn page(State(query): State<Query>, params: Pairs) -> Result<Json<RequestPage>, Failure> {
    let asked = asked(params, &["limit", "after"])?;
    let limit = asked.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = asked.own("after").filter(|after| !after.is_empty());
    let page = query.records.requests(&asked.query, limit, after).await?;
    Ok(Json(RequestPage {
        requests: page.requests.iter().map(shape::request).collect(),
        next: page.next,
    }))
}

pub(super) async fn facets(State(query): State<Query>, params: Pairs) -> Result<Json<Facets>, Failure> {
    let asked = asked(params, &[])?;
    let facets = query.records.facets(&asked.query).await?;
    let fields = facets.fields.into_iter().map(|(field, values)| Facet {
        field: shape::parameter(field),
        values,
    });
    Ok(Json(Facets {
        total: facets.total,
        fields: fields.collect(),
    }))
}

pub(super) async fn heat_map(State(query): State<Query>, params: Pairs) -> Result<Json<HeatMap>, Failure> {
    let asked = asked(params, &["columns"])?;
    let columns = asked.number("columns", DEFAULT_COLUMNS, MAX_COLUMNS)?;
    let mut wanted = asked.query;
    if wanted.to_ns == 0 {
        wanted.to_ns = unix_ms().saturating_mul(1_000_000);
    }
    let to_ns = wanted.to_ns;
    let map = query.records.heat_map(&wanted, columns).await?;
    let ms = |ns: u64| shape::number(ns) / 1e6;
    let span = to_ns.saturating_sub(map.from_ns);
    let columns = span.div_ceil(map.column_ns.max(1));
    Ok(Json(HeatMap {
        from_ms: ms(map.from_ns),
        column_ms: ms(map.column_ns),
        columns: u32::try_from(columns).unwrap_or(u32::MAX),
        rows_ms: map.rows_ns.iter().map(|ns| ms(*ns)).collect(),
        cells: map
            .cells
            .iter()
            .map(|(column, row, requests, errors)| HeatCell {
                column: *column,
                row: *row,
                requests: *requests,
                errors: *errors,
            })
            .collect(),
    }))
}

pub(super) async fn one(
    State(query): State<Query>,
    Path((trace, span)): Path<(String, String)>,
) -> Result<Json<KeptRequest>, Failure> {
    let (trace_id, span_id) = TraceId::parse(&trace).zip(SpanId::parse(&span)).ok_or_else(|| {
        Failure::bad(
            "that is no trace id and span id",
            "write 32 and 16 hexadecimal digits",
        )
    })?;
    let wanted = RequestQuery {
        trace: Some(trace_id),
        ..RequestQuery::default()
    };
    let page = query.records.requests(&wanted, MAX_LIMIT, None).await?;
    let found = page.requests.iter().find(|request| request.span_id == span_id);
    found.map(|request| Json(shape::request(request))).ok_or_else(|| {
        let mut failure = Failure::new(
            StatusCode::NOT_FOUND,
            format!("request {trace}/{span} is not kept"),
        );
        failure.remedy = Some("old records go when the history is full; see /api/status".into());
        failure
    })
}

pub(super) async fn stream(State(query): State<Query>, params: Pairs) -> Result<Response, Failure> {
    let asked = asked(params, &[])?;
    let Ok(permit) = Arc::clone(&query.streams).try_acquire_owned() else {
        return Err(Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many event streams are open",
        ));
    };
    let tail = Tail {
        kept: query.recorder.tail(),
        wanted: asked.query,
        sent: None,
        _permit: permit,
    };
    Ok(Sse::new(events(tail))
        .keep_alive(KeepAlive::default())
        .into_response())
}

struct Tail {
    kept: broadcast::Receiver<Kept>,
    wanted: RequestQuery,
    sent: Option<Instant>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

fn events(tail: Tail) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(tail, async |mut tail| {
        let requests = tail.next().await?;
        let event = match Event::default().event("requests").json_data(&requests) {
            Ok(event) => event,
            Err(error) => Event::default().event("error").data(error.to_string()),
        };
        Some((Ok(event), tail))
    })
}

impl Tail {
    /// What came since the last event, oldest first; a flood is cut, for it is in the list anyway.
    async fn next(&mut self) -> Option<Vec<KeptRequest>> {
        let mut found: Vec<KeptRequest> = Vec::new();
        if let Some(sent) = self.sent {
            tokio::time::sleep_until(sent + PACE).await;
        }
        while found.is_empty() {
            match self.kept.recv().await {
                Ok(kept) => self.take(&kept, &mut found),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
        while found.len() < MAX_EVENT
            && let Ok(kept) = self.kept.try_recv()
        {
            self.take(&kept, &mut found);
        }
        found.truncate(MAX_EVENT);
        self.sent = Some(Instant::now());
        Some(found)
    }

    fn take(&self, kept: &Kept, found: &mut Vec<KeptRequest>) {
        let new = kept.iter().filter(|request| matches(&self.wanted, request));
        found.extend(new.map(shape::request));
    }
}

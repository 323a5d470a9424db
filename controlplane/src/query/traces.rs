//! `/api/traces`: lists and single traces.

use axum::extract::{Path, Query as Params, State};
use axum::http::StatusCode;
use axum::response::Json;
use mesh_api::traces::{Span, Trace, TraceList, TraceSummary};
use mesh_model::record::{self, TraceId};
use mesh_store::records::TraceQuery;
use serde::Deserialize;

use super::requests::filter::{duration_ns, time_ns};
use super::requests::shape::{app, node, number, time};
use super::{Failure, Query};
use crate::clock::unix_ms;

const DEFAULT_LIMIT: usize = 200;
const MAX_LIMIT: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TracesParams {
    from: Option<String>,
    to: Option<String>,
    workload: String,
    app: String,
    errors: bool,
    min_ms: Option<String>,
    max_ms: Option<String>,
    text: String,
    limit: Option<usize>,
}

impl TracesParams {
    fn query(&self, now_ms: u64) -> Result<TraceQuery, (String, String)> {
        let time = |name: &str, text: Option<&str>, otherwise: &str| {
            time_ns(name, text.unwrap_or(otherwise), now_ms)
        };
        let duration = |name: &str, text: Option<&str>| text.map_or(Ok(0), |text| duration_ns(name, text));
        let list = |text: &str| {
            let names = text.split(',').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        Ok(TraceQuery {
            from_ns: time("from", self.from.as_deref(), "now-5m")?,
            to_ns: match self.to.as_deref() {
                // Clocks of proxies may be ahead, so now is no end.
                None | Some("now") => 0,
                to => time("to", to, "now")?,
            },
            workloads: list(&self.workload),
            apps: list(&self.app),
            errors_only: self.errors,
            min_duration_ns: duration("minMs", self.min_ms.as_deref())?,
            max_duration_ns: duration("maxMs", self.max_ms.as_deref())?,
            text: self.text.clone(),
        })
    }
}

pub(super) async fn traces(
    State(query): State<Query>,
    params: Result<Params<TracesParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<TraceList>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let wanted = params
        .query(unix_ms())
        .map_err(|(message, remedy)| Failure::bad(message, &remedy))?;
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure::bad(
            format!("limit {limit} is not within 1 to {MAX_LIMIT}"),
            "leave it out for the usual one",
        ));
    }
    let traces = query.records.traces(&wanted, limit).await?;
    let traces = traces.into_iter().map(|trace| TraceSummary {
        trace: trace.trace_id.to_string(),
        name: trace.name,
        root: trace.root,
        started: time(trace.started_ns),
        duration_ms: number(trace.duration_ns) / 1e6,
        spans: trace.spans,
        errors: trace.errors,
        apps: trace.apps,
    });
    Ok(Json(TraceList {
        traces: traces.collect(),
    }))
}

pub(super) async fn trace(
    State(query): State<Query>,
    Path(id): Path<String>,
) -> Result<Json<Trace>, Failure> {
    let trace_id = TraceId::parse(&id)
        .ok_or_else(|| Failure::bad("that is no trace id", "write 32 hexadecimal digits"))?;
    let spans = query.records.trace(trace_id).await?;
    if spans.is_empty() {
        let mut failure = Failure::new(
            StatusCode::NOT_FOUND,
            format!("no span of trace {trace_id} is here"),
        );
        failure.remedy = Some(
            "only traces of kept requests and sampled ones are stored; old ones go when the history is full"
                .into(),
        );
        return Err(failure);
    }
    Ok(Json(Trace {
        trace: trace_id.to_string(),
        spans: spans.iter().map(span).collect(),
    }))
}

fn span(span: &record::Span) -> Span {
    Span {
        span: span.span_id.to_string(),
        parent: span.parent.map(|parent| parent.to_string()),
        kind: span.kind.as_str().to_owned(),
        name: span.name.clone(),
        proxy: span.proxy.clone(),
        workload: node(&span.workload),
        app: app(&span.workload),
        version: span.workload.version.clone(),
        started_us: number(span.started_ns / 1000),
        duration_us: number(span.duration_ns) / 1e3,
        error: span.error,
        attributes: span.attributes.clone(),
    }
}

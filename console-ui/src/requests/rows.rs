//! Kept requests as a table.

use mesh_api::requests::KeptRequest;

use crate::clock;
use crate::format;
use crate::grid::{Cell, Column, Look, Row};
use crate::text::requests::words;
use crate::text::t;

/// Columns, in the order of the cells of [`row`].
pub fn columns() -> Vec<Column> {
    let w = words();
    vec![
        Column::text("time", w.started),
        Column::text("code", w.code),
        Column::number("duration", w.duration),
        Column::text("source", t().source),
        Column::text("destination", t().target),
        Column::text("method", w.method),
        Column::text("path", w.path),
        Column::text("flags", w.flags),
        Column::text("route", w.rule),
        Column::text("reason", w.reason),
        Column::text("reporter", w.reporter).hidden(),
        Column::text("service", t().service).hidden(),
        Column::text("protocol", t().protocol).hidden(),
        Column::text("authority", w.authority).hidden(),
        Column::number("attempts", t().attempts).hidden(),
        Column::number("bytes", t().bytes).hidden(),
        Column::text("mtls", t().mtls).hidden(),
        Column::text("upstream", w.upstream).hidden(),
        Column::text("request_id", w.request_id).hidden(),
        Column::text("trace", w.trace).hidden(),
    ]
}

/// Tells requests apart: `trace/span`.
pub fn id(request: &KeptRequest) -> String {
    format!("{}/{}", request.trace, request.span)
}

/// A row; `link` is where it leads.
pub fn row(request: &KeptRequest, link: impl Fn(&str) -> String) -> Row {
    let id = id(request);
    let at = clock::parse(&request.started);
    let mutual = if request.mutual_tls { t().mtls } else { "–" };
    Row {
        href: Some(link(&id)),
        cells: vec![
            Cell::mono(time_of(request))
                .valued(at)
                .titled(request.started.clone()),
            code_cell(request),
            Cell::millis(Some(request.duration_ms)),
            Cell::text(request.source.clone()).titled(request.source_principal.clone()),
            Cell::text(request.destination.clone()).titled(request.service.clone()),
            Cell::soft(request.method.clone()),
            Cell::mono(request.path.clone()).titled(format!("{}{}", request.authority, request.path)),
            flags_cell(request),
            rule_cell(request),
            Cell::soft(reason_word(&request.reason)),
            Cell::soft(reporter_word(&request.reporter)),
            Cell::soft(request.service.clone()),
            Cell::soft(request.protocol.clone()),
            Cell::soft(request.authority.clone()),
            Cell::count(u64::from(request.attempts)),
            bytes_cell(request),
            Cell::soft(mutual),
            Cell::mono(request.upstream_host.clone()),
            Cell::mono(request.request_id.clone()),
            Cell::mono(request.trace.clone()),
        ],
        id,
    }
}

fn bytes_cell(request: &KeptRequest) -> Cell {
    let text = format!(
        "{} / {}",
        format::bytes(request.request_bytes),
        format::bytes(request.response_bytes)
    );
    Cell::figure(
        text,
        format::number(request.request_bytes + request.response_bytes),
    )
}

/// `14:05:09.123`, by the reader's clock.
pub fn time_of(request: &KeptRequest) -> String {
    let Some(at) = clock::parse(&request.started) else {
        return request.started.clone();
    };
    format!(
        "{}.{:03.0}",
        clock::time_of_day(at, true),
        (at.rem_euclid(1000.0)).floor()
    )
}

/// Status, or gRPC status where there is one.
pub fn code_text(request: &KeptRequest) -> String {
    match (request.grpc_status, request.code) {
        (Some(status), _) => format!("gRPC {status}"),
        (None, 0) if request.protocol == "tcp" => "TCP".to_owned(),
        (None, 0) => t().no_answer.to_owned(),
        (None, code) => code.to_string(),
    }
}

/// Style class of a status.
pub fn code_class(request: &KeptRequest) -> &'static str {
    match (request.grpc_status, request.code) {
        (Some(0), _) => "ok",
        (Some(_), _) => "fail",
        (None, 0) if request.protocol == "tcp" && request.reason != "error" => "ok",
        (None, 0 | 500..) => "fail",
        (None, 400..) => "warn",
        (None, 200..300) => "ok",
        (None, _) => "info",
    }
}

fn code_cell(request: &KeptRequest) -> Cell {
    Cell::chip(code_class(request), code_text(request))
        .valued(Some(f64::from(request.code)))
        .titled(request.details.clone())
}

fn flags_cell(request: &KeptRequest) -> Cell {
    if matches!(request.flags.as_str(), "-" | "") {
        Cell::soft("–")
    } else {
        Cell {
            look: Look::Chip("warn"),
            ..Cell::text(request.flags.clone()).titled(request.details.clone())
        }
    }
}

fn rule_cell(request: &KeptRequest) -> Cell {
    if request.virtual_service.is_empty() {
        return Cell::soft(t().default_route);
    }
    let parts = [&request.route, &request.match_name];
    let named: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let text = if named.is_empty() {
        request.virtual_service.clone()
    } else {
        named.join(" › ")
    };
    Cell::text(text).titled(request.virtual_service.clone())
}

/// Why a request was kept, in words.
pub fn reason_word(reason: &str) -> &str {
    let w = words();
    match reason {
        "error" => w.reason_error,
        "slow" => w.reason_slow,
        "sample" => w.reason_sample,
        other => other,
    }
}

/// Which side's proxy kept it, in words.
pub fn reporter_word(reporter: &str) -> &str {
    let w = words();
    match reporter {
        "source" => w.reporter_source,
        "destination" => w.reporter_destination,
        other => other,
    }
}

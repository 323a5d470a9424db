//! Kept requests as OTLP logs, both ways.

use mesh_model::edge::Reporter;
use mesh_model::record::{KeptReason, KeptRequest};
use mesh_model::workload::Workload;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};

use super::attributes::{
    attribute, count, integer, invalid, of_series, parsed, resource, series_key, text, valued,
};
use super::trace::{span_id, trace_id};
use super::{Invalid, MAX_HEADERS, MAX_REQUESTS, MAX_VALUE_BYTES, SCOPE};
use crate::{access_log as keys, requests as own};

pub(super) fn request(requests: &[KeptRequest]) -> ExportLogsServiceRequest {
    let mut groups: Vec<(&KeptRequest, Vec<LogRecord>)> = Vec::new();
    for request in requests {
        let record = encode(request);
        match groups.last_mut() {
            Some((first, list)) if first.proxy == request.proxy && reporter(first) == reporter(request) => {
                list.push(record);
            }
            _ => groups.push((request, vec![record])),
        }
    }
    ExportLogsServiceRequest {
        resource_logs: groups
            .into_iter()
            .map(|(first, log_records)| ResourceLogs {
                resource: Some(resource(reporter(first), &first.proxy)),
                scope_logs: vec![ScopeLogs {
                    scope: Some(InstrumentationScope {
                        name: SCOPE.into(),
                        ..InstrumentationScope::default()
                    }),
                    log_records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            })
            .collect(),
    }
}

/// The workload whose proxy kept it.
fn reporter(request: &KeptRequest) -> &Workload {
    match request.key.reporter {
        Reporter::Source => &request.key.source,
        Reporter::Destination => &request.key.destination,
    }
}

fn encode(request: &KeptRequest) -> LogRecord {
    let severity = match request.reason {
        KeptReason::Error => SeverityNumber::Error,
        KeptReason::Slow => SeverityNumber::Warn,
        KeptReason::Sample => SeverityNumber::Info,
    };
    let summary = format!(
        "{} {} {}",
        request.method, request.path, request.key.response_code
    );
    LogRecord {
        time_unix_nano: request.started_ns,
        observed_time_unix_nano: request.started_ns.saturating_add(request.duration_ns),
        severity_number: severity as i32,
        body: Some(AnyValue {
            value: Some(Value::StringValue(summary)),
        }),
        attributes: attributes(request),
        trace_id: request.trace_id.0.to_vec(),
        span_id: request.span_id.0.to_vec(),
        ..LogRecord::default()
    }
}

fn attributes(request: &KeptRequest) -> Vec<KeyValue> {
    let mut list = of_series(&request.key);
    list.push(attribute(own::REASON, request.reason.as_str()));
    list.push(integer(own::DURATION_NS, request.duration_ns));
    for (name, value) in [
        (keys::ATTEMPTS, u64::from(request.attempts)),
        (keys::BYTES_RECEIVED, request.request_bytes),
        (keys::BYTES_SENT, request.response_bytes),
    ] {
        list.push(integer(name, value));
    }
    for (name, value) in [
        (keys::METHOD, &request.method),
        (keys::AUTHORITY, &request.authority),
        (keys::PATH, &request.path),
        (keys::PROTOCOL, &request.http_version),
        (keys::USER_AGENT, &request.user_agent),
        (keys::REQUEST_ID, &request.request_id),
        (keys::RESPONSE_CODE_DETAILS, &request.details),
        (keys::UPSTREAM_HOST, &request.upstream_host),
        (keys::UPSTREAM_CLUSTER, &request.upstream_cluster),
        (keys::DOWNSTREAM_REMOTE_ADDRESS, &request.downstream_remote),
    ] {
        if !value.is_empty() {
            list.push(attribute(name, value));
        }
    }
    if !request.headers.is_empty() {
        let line = |(name, value): &(String, String)| AnyValue {
            value: Some(Value::StringValue(format!("{name}: {value}"))),
        };
        let values = request.headers.iter().map(line).collect();
        list.push(valued(own::HEADERS, Value::ArrayValue(ArrayValue { values })));
    }
    list
}

pub(super) fn requests(request: &ExportLogsServiceRequest, proxy: &str) -> Result<Vec<KeptRequest>, Invalid> {
    if proxy.is_empty() || proxy.len() > MAX_VALUE_BYTES {
        return Err(invalid("metadata", "the proxy's id is empty or too long"));
    }
    let records = request
        .resource_logs
        .iter()
        .flat_map(|resource| &resource.scope_logs)
        .flat_map(|scope| &scope.log_records);
    let mut found = Vec::new();
    for (at, record) in records.enumerate() {
        if at >= MAX_REQUESTS {
            return Err(invalid("log_records", format!("more than {MAX_REQUESTS}")));
        }
        found.push(decode(record, proxy).map_err(|e| e.within(&format!("log_records[{at}]")))?);
    }
    Ok(found)
}

fn decode(record: &LogRecord, proxy: &str) -> Result<KeptRequest, Invalid> {
    if record.time_unix_nano == 0 {
        return Err(invalid("time_unix_nano", "must be set"));
    }
    let mut kept = KeptRequest {
        trace_id: trace_id(&record.trace_id)?,
        span_id: span_id("span_id", &record.span_id)?,
        proxy: proxy.to_owned(),
        started_ns: record.time_unix_nano,
        duration_ns: 0,
        // A string attribute that is none of ours belongs to the series.
        key: series_key(record.attributes.iter().filter(|a| !is_own(&a.key)))?,
        reason: KeptReason::Sample,
        method: String::new(),
        authority: String::new(),
        path: String::new(),
        http_version: String::new(),
        user_agent: String::new(),
        request_id: String::new(),
        details: String::new(),
        upstream_host: String::new(),
        upstream_cluster: String::new(),
        downstream_remote: String::new(),
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        headers: Vec::new(),
    };
    let mut reason = None;
    for attribute in record.attributes.iter().filter(|a| is_own(&a.key)) {
        match attribute.key.as_str() {
            own::REASON => reason = Some(parsed(own::REASON, text(attribute)?, KeptReason::parse)?),
            own::DURATION_NS => kept.duration_ns = count(attribute)?,
            own::HEADERS => kept.headers = headers(attribute)?,
            keys::ATTEMPTS => {
                kept.attempts =
                    u32::try_from(count(attribute)?).map_err(|_| invalid(keys::ATTEMPTS, "is too large"))?;
            }
            keys::BYTES_RECEIVED => kept.request_bytes = count(attribute)?,
            keys::BYTES_SENT => kept.response_bytes = count(attribute)?,
            name => {
                if let Some(slot) = slot(&mut kept, name) {
                    text(attribute)?.clone_into(slot);
                }
            }
        }
    }
    kept.reason = reason.ok_or_else(|| invalid(own::REASON, "is missing"))?;
    Ok(kept)
}

fn is_own(name: &str) -> bool {
    matches!(
        name,
        own::REASON
            | own::DURATION_NS
            | own::HEADERS
            | keys::ATTEMPTS
            | keys::BYTES_RECEIVED
            | keys::BYTES_SENT
            | keys::METHOD
            | keys::AUTHORITY
            | keys::PATH
            | keys::PROTOCOL
            | keys::USER_AGENT
            | keys::REQUEST_ID
            | keys::RESPONSE_CODE_DETAILS
            | keys::UPSTREAM_HOST
            | keys::UPSTREAM_CLUSTER
            | keys::DOWNSTREAM_REMOTE_ADDRESS
    )
}

fn slot<'k>(kept: &'k mut KeptRequest, name: &str) -> Option<&'k mut String> {
    Some(match name {
        keys::METHOD => &mut kept.method,
        keys::AUTHORITY => &mut kept.authority,
        keys::PATH => &mut kept.path,
        keys::PROTOCOL => &mut kept.http_version,
        keys::USER_AGENT => &mut kept.user_agent,
        keys::REQUEST_ID => &mut kept.request_id,
        keys::RESPONSE_CODE_DETAILS => &mut kept.details,
        keys::UPSTREAM_HOST => &mut kept.upstream_host,
        keys::UPSTREAM_CLUSTER => &mut kept.upstream_cluster,
        keys::DOWNSTREAM_REMOTE_ADDRESS => &mut kept.downstream_remote,
        _ => return None,
    })
}

fn headers(attribute: &KeyValue) -> Result<Vec<(String, String)>, Invalid> {
    let Some(Value::ArrayValue(list)) = attribute.value.as_ref().and_then(|v| v.value.as_ref()) else {
        return Err(invalid(own::HEADERS, "must be a list"));
    };
    if list.values.len() > MAX_HEADERS {
        return Err(invalid(own::HEADERS, format!("more than {MAX_HEADERS}")));
    }
    let line = |value: &AnyValue| match &value.value {
        Some(Value::StringValue(line)) if line.len() <= MAX_VALUE_BYTES => line
            .split_once(": ")
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        _ => None,
    };
    list.values
        .iter()
        .map(|value| {
            line(value).ok_or_else(|| invalid(own::HEADERS, "must hold `name: value` of bounded length"))
        })
        .collect()
}

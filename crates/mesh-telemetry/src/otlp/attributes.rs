//! Attributes of series, spans and requests, both ways.

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, UNKNOWN, Workload};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{Invalid, MAX_VALUE_BYTES};
use crate::{labels, spans};

/// What tells a series from others; `unknown` and empty values are left out.
pub(super) fn of_series(key: &SeriesKey) -> Vec<KeyValue> {
    let mut list = Vec::with_capacity(26);
    crate::series::each_standard_label(key, &mut |name, value| {
        let left_out = match name {
            // `app` and `version` are the canonical names here; sending them once is enough.
            labels::SOURCE_APP
            | labels::SOURCE_VERSION
            | labels::DESTINATION_APP
            | labels::DESTINATION_VERSION => true,
            labels::GRPC_RESPONSE_STATUS => value.is_empty(),
            _ => value == UNKNOWN,
        };
        if !left_out {
            list.push(attribute(name, value));
        }
    });
    let tcp = key.protocol == RequestProtocol::Tcp;
    let code = if tcp && key.response_code != 0 {
        key.response_code.to_string()
    } else {
        String::new()
    };
    let status = key
        .grpc_status
        .filter(|_| tcp)
        .map(|s| s.to_string())
        .unwrap_or_default();
    for (name, value) in [
        (labels::RESPONSE_CODE, code.as_str()),
        (labels::GRPC_RESPONSE_STATUS, status.as_str()),
        (labels::VIRTUAL_SERVICE, key.origin.virtual_service.as_str()),
        (labels::ROUTE, key.origin.route.as_str()),
        (labels::MATCH, key.origin.match_name.as_str()),
        (labels::ROUTE_REVISION, key.origin.revision.as_str()),
        (labels::MUTUAL_TLS, if key.mutual_tls { "true" } else { "" }),
    ] {
        if !value.is_empty() {
            list.push(attribute(name, value));
        }
    }
    list
}

/// A string attribute.
pub(super) fn attribute(name: &str, value: &str) -> KeyValue {
    valued(name, Value::StringValue(value.into()))
}

/// A series of its attributes; unknown ones are ignored.
pub(super) fn series_key<'a>(
    attributes: impl IntoIterator<Item = &'a KeyValue>,
) -> Result<SeriesKey, Invalid> {
    let mut key = SeriesKey {
        reporter: Reporter::Source,
        source: Workload::unknown(),
        source_principal: UNKNOWN.into(),
        service: ServiceName::unknown(),
        destination: Workload::unknown(),
        destination_principal: UNKNOWN.into(),
        protocol: RequestProtocol::Http,
        response_code: 0,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: false,
        origin: RouteOrigin::default(),
    };
    let mut reporter = None;
    let mut protocol = None;
    for attribute in attributes {
        let name = attribute.key.as_str();
        let Some(slot) = text_slot(&mut key, name) else {
            let value = text(attribute)?;
            match name {
                labels::REPORTER => reporter = Some(parsed(name, value, Reporter::parse)?),
                labels::REQUEST_PROTOCOL => protocol = Some(parsed(name, value, RequestProtocol::parse)?),
                labels::RESPONSE_CODE => key.response_code = parsed(name, value, |v| v.parse().ok())?,
                labels::GRPC_RESPONSE_STATUS => {
                    key.grpc_status = Some(parsed(name, value, |v| v.parse().ok())?);
                }
                labels::RESPONSE_FLAGS => key.flags = parsed(name, value, ResponseFlags::parse)?,
                labels::MUTUAL_TLS => key.mutual_tls = parsed(name, value, |v| v.parse().ok())?,
                _ => {}
            }
            continue;
        };
        text(attribute)?.clone_into(slot);
    }
    key.reporter = reporter.ok_or_else(|| invalid(labels::REPORTER, "is missing"))?;
    key.protocol = protocol.ok_or_else(|| invalid(labels::REQUEST_PROTOCOL, "is missing"))?;
    Ok(key)
}

fn text_slot<'k>(key: &'k mut SeriesKey, name: &str) -> Option<&'k mut String> {
    Some(match name {
        labels::SOURCE_WORKLOAD => &mut key.source.name,
        labels::SOURCE_WORKLOAD_NAMESPACE => &mut key.source.namespace,
        labels::SOURCE_CANONICAL_SERVICE => &mut key.source.app,
        labels::SOURCE_CANONICAL_REVISION => &mut key.source.version,
        labels::SOURCE_CLUSTER => &mut key.source.cluster,
        labels::SOURCE_PRINCIPAL => &mut key.source_principal,
        labels::DESTINATION_WORKLOAD => &mut key.destination.name,
        labels::DESTINATION_WORKLOAD_NAMESPACE => &mut key.destination.namespace,
        labels::DESTINATION_CANONICAL_SERVICE => &mut key.destination.app,
        labels::DESTINATION_CANONICAL_REVISION => &mut key.destination.version,
        labels::DESTINATION_CLUSTER => &mut key.destination.cluster,
        labels::DESTINATION_PRINCIPAL => &mut key.destination_principal,
        labels::DESTINATION_SERVICE => &mut key.service.host,
        labels::DESTINATION_SERVICE_NAME => &mut key.service.name,
        labels::DESTINATION_SERVICE_NAMESPACE => &mut key.service.namespace,
        labels::VIRTUAL_SERVICE => &mut key.origin.virtual_service,
        labels::ROUTE => &mut key.origin.route,
        labels::MATCH => &mut key.origin.match_name,
        labels::ROUTE_REVISION => &mut key.origin.revision,
        _ => return None,
    })
}

/// A string of bounded length.
pub(super) fn text(attribute: &KeyValue) -> Result<&str, Invalid> {
    match attribute.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) if text.len() <= MAX_VALUE_BYTES => Ok(text),
        Some(Value::StringValue(_)) => Err(invalid(
            &attribute.key,
            format!("is longer than {MAX_VALUE_BYTES} bytes"),
        )),
        _ => Err(invalid(&attribute.key, "must be a string")),
    }
}

/// A value of a closed set.
pub(super) fn parsed<T>(name: &str, value: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Invalid> {
    parse(value).ok_or_else(|| invalid(name, format!("{value:?} is not a value of it")))
}

/// A refusal.
pub(super) fn invalid(path: &str, reason: impl Into<String>) -> Invalid {
    Invalid {
        path: path.into(),
        reason: reason.into(),
    }
}

/// An attribute of any type.
pub(super) fn valued(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// A count; OTLP has signed integers only.
pub(super) fn integer(name: &str, value: u64) -> KeyValue {
    valued(name, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// Reads a count.
pub(super) fn count(attribute: &KeyValue) -> Result<u64, Invalid> {
    match attribute.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::IntValue(value)) => {
            u64::try_from(*value).map_err(|_| invalid(&attribute.key, "must not be negative"))
        }
        _ => Err(invalid(&attribute.key, "must be an integer")),
    }
}

/// The resource of a workload and its proxy.
pub(super) fn resource(workload: &Workload, proxy: &str) -> Resource {
    let service = format!("{}.{}", workload.app, workload.namespace);
    Resource {
        attributes: vec![
            attribute(spans::SERVICE_NAME, &service),
            attribute(spans::SERVICE_VERSION, &workload.version),
            attribute(spans::SERVICE_INSTANCE_ID, proxy),
            attribute(spans::K8S_NAMESPACE_NAME, &workload.namespace),
            attribute(spans::K8S_WORKLOAD_NAME, &workload.name),
            attribute(spans::K8S_CLUSTER_NAME, &workload.cluster),
            attribute(spans::ISTIO_CANONICAL_SERVICE, &workload.app),
        ],
        ..Resource::default()
    }
}

/// The workload of a resource.
pub(super) fn workload(resource: Option<&Resource>) -> Result<Workload, Invalid> {
    let mut workload = Workload::unknown();
    for attribute in resource.map(|r| r.attributes.as_slice()).unwrap_or_default() {
        let slot = match attribute.key.as_str() {
            spans::SERVICE_VERSION => &mut workload.version,
            spans::K8S_NAMESPACE_NAME => &mut workload.namespace,
            spans::K8S_WORKLOAD_NAME => &mut workload.name,
            spans::K8S_CLUSTER_NAME => &mut workload.cluster,
            spans::ISTIO_CANONICAL_SERVICE => &mut workload.app,
            _ => continue,
        };
        text(attribute)?.clone_into(slot);
    }
    Ok(workload)
}

//! Answers: JSON or YAML, whole objects, tables or only their metadata.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::object::remove;
use crate::registry::Resource;
use crate::status::Refusal;

/// A response body.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// In which form objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    #[default]
    Full,
    Table,
    Partial,
}

/// What the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) yaml: bool,
    /// Aggregated discovery, with the version it is wanted in.
    pub(crate) aggregated: Option<&'static str>,
}

impl Accept {
    /// Takes the first form that this server can give.
    pub(crate) fn parse(header: Option<&str>) -> Result<Self, Refusal> {
        let header = header.unwrap_or("*/*");
        header.split(',').find_map(one).ok_or_else(|| {
            Refusal::not_acceptable(
                "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )
        })
    }
}

fn one(range: &str) -> Option<Accept> {
    let mut parts = range.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "*/*" | "application/*" | "" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let mut accept = Accept {
        yaml,
        ..Accept::default()
    };
    let (mut wanted, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => wanted = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    match (wanted, group, version) {
        ("", _, _) => {}
        ("Table", "meta.k8s.io", "v1") => accept.form = Form::Table,
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
            accept.form = Form::Partial
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => accept.aggregated = Some("v2"),
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => accept.aggregated = Some("v2beta1"),
        _ => return None,
    }
    Some(accept)
}

/// A response with a JSON (or YAML) body.
pub(crate) fn respond(code: u16, body: &Value, accept: Accept) -> Response<Body> {
    let (media, text) = match accept.yaml.then(|| serde_saphyr::to_string(body)) {
        Some(Ok(text)) => ("application/yaml", text),
        _ => {
            let mut text = body.to_string();
            text.push('\n');
            ("application/json", text)
        }
    };
    plain(code, media, text)
}

/// A response with a body of text.
pub(crate) fn plain(code: u16, media: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A refusal as a response.
pub(crate) fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = respond(refusal.code, &refusal.body(), Accept::default());
    if matches!(refusal.code, 429 | 504) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Adds `Warning` headers.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response
                .headers_mut()
                .append(HeaderName::from_static("warning"), value);
        }
    }
}

/// An object as it leaves through a version of its resource.
pub(crate) fn versioned(object: Value, resource: &Resource, version: &str) -> Value {
    let mut object = crate::kind::convert_out(object, resource);
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), resource.api_version(version).into());
        map.insert("kind".into(), resource.kind.into());
    }
    object
}

/// Only the metadata of an object.
pub(crate) fn partial(mut object: Value) -> Value {
    let metadata = remove(&mut object, "metadata").unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

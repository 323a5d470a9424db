//! What filters of access logs may ask of a line.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_model::expression::{ExpressionFacts, Value};
use mesh_model::request::RequestView as _;

use super::Line;

fn text(bytes: &[u8]) -> Option<Value> {
    Some(Value::Text(bytes.to_vec()))
}

/// Absent when empty.
fn some(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() { None } else { text(bytes) }
}

fn count(n: u64) -> Option<Value> {
    i64::try_from(n).ok().map(Value::Int)
}

fn address(at: Option<SocketAddr>) -> Option<Value> {
    text(at?.to_string().as_bytes())
}

fn port(at: Option<SocketAddr>) -> Option<Value> {
    count(u64::from(at?.port()))
}

impl Line<'_> {
    fn of_request(&self, name: &str, key: Option<&str>) -> Option<Value> {
        let header = |name: &str| text(self.request?.fields.get_named(name.as_bytes())?);
        match (name, key) {
            ("request.headers", Some(key)) => header(key),
            ("request.referer", None) => header("referer"),
            ("request.useragent", None) => header("user-agent"),
            ("request.id", None) => header("x-request-id"),
            ("request.duration", None) => Some(Value::Duration(Duration::from_millis(self.duration_ms))),
            ("request.size" | "request.total_size", None) => count(self.received),
            (_, Some(_)) => None,
            (name, None) => {
                let request = self.request?;
                match name {
                    "request.path" => text(request.target_bytes()),
                    "request.url_path" => text(request.path()),
                    "request.query" => text(request.query().unwrap_or_default()),
                    "request.host" => text(request.authority_bytes()),
                    "request.scheme" => text(request.scheme()),
                    "request.method" => text(request.method_bytes()),
                    "request.protocol" => text(request.version.as_str().as_bytes()),
                    _ => None,
                }
            }
        }
    }

    fn of_response(&self, name: &str, key: Option<&str>) -> Option<Value> {
        match (name, key) {
            ("response.headers", Some(key)) => text(self.response?.fields.get_named(key.as_bytes())?),
            ("response.code", None) => count(u64::from(self.status)).filter(|_| self.status != 0),
            ("response.code_details", None) => some(self.details.as_bytes()),
            ("response.flags", None) => count(u64::from(self.flags.bits())),
            ("response.size" | "response.total_size", None) => count(self.sent),
            ("response.grpc_status", None) => {
                let status = self.response?.fields.get_named(b"grpc-status")?;
                std::str::from_utf8(status).ok()?.parse().ok().map(Value::Int)
            }
            _ => None,
        }
    }
}

impl ExpressionFacts for Line<'_> {
    fn attribute(&self, name: &str, key: Option<&str>) -> Option<Value> {
        if name.starts_with("request.") {
            return self.of_request(name, key);
        }
        if name.starts_with("response.") {
            return self.of_response(name, key);
        }
        match name {
            "source.address" => address(Some(self.remote)),
            "source.port" => port(Some(self.remote)),
            "destination.address" => address(Some(self.local)),
            "destination.port" => port(Some(self.local)),
            "connection.mtls" => Some(Value::Bool(!self.peer.is_empty())),
            "connection.requested_server_name" => text(self.server_name.as_bytes()),
            "connection.uri_san_peer_certificate" => text(self.peer.as_bytes()),
            "connection.termination_details" => some(self.termination.as_bytes()),
            "upstream.address" => address(self.upstream),
            "upstream.port" => port(self.upstream),
            "xds.cluster_name" => some(self.cluster.as_bytes()),
            "xds.route_name" => text(self.route.as_bytes()),
            _ => None,
        }
    }
}

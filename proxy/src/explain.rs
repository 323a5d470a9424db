//! `/explain`: what this proxy would do with a request, by the configuration and the endpoints that it has now.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use hyper::StatusCode;
use mesh_model::cluster::{Cluster, Discovery, Endpoint};
use mesh_model::explain::{Answer as Explained, Live, Question, TokenAnswer};
use mesh_model::listener::Direction;
use mesh_model::request::TypedRequest;
use mesh_model::token::TokenRules;
use mesh_telemetry::explain::{Hop, hop};

use crate::codec::head::{Request, RequestRules, parse_request};
use crate::compile::Compiled;
use crate::runtime::{Node, NodeKind};
use crate::serve::{Answer, Asked};
use crate::walk::token;

/// Longest request that is explained.
const HEAD_MAX: usize = 64 * 1024;
/// Most headers of it.
const HEADERS_MAX: usize = 100;

/// What a running proxy knows beyond its configuration.
pub(crate) struct LiveState<'a> {
    /// Everything in force.
    pub(crate) compiled: &'a Compiled,
}

impl Live for LiveState<'_> {
    fn endpoints(&self, cluster: &Cluster) -> Option<Vec<(Endpoint, bool)>> {
        let entry = self.compiled.clusters.get(&cluster.name)?;
        if entry.config.discovery == Discovery::OriginalDestination {
            return None;
        }
        let set = entry.endpoints.load();
        let states = set.all.iter().map(|e| (e.endpoint.clone(), e.is_ejected()));
        Some(states.collect())
    }

    fn token(&self, rules: &TokenRules, request: &mut TypedRequest) -> TokenAnswer {
        match read(request) {
            Some(mut parsed) => token::explain(rules, &mut parsed, SystemTime::now(), |parsed| {
                *request = typed(parsed, request);
            }),
            None => TokenAnswer::Unknown,
        }
    }
}

/// The request as the codec reads it.
fn read(request: &TypedRequest) -> Option<Request> {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        request.method, request.target, request.authority
    );
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "host") {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let rules = RequestRules {
        kind: NodeKind::Sidecar,
        head_max: HEAD_MAX,
        fields_max: HEADERS_MAX,
        http_10: false,
    };
    let mut parsed = Request::default();
    match parse_request(text.as_bytes(), &rules, &mut parsed) {
        Ok(Some(_)) => Some(parsed),
        _ => None,
    }
}

fn typed(parsed: &Request, before: &TypedRequest) -> TypedRequest {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    TypedRequest {
        target: text(parsed.target_bytes()),
        headers: parsed
            .fields
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        ..before.clone()
    }
}

/// Reads a question and answers it; `explain` is the data plane's.
pub(crate) fn page(
    node: &Node,
    revision: Option<String>,
    asked: &Asked,
    explain: impl FnOnce(&Question) -> Option<Explained>,
) -> Answer {
    let question = match question(node, asked) {
        Ok(question) => question,
        Err(reason) => return Answer::text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    };
    let Some(explained) = explain(&question) else {
        return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "there is no configuration yet\n");
    };
    let side = match question.direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
        Direction::Unspecified => "gateway",
    };
    let about = Hop {
        proxy: node.id.clone(),
        workload: format!("{}/{}", node.workload.namespace, node.workload.name),
        side,
        revision: revision.unwrap_or_default(),
        from: String::new(),
    };
    Answer::json(&hop(&about, &explained))
}

fn parse<T: std::str::FromStr>(asked: &Asked, name: &str, example: &str) -> Result<Option<T>, String> {
    asked
        .parameter(name)
        .map(|text| text.parse().map_err(|_| format!("{name}={text:?}: {example}")))
        .transpose()
}

fn question(node: &Node, asked: &Asked) -> Result<Question, String> {
    let host = asked
        .parameter("host")
        .filter(|host| !host.is_empty() && !host.contains(['\r', '\n', ' ']))
        .ok_or("host: give the authority of the request, for example host=reviews:9080")?;
    let path = asked.parameter("path").unwrap_or("/");
    if !path.starts_with('/') || path.contains(['\r', '\n', ' ']) {
        return Err(format!("path={path:?}: must begin with / and have no spaces"));
    }
    let direction = match asked.parameter("direction") {
        Some("outbound") => Direction::Outbound,
        Some("inbound") => Direction::Inbound,
        Some("gateway") => Direction::Unspecified,
        None if node.kind == NodeKind::Edge => Direction::Unspecified,
        None => Direction::Outbound,
        Some(other) => return Err(format!("direction={other:?}: outbound, inbound or gateway")),
    };
    let port: Option<u16> = parse(asked, "port", "is a number below 65536")?;
    let in_host = mesh_model::route::split_port(host.as_bytes()).1;
    let address: Option<SocketAddr> = parse(asked, "address", "is IP:PORT")?;
    let destination = address.unwrap_or_else(|| {
        let port = port.or(in_host).unwrap_or(80);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
    });
    let principal = asked.parameter("principal").map(str::to_owned);
    let tls = parse(asked, "tls", "true or false")?.unwrap_or(principal.is_some());
    let protocols: &[&[u8]] = if principal.is_some() && direction == Direction::Inbound {
        &[b"istio-http/1.1", b"istio", b"http/1.1"]
    } else {
        &[b"http/1.1"]
    };
    Ok(Question {
        direction,
        destination,
        listener: asked.parameter("listener").map(str::to_owned),
        source: parse(asked, "source", "is an IP address")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        principal,
        tls,
        server_name: asked.parameter("sni").map(str::to_owned),
        protocols: protocols.iter().map(|p| p.to_vec()).collect(),
        from_gateway: asked.parameter("from_gateway") == Some("true"),
        edge: node.kind == NodeKind::Edge,
        request: TypedRequest {
            method: asked.parameter("method").unwrap_or("GET").to_owned(),
            scheme: asked.parameter("scheme").unwrap_or("http").to_owned(),
            authority: host.to_owned(),
            target: path.to_owned(),
            headers: headers(asked)?,
        },
    })
}

fn headers(asked: &Asked) -> Result<Vec<(String, String)>, String> {
    let given = asked.query.iter().filter(|(key, _)| key == "header");
    let read = given.map(|(_, text)| {
        let (name, value) = text
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains(' '))
            .ok_or_else(|| format!("header={text:?}: must be NAME: VALUE"))?;
        if value.contains(['\r', '\n']) {
            return Err(format!("header={text:?}: has a line break"));
        }
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let list: Result<Vec<_>, String> = read.collect();
    list.and_then(|list| {
        if list.len() > HEADERS_MAX {
            Err(format!("header: at most {HEADERS_MAX}"))
        } else {
            Ok(list)
        }
    })
}

/// The answer of the configuration in force.
pub(crate) fn explain(compiled: &Arc<Compiled>, question: &Question) -> Explained {
    let live = LiveState { compiled };
    mesh_model::explain::explain(&compiled.snapshot, question, &live)
}

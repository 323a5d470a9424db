//! `/api/explain`: what becomes of a request, from proxy to proxy, by the configuration that each was sent.

mod places;
mod question;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Json;
use mesh_api::explain::{Explanation, Hop, Outcome};
use mesh_model::explain::{Answer, AsConfigured, Ending, Forwarded, Question, explain};
use mesh_model::listener::Direction;
use mesh_model::request::TypedRequest;
use mesh_model::snapshot::Snapshot;
use mesh_telemetry::explain as shape;

use super::{Failure, Query};
use crate::proxies::Running;
use question::Wanted;

/// Hops that are followed: a gateway, a sidecar, a sidecar.
const HOPS: usize = 4;

pub(super) async fn page(
    State(query): State<Query>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Explanation>, Failure> {
    let wanted = Wanted::read(raw.as_deref().unwrap_or_default())?;
    let running = query.proxies.running();
    let walked = super::computed(move || walk(&wanted, &running)).await??;
    let mut explanation = walked.explanation;
    places::find(&query, &mut explanation.hops, &walked.answers).await;
    Ok(Json(explanation))
}

struct Walked {
    explanation: Explanation,
    answers: Vec<Answer>,
}

fn walk(wanted: &Wanted, running: &[Running]) -> Result<Walked, Failure> {
    let mut notes = Vec::new();
    let mut hops = Vec::new();
    let mut answers: Vec<Answer> = Vec::new();
    let first = first(wanted, running, &mut notes)?;
    let mut next = first;
    let mut from = wanted.from.clone().unwrap_or_default();
    let mut asked = wanted.request.clone();
    while let Some((proxy, question)) = next.take() {
        if answers.is_empty() {
            asked = question.request.clone();
        }
        let answer = explain(&snapshot(proxy)?, &question, &AsConfigured);
        hops.push(hop(proxy, &question, &from, &answer)?);
        // Beyond an inbound side there is the application itself.
        let onward = question.direction != Direction::Inbound && answer.outcome.action == Ending::Forward;
        if onward && hops.len() < HOPS {
            next = following(proxy, &answer, running, &mut notes);
        }
        from.clone_from(&proxy.workload);
        answers.push(answer);
    }
    let outcome = hops
        .last()
        .map(|hop: &Hop| hop.outcome.clone())
        .unwrap_or_else(|| Outcome {
            action: "unknown".into(),
            flags: "-".into(),
            summary: "no proxy of the mesh sees this request".into(),
            ..Outcome::default()
        });
    let request = shape::request(wanted.from.as_deref().unwrap_or_default(), &asked);
    Ok(Walked {
        explanation: Explanation {
            request: read(request)?,
            hops,
            outcome,
            notes,
        },
        answers,
    })
}

/// A JSON value as a type of the API.
fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn hop(proxy: &Running, question: &Question, from: &str, answer: &Answer) -> Result<Hop, Failure> {
    let about = shape::Hop {
        proxy: proxy.id.clone(),
        workload: proxy.workload.clone(),
        side: match question.direction {
            Direction::Outbound => "outbound",
            Direction::Inbound => "inbound",
            Direction::Unspecified => "gateway",
        },
        revision: proxy.published.revision.clone(),
        from: from.to_owned(),
    };
    read(shape::hop(&about, answer))
}

/// What the proxy was sent, as the proxy reads it.
fn snapshot(proxy: &Running) -> Result<Snapshot, Failure> {
    proxy.published.snapshot().map_err(|reason| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the configuration of {} cannot be read: {reason}", proxy.id),
        )
    })
}

fn question(wanted: &Wanted, proxy: &Running, direction: Direction) -> Question {
    Question {
        direction,
        destination: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), wanted.port),
        listener: None,
        source: if direction == Direction::Unspecified {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            proxy.address
        },
        principal: None,
        tls: wanted.request.scheme == "https",
        server_name: None,
        protocols: vec![b"http/1.1".to_vec()],
        from_gateway: false,
        edge: proxy.gateway,
        request: wanted.request.clone(),
    }
}

/// The proxy that meets the request first: the source's, the gateway that was named, or one that serves the host.
fn first<'r>(
    wanted: &Wanted,
    running: &'r [Running],
    notes: &mut Vec<String>,
) -> Result<Option<(&'r Running, Question)>, Failure> {
    let named = wanted.from.as_ref().or(wanted.gateway.as_ref());
    if let Some(name) = named {
        let proxy = running.iter().find(|proxy| proxy.is(name)).ok_or_else(|| {
            let known: Vec<&str> = running.iter().map(|proxy| proxy.workload.as_str()).collect();
            Failure::bad(
                format!("no connected proxy belongs to workload {name:?}"),
                &format!("name one of: {}", known.join(", ")),
            )
        })?;
        if proxy.gateway {
            return at_gateway(wanted, proxy).map(|question| Some((proxy, question)));
        }
        // TLS that an application speaks itself is opaque to its sidecar.
        let mut asked = question(wanted, proxy, Direction::Outbound);
        asked.tls = false;
        return Ok(Some((proxy, asked)));
    }
    let mut best: Option<(&Running, Question)> = None;
    for proxy in running.iter().filter(|proxy| proxy.gateway) {
        let question = at_gateway(wanted, proxy)?;
        let answer = explain(&snapshot(proxy)?, &question, &AsConfigured);
        if !matches!(answer.outcome.action, Ending::Refuse | Ending::Close) {
            return Ok(Some((proxy, question)));
        }
        best.get_or_insert((proxy, question));
    }
    if best.is_none() {
        notes.push(
            "no gateway is connected: say where the request comes from (from=NAMESPACE/WORKLOAD)".into(),
        );
    }
    Ok(best)
}

/// At a gateway the port is that of a server; the listener of that port, or of its only one.
fn at_gateway(wanted: &Wanted, proxy: &Running) -> Result<Question, Failure> {
    let mut question = question(wanted, proxy, Direction::Unspecified);
    let snapshot = snapshot(proxy)?;
    let of_port = snapshot
        .listeners
        .values()
        .find(|l| l.address.port() == wanted.port);
    let only = || {
        snapshot
            .listeners
            .values()
            .next()
            .filter(|_| snapshot.listeners.len() == 1)
    };
    if let Some(listener) = of_port.or_else(only) {
        question.destination = listener.address;
        question.listener = Some(listener.name.clone());
    }
    if question.tls {
        let host = mesh_model::route::host_of(question.request.authority.as_bytes());
        question.server_name = Some(String::from_utf8_lossy(host).into_owned());
    }
    Ok(question)
}

/// The proxy of the endpoint that gets the request, and what it is asked.
fn following<'r>(
    sender: &Running,
    answer: &Answer,
    running: &'r [Running],
    notes: &mut Vec<String>,
) -> Option<(&'r Running, Question)> {
    let forwarded: &Forwarded = answer.forwarded.as_ref()?;
    let sidecars: BTreeMap<IpAddr, &Running> = running
        .iter()
        .filter(|proxy| !proxy.gateway)
        .map(|proxy| (proxy.address, proxy))
        .collect();
    let reached = forwarded.endpoints.iter().find_map(|facts| {
        let proxy = sidecars.get(&facts.endpoint.address.ip())?;
        Some((facts, *proxy))
    });
    let Some((facts, proxy)) = reached else {
        let endpoint = forwarded.endpoints.first()?;
        notes.push(format!(
            "no connected proxy stands before {}: what it does with the request is not known here",
            endpoint.endpoint.address
        ));
        return None;
    };
    if answer.outcome.clusters.len() > 1 || forwarded.endpoints.len() > 1 {
        notes.push(format!(
            "several endpoints may get it; followed to {} of {}",
            facts.endpoint.address, proxy.workload
        ));
    }
    let mutual_tls = facts.mutual_tls;
    let protocols: &[&[u8]] = if mutual_tls {
        &[b"istio-http/1.1", b"istio", b"http/1.1"]
    } else {
        &[b"http/1.1"]
    };
    let question = Question {
        direction: Direction::Inbound,
        destination: facts.endpoint.address,
        listener: None,
        source: sender.address,
        principal: sender.identity.clone().filter(|_| mutual_tls),
        tls: mutual_tls,
        server_name: forwarded.server_name.clone().filter(|_| mutual_tls),
        protocols: protocols.iter().map(|p| p.to_vec()).collect(),
        from_gateway: sender.gateway,
        edge: proxy.gateway,
        request: TypedRequest {
            scheme: "http".into(),
            ..forwarded.request.clone()
        },
    };
    Some((proxy, question))
}

//! Which listener and which chain.

use std::net::SocketAddr;
use std::sync::Arc;

use super::policies::authorize;
use super::{Candidate, End, Ending, Step, Walk, http};
use crate::authorization::AccessFacts;
use crate::cluster::RootSource;
use crate::flags::ResponseFlags;
use crate::listener::{
    ChosenChain, ConnectionFacts, ConnectionService, Direction, FilterChain, Listener, RouteSource, TcpProxy,
};
use crate::why::{Considered, Notes};

/// Names that Istio gives to the listeners behind which capture takes everything else.
const VIRTUAL: [&str; 2] = ["virtualOutbound", "virtualInbound"];

pub(super) fn serve(walk: &mut Walk<'_>) -> End {
    let Some(listener) = listener(walk) else {
        return End::new(
            Ending::Close,
            None,
            "no_listener",
            "no listener of this proxy takes the connection",
        );
    };
    let Some(chain) = chain(walk, &listener) else {
        return End {
            flags: ResponseFlags::NO_ROUTE,
            ..End::new(
                Ending::Close,
                None,
                "filter_chain_not_found",
                "the connection is closed: no filter chain serves it",
            )
        };
    };
    if let Some(end) = handshake(walk, &chain) {
        return end;
    }
    match &chain.service {
        ConnectionService::Http(config) => http::serve(walk, config, &chain),
        ConnectionService::Tcp(tcp) => tunnel(walk, tcp),
    }
}

fn listener(walk: &mut Walk<'_>) -> Option<Arc<Listener>> {
    let question = walk.question;
    let all: Vec<&Arc<Listener>> = walk
        .snapshot
        .listeners
        .values()
        .filter(|listener| {
            listener.direction == question.direction || question.listener.as_ref() == Some(&listener.name)
        })
        .collect();
    let ranked = all
        .iter()
        .enumerate()
        .filter_map(|(position, listener)| {
            let rank = rank(listener, question.destination, question.listener.as_deref())?;
            Some((rank, std::cmp::Reverse(position)))
        })
        .max();
    let winner = ranked.map(|(_, std::cmp::Reverse(position))| position);
    let candidates = all.iter().enumerate().map(|(position, listener)| {
        let own = rank(listener, question.destination, question.listener.as_deref());
        let won = winner == Some(position);
        Candidate {
            name: listener.name.clone(),
            summary: listener.address.to_string(),
            won,
            reason: match (own, won) {
                (Some(Fit::Named), true) => "it was asked for".into(),
                (Some(Fit::Address), true) => format!("listens on {}", question.destination),
                (Some(Fit::Port), true) => {
                    format!("listens on port {} of every address", question.destination.port())
                }
                (Some(Fit::Proxy), true) => "applications send their requests to this HTTP proxy port".into(),
                (Some(Fit::Virtual), true) => "takes what no other listener takes".into(),
                (Some(_), false) => "would take it, but another listener is closer".into(),
                (None, _) => format!("listens on {}", listener.address),
            },
            ..Candidate::default()
        }
    });
    let candidates = candidates.collect();
    let chosen = winner
        .and_then(|position| all.get(position))
        .map(|l| Arc::clone(l));
    let (result, reason) = match &chosen {
        Some(listener) => (
            listener.name.clone(),
            format!("the connection to {} arrives at it", question.destination),
        ),
        None => (
            "none".to_owned(),
            format!("nothing listens for {} on this side", question.destination),
        ),
    };
    walk.decided(Step::Listener, result, reason, candidates);
    chosen
}

/// How a listener takes a connection, closest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Virtual,
    Proxy,
    Port,
    Address,
    Named,
}

fn rank(listener: &Listener, destination: SocketAddr, named: Option<&str>) -> Option<Fit> {
    if let Some(named) = named {
        return (listener.name == named).then_some(Fit::Named);
    }
    if listener.address == destination {
        return Some(Fit::Address);
    }
    let is_proxy = |chain: &FilterChain| matches!(&chain.service, ConnectionService::Http(http) if matches!(http.routes, RouteSource::ByAuthorityPort { .. }));
    if listener.direction == Direction::Outbound
        && listener
            .chains
            .iter()
            .chain(&listener.default_chain)
            .any(is_proxy)
    {
        return Some(Fit::Proxy);
    }
    if listener.address.ip().is_unspecified() && listener.address.port() == destination.port() {
        return Some(Fit::Port);
    }
    VIRTUAL.contains(&listener.name.as_str()).then_some(Fit::Virtual)
}

fn chain(walk: &mut Walk<'_>, listener: &Listener) -> Option<FilterChain> {
    let question = walk.question;
    let facts = ConnectionFacts {
        tls: question.tls,
        server_name: question.server_name.as_deref(),
        protocols: &question.protocols,
        destination: question.destination,
    };
    let mut notes = Notes::default();
    let chosen = listener.choose_noting(&facts, &mut notes);
    let at = |position: usize| listener.chains.get(position).or(listener.default_chain.as_ref());
    let candidates = notes.0.into_iter().filter_map(|note| {
        let chain = at(note.position)?;
        Some(candidate(chain_name(chain, note.position), String::new(), note))
    });
    let candidates = candidates.collect();
    let chain = match chosen {
        Some(ChosenChain::Chain(position)) => listener.chains.get(position),
        Some(ChosenChain::Default) => listener.default_chain.as_ref(),
        None => None,
    };
    let position = listener
        .chains
        .iter()
        .position(|own| chain.is_some_and(|chain| std::ptr::eq(own, chain)));
    let result = chain.map_or_else(
        || "none".to_owned(),
        |chain| chain_name(chain, position.unwrap_or(listener.chains.len())),
    );
    let how = if question.tls { "TLS" } else { "plaintext" };
    walk.decided(
        Step::Chain,
        result,
        match chain {
            Some(_) => format!("the closest chain for {how}"),
            None => format!("no chain takes {how} like this"),
        },
        candidates,
    );
    chain.cloned()
}

fn chain_name(chain: &FilterChain, position: usize) -> String {
    if chain.name.is_empty() {
        position.to_string()
    } else {
        chain.name.clone()
    }
}

/// A candidate made of a note.
pub(super) fn candidate(name: String, summary: String, note: Considered) -> Candidate {
    Candidate {
        name,
        summary,
        won: note.won,
        reason: note.reason,
        ..Candidate::default()
    }
}

/// Why the handshake of a chain fails, if it does.
fn handshake(walk: &mut Walk<'_>, chain: &FilterChain) -> Option<End> {
    let question = walk.question;
    let tls = chain.tls.as_ref()?;
    let reason = if !question.tls {
        "the chain ends TLS and the client speaks plaintext"
    } else if tls.require_client_certificate
        && tls.validation.roots != RootSource::None
        && question.principal.is_none()
    {
        "the chain asks for a client certificate and there is none"
    } else {
        return None;
    };
    if let Some(last) = walk.decisions.last_mut() {
        last.reason = reason.to_owned();
    }
    Some(End::new(
        Ending::Close,
        None,
        "tls_handshake_failed",
        format!("the handshake fails: {reason}"),
    ))
}

fn tunnel(walk: &mut Walk<'_>, tcp: &TcpProxy) -> End {
    let question = walk.question;
    let facts = AccessFacts {
        request: None,
        principal: question.principal.as_deref(),
        source: question.source,
        remote: question.source,
        destination: question.destination,
        server_name: question.server_name.as_deref(),
        claims: None,
    };
    if let Some(details) = authorize(walk, &tcp.policies, &facts) {
        return End::new(Ending::Close, None, &details, "a policy refuses the connection");
    }
    if let Some(origin) = &tcp.origin {
        walk.route.clone_from(&origin.route);
    }
    let total: f64 = tcp.clusters.iter().map(|(_, weight)| f64::from(*weight)).sum();
    for (name, weight) in &tcp.clusters {
        let percent = if tcp.clusters.len() == 1 {
            100.0
        } else {
            f64::from(*weight) * 100.0 / total.max(1.0)
        };
        walk.clusters.push((name.clone(), percent));
    }
    let names: Vec<&str> = tcp.clusters.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    walk.decided(
        Step::Destination,
        names.clone(),
        "opaque bytes: no request is read, no route chosen",
        Vec::new(),
    );
    End::new(
        Ending::Tunnel,
        None,
        "",
        format!("the bytes are passed on to {names}"),
    )
}

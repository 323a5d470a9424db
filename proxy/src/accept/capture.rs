//! CONNECT at an application's HTTP proxy port: what is inside is served as if it had been captured on its way to the
//! authority, by the same listeners and chains.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use mesh_model::route::split_port;

use super::{Arrived, serve_arrived};
use crate::compile::{ListenerEntry, Routes};
use crate::http::Context;
use crate::wire::{Stream, Wire};
use crate::worker::{Registered, View};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Answers 200 and serves what follows; `false`: the authority cannot be served, nothing was answered.
pub(crate) async fn open(
    context: &Context,
    mut wire: Wire,
    authority: &[u8],
    registered: Registered,
) -> Result<(), (Wire, Registered)> {
    let Some(target) = target(context, authority).await else {
        return Err((wire, registered));
    };
    wire.output().extend_from_slice(ACCEPTED);
    if poll_fn(|cx| wire.poll_flush(cx)).await.is_err() {
        return Ok(());
    }
    let read = wire.input().to_vec();
    let Stream::Tcp(socket) = std::mem::replace(&mut wire.stream, Stream::None) else {
        return Ok(());
    };
    let arrived = Arrived {
        worker: Rc::clone(&context.worker),
        entry: target.entry,
        socket,
        read,
        local: target.local,
        remote: context.downstream.remote,
        registered,
        captured: Some(target.port),
        destination: None,
        not_http: target.not_http,
    };
    // A task of its own: this one belongs to the connection as the proxy port saw it.
    tokio::task::spawn_local(serve_arrived(arrived));
    Ok(())
}

struct Target {
    entry: Arc<ListenerEntry>,
    local: SocketAddr,
    port: u16,
    /// Serves what is no HTTP although the port is declared as such.
    not_http: Option<Arc<ListenerEntry>>,
}

async fn target(context: &Context, authority: &[u8]) -> Option<Target> {
    let Routes::ByPort {
        tables, listeners, ..
    } = &context.http.routes
    else {
        return None;
    };
    let (host, port) = split_port(authority);
    let port = port?;
    let host = std::str::from_utf8(host)
        .ok()?
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let view: &View = &context.view;
    let named = |name: &String| view.compiled.listeners.get(name).cloned();
    if let Some(entry) = listener_of(listeners, &host, port).and_then(named) {
        let local = entry.listener.address;
        return Some(Target {
            entry,
            local,
            port,
            not_http: None,
        });
    }
    let rest = listeners.get("*").and_then(named)?;
    let http = tables.contains_key(&port);
    let literal = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let local = match literal.parse() {
        Ok(ip) => SocketAddr::new(ip, port),
        // The name stays in the requests; nothing is resolved for them.
        Err(_) if http => context.downstream.local,
        Err(_) => tokio::net::lookup_host((host.as_str(), port))
            .await
            .ok()?
            .next()?,
    };
    // A connection that would come back here is a loop.
    if !http && view.compiled.bound.contains_key(&local) {
        return None;
    }
    if http {
        let own = view.compiled.listeners.get(&context.downstream.listener)?;
        return Some(Target {
            entry: Arc::clone(own),
            local,
            port,
            not_http: Some(rest),
        });
    }
    Some(Target {
        entry: rest,
        local,
        port,
        not_http: None,
    })
}

/// By the exact authority, then by the wildcards that cover it, the longest first.
fn listener_of<'a>(
    listeners: &'a std::collections::BTreeMap<String, String>,
    host: &str,
    port: u16,
) -> Option<&'a String> {
    if let Some(found) = listeners.get(&format!("{host}:{port}")) {
        return Some(found);
    }
    let mut rest = host;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(found) = listeners.get(&format!("*.{parent}:{port}")) {
            return Some(found);
        }
        rest = parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::listener_of;

    #[test]
    fn the_longest_wildcard_serves() {
        let listeners = ["db:5432", "*.example.com:443", "*.a.example.com:443", "*"]
            .into_iter()
            .map(|at| (at.to_owned(), at.to_owned()))
            .collect();
        for (host, port, expected) in [
            ("db", 5432, Some("db:5432")),
            ("db", 5433, None),
            ("x.example.com", 443, Some("*.example.com:443")),
            ("x.a.example.com", 443, Some("*.a.example.com:443")),
            ("example.com", 443, None),
            ("x.example.com", 80, None),
        ] {
            let found = listener_of(&listeners, host, port).map(String::as_str);
            assert_eq!(found, expected, "{host}:{port}");
        }
    }
}

//! A step's request as this mesh of plain processes sends it.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::observed::case::{Role, Step};
use crate::observed::client::{Call, HttpCall, Way};
use crate::observed::fixture::{GATEWAY, ROOT_NAMESPACE};
use crate::observed::world::World;

/// Port of the gateway's pod behind the service's 80 and 443.
const GATEWAY_HTTP: u16 = 8080;
const GATEWAY_HTTPS: u16 = 8443;

/// Calls, and the user agent of each.
pub(super) struct Sent {
    pub(super) calls: Vec<Call>,
    pub(super) agents: Vec<String>,
}

/// Parts of a URL.
struct Target<'a> {
    authority: &'a str,
    path: String,
    port: u16,
    host: &'a str,
}

/// The way of a step's connections.
///
/// Where the recording connected through a capture rule, a plain process asks its sidecar's proxy port: HTTP goes there
/// as it is, TLS and bytes of a TCP service by `CONNECT`.
pub(super) fn way(world: &World, step: &Step) -> anyhow::Result<Way> {
    let request = &step.request;
    let target = parse(&request.url)?;
    let (namespace, name) = match step.from {
        Role::Client => ("app", "client"),
        Role::Client2 => ("app2", "client"),
        Role::Plain | Role::GatewayClient => ("plain", "client"),
    };
    let fixture = &world.registry.fixture;
    let client = fixture.find(namespace, name)?;
    let Some(outbound) = client.outbound() else {
        let (host, port) = match request.connect.as_ref().or(request.tcp.as_ref()) {
            Some(target) => {
                let (host, port) = target
                    .rsplit_once(':')
                    .with_context(|| format!("{target:?} has no port"))?;
                (host, port.parse().with_context(|| format!("port of {target:?}"))?)
            }
            None => (target.host, target.port),
        };
        let ip = fixture.resolve(host, namespace)?;
        return Ok(Way {
            source: client.application(),
            first: (ip, port).into(),
            tunnel: None,
            tls: request.sni.clone(),
            pod: world.pod(client).map(|pod| pod.namespace.clone()),
        });
    };
    let mut way = Way {
        source: client.application(),
        first: outbound,
        tunnel: None,
        pod: None,
        tls: request.sni.clone(),
    };
    match step.from {
        Role::Client | Role::Client2 => {
            way.tunnel = match (&request.connect, &request.tcp) {
                (Some(target), _) => Some(target.clone()),
                (None, Some(target)) => Some(target.clone()),
                (None, None) => None,
            };
        }
        Role::Plain => way.first = world.registry.fixture.reach(target.host, target.port)?,
        Role::GatewayClient => {
            let port = if request.sni.is_some() {
                GATEWAY_HTTPS
            } else {
                GATEWAY_HTTP
            };
            way.first = (
                world.registry.fixture.find(ROOT_NAMESPACE, GATEWAY)?.pod_ip(),
                port,
            )
                .into();
        }
    }
    Ok(way)
}

/// The calls of a step; `round` counts repetitions.
pub(super) fn calls(step: &Step, key: &str, round: usize) -> anyhow::Result<Sent> {
    let request = &step.request;
    let mut sent = Sent {
        calls: Vec::with_capacity(request.times),
        agents: Vec::with_capacity(request.times),
    };
    for number in 0..request.times {
        let agent = format!("observed/{key}/{round}/{number}");
        let call = match &request.tcp {
            Some(_) => Call::Bytes {
                send: request.send.as_deref().unwrap_or("hello\n").as_bytes().to_vec(),
                hold: Duration::from_millis(request.hold_ms),
            },
            None => Call::Http(http(step, key, &agent)?),
        };
        sent.calls.push(call);
        sent.agents.push(agent);
    }
    Ok(sent)
}

fn http(step: &Step, key: &str, agent: &str) -> anyhow::Result<HttpCall> {
    let request = &step.request;
    let url = request.url.replace("$U", key);
    let target = parse(&url)?;
    let mut authority = target.authority.to_owned();
    let mut headers = vec![
        ("user-agent".to_owned(), agent.to_owned()),
        ("x-key".to_owned(), key.to_owned()),
    ];
    for (name, value) in &request.headers {
        let value = match value {
            Value::String(text) => text.replace("$U", key),
            other => other.to_string(),
        };
        if name.eq_ignore_ascii_case("host") {
            authority = value;
        } else {
            headers.push((name.clone(), value));
        }
    }
    Ok(HttpCall {
        method: request.method.clone(),
        target: target.path,
        authority,
        headers,
        body: request.body.clone(),
        http2: request.http2,
        close: request.fresh,
    })
}

fn parse(url: &str) -> anyhow::Result<Target<'_>> {
    let (scheme, rest) = url.split_once("://").with_context(|| format!("URL {url:?}"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        "tcp" => 0,
        _ => bail!("URL {url:?}: unknown scheme"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().with_context(|| format!("URL {url:?}"))?),
        None => (authority, default),
    };
    let path = escaped(path);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(Target {
        authority,
        path,
        port,
        host,
    })
}

/// The recording's client escaped what a request target must not hold.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => {
                out.push_str(&format!("%{:02X}", u32::from(letter)))
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<(&str, &str, u16, &str)>) {
        let target = parse(url).ok();
        let got = target
            .as_ref()
            .map(|target| (target.authority, target.host, target.port, target.path.as_str()));
        assert_eq!(got, expected, "{url}");
    }

    #[test]
    fn urls() {
        check("http://web/a%2Fb?x=1", Some(("web", "web", 80, "/a%2Fb?x=1")));
        check("http://web/a\\b", Some(("web", "web", 80, "/a%5Cb")));
        check("http://web?x=1", Some(("web", "web", 80, "/?x=1")));
        check("http://multi:8081/", Some(("multi:8081", "multi", 8081, "/")));
        check(
            "https://x.routing.test/",
            Some(("x.routing.test", "x.routing.test", 443, "/")),
        );
        check(
            "tcp://tcp-echo:9000",
            Some(("tcp-echo:9000", "tcp-echo", 9000, "/")),
        );
        check("http://web:x/", None);
        check("web/", None);
    }
}

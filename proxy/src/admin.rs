//! The admin page (15000): Envoy's paths and JSON shapes. Only this machine may look; changes need POST.

mod dump;
mod tables;

use std::sync::Arc;
use std::time::Instant;

use hyper::{Method, StatusCode};

use crate::config::Config;
use crate::serve::{Answer, Asked};
use crate::status::Facts;

/// Changes the log filter; answers why it cannot.
pub type SetLogLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What the admin page shows and switches.
#[derive(Clone)]
pub struct Admin {
    /// The proxy's parts.
    pub facts: Facts,
    /// How it was started.
    pub config: Arc<Config>,
    /// When it was started.
    pub started: Instant,
    /// The log filter.
    pub set_log_level: SetLogLevel,
}

/// Path, whether it changes something, what it does.
const PAGES: &[(&str, bool, &str)] = &[
    ("/certs", false, "print the certificates"),
    (
        "/clusters",
        false,
        "upstream clusters and their endpoints (format=json)",
    ),
    (
        "/config_dump",
        false,
        "the configuration in force (resource=, include_eds)",
    ),
    (
        "/drain_listeners",
        true,
        "drain listeners (graceful, inboundonly)",
    ),
    (
        "/explain",
        false,
        "what becomes of a request, decision by decision (host=, method=, path=, header=NAME: VALUE, direction=, address=, principal=, source=)",
    ),
    ("/healthcheck/fail", true, "make the readiness check fail"),
    ("/healthcheck/ok", true, "let the readiness check succeed again"),
    ("/help", false, "this page"),
    ("/listeners", false, "listening addresses (format=json)"),
    (
        "/logging",
        true,
        "change the log level (level=LEVEL or paths=MODULE:LEVEL,...)",
    ),
    ("/quitquitquit", true, "drain and exit"),
    ("/ready", false, "LIVE when ready, else 503"),
    ("/server_info", false, "version, state, uptime, options, node"),
    (
        "/stats",
        false,
        "statistics (filter=REGEX, format=json or prometheus)",
    ),
    ("/stats/prometheus", false, "metrics as Prometheus text"),
];

/// Answers one request.
#[must_use]
pub fn admin(admin: &Admin, asked: &Asked) -> Answer {
    if !asked.peer.ip().is_loopback() || asked.foreign {
        return Answer::text(StatusCode::FORBIDDEN, "the admin page is for this machine only\n");
    }
    let path = match asked.path.trim_end_matches('/') {
        "" => "/help",
        path => path,
    };
    let Some((_, changes, _)) = PAGES.iter().find(|(p, _, _)| *p == path) else {
        return Answer::text(
            StatusCode::NOT_FOUND,
            format!("there is no {path:?}; admin commands are:\n{}", help()),
        );
    };
    match (*changes, &asked.method) {
        (true, &Method::POST) => change(admin, path, asked),
        (true, _) => Answer::text(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{path} changes something; use POST\n"),
        ),
        (false, &Method::GET | &Method::HEAD | &Method::POST) => show(admin, path, asked),
        (false, _) => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
    }
}

fn help() -> String {
    PAGES
        .iter()
        .map(|(path, changes, what)| format!("  {path}{}: {what}\n", if *changes { " (POST)" } else { "" }))
        .collect()
}

fn show(admin: &Admin, path: &str, asked: &Asked) -> Answer {
    let json = asked.parameter("format") == Some("json");
    match path {
        "/ready" => match admin.facts.ready() {
            Ok(()) => Answer::text(StatusCode::OK, "LIVE\n"),
            Err(reason) => Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{}: {reason}\n", tables::state(admin)),
            ),
        },
        "/config_dump" => dump::config_dump(admin, asked),
        "/clusters" if json => Answer::json(&tables::clusters_json(admin)),
        "/clusters" => Answer::text(StatusCode::OK, tables::clusters_text(admin)),
        "/explain" => {
            let runtime = &admin.facts.runtime;
            crate::explain::page(runtime.node(), runtime.revision(), asked, |question| {
                runtime.explain(question)
            })
        }
        "/listeners" if json => Answer::json(&tables::listeners_json(admin)),
        "/listeners" => Answer::text(StatusCode::OK, tables::listeners_text(admin)),
        "/certs" => Answer::json(&dump::certificates(admin)),
        "/server_info" => tables::server_info(admin),
        "/stats/prometheus" => Answer::metrics(admin.facts.metrics()),
        "/stats" if asked.parameter("format") == Some("prometheus") => Answer::metrics(admin.facts.metrics()),
        "/stats" => tables::stats(admin, asked.parameter("filter"), json),
        _ => Answer::text(StatusCode::OK, format!("admin commands are:\n{}", help())),
    }
}

fn change(admin: &Admin, path: &str, asked: &Asked) -> Answer {
    let facts = &admin.facts;
    match path {
        "/drain_listeners" => {
            let inbound_only = asked.parameter("inboundonly").is_some();
            let graceful = asked.parameter("graceful").is_some();
            if !inbound_only {
                facts.health.drain();
            }
            facts.runtime.drain(inbound_only, graceful);
        }
        "/healthcheck/fail" => facts.health.set_failed(true),
        "/healthcheck/ok" => facts.health.set_failed(false),
        "/quitquitquit" => facts.quit.cancel(),
        "/logging" => return logging(admin, asked),
        _ => return Answer::text(StatusCode::NOT_FOUND, "no such command\n"),
    }
    Answer::text(StatusCode::OK, "OK\n")
}

fn logging(admin: &Admin, asked: &Asked) -> Answer {
    let filter = match (asked.parameter("level"), asked.parameter("paths")) {
        (Some(level), _) => level.to_owned(),
        (None, Some(paths)) => paths.replace(':', "="),
        (None, None) => {
            return Answer::text(
                StatusCode::BAD_REQUEST,
                "give level=trace|debug|info|warning|error|off or paths=MODULE:LEVEL,...\n",
            );
        }
    };
    match (admin.set_log_level)(&filter) {
        Ok(()) => Answer::text(StatusCode::OK, format!("active loggers:\n  {filter}\n")),
        Err(reason) => Answer::text(StatusCode::BAD_REQUEST, format!("{filter:?}: {reason}\n")),
    }
}

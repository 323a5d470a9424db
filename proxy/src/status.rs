//! The agent's ports: 15020 (health, merged metrics), 15021 (readiness), 15090 (Prometheus).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use hyper::{Method, StatusCode};
use mesh_tls::IdentityWatch;
use tokio_util::sync::CancellationToken;

use crate::discovery;
use crate::exposition::{self, Own};
use crate::report;
use crate::runtime::Runtime;
use crate::serve::{Answer, Asked};

pub mod application;

/// What every page of the proxy may look at.
#[derive(Clone)]
pub struct Facts {
    /// The data plane.
    pub runtime: Runtime,
    /// Discovery, if the bootstrap has it.
    pub discovery: Option<discovery::Shown>,
    /// The workload's identity, if it has one.
    pub identity: Option<IdentityWatch>,
    /// Pushing of counters.
    pub report: report::Shown,
    /// Draining and health switches.
    pub health: Arc<Health>,
    /// Ends the proxy, gracefully.
    pub quit: CancellationToken,
    /// Where the application's own metrics are, if they belong to this proxy's.
    pub application: Option<Arc<Application>>,
}

/// The application's own metrics.
#[derive(Debug)]
pub struct Application {
    target: application::Target,
    scrapes: AtomicU64,
    failures: AtomicU64,
}

impl Application {
    /// Not scraped yet.
    #[must_use]
    pub fn new(target: application::Target) -> Self {
        Self {
            target,
            scrapes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Its metrics now; handlers run on blocking threads, so that waiting for it is allowed.
    fn scrape(&self) -> String {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return String::new();
        };
        match runtime.block_on(self.target.scrape()) {
            Ok(text) => text,
            Err(reason) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(address = %self.target.address, reason, "the application's metrics are missing");
                String::new()
            }
        }
    }
}

/// Switches of readiness.
#[derive(Debug, Default)]
pub struct Health {
    failed: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// `/healthcheck/fail` and `/healthcheck/ok`.
    pub fn set_failed(&self, failed: bool) {
        self.failed.store(failed, Ordering::Relaxed);
    }
    /// The proxy is on its way out.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
    /// Whether it is.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
    /// Whether somebody made the health check fail.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Facts {
    /// Ready to serve, or why not.
    pub fn ready(&self) -> Result<(), &'static str> {
        if self.health.is_draining() {
            return Err("draining");
        }
        if self.health.is_failed() {
            return Err("the health check was made to fail");
        }
        if self.runtime.revision().is_none() {
            return Err("no configuration yet");
        }
        if self.identity.as_ref().is_some_and(|i| i.current().is_none()) {
            return Err("no certificate yet");
        }
        Ok(())
    }

    /// All metrics.
    #[must_use]
    pub fn metrics(&self) -> String {
        let now = SystemTime::now();
        let certificate = self.identity.as_ref().and_then(IdentityWatch::current);
        let own = Own {
            config_age_seconds: self
                .discovery
                .as_ref()
                .and_then(|d| d.age(now))
                .map(|age| age.as_secs_f64()),
            revision: self.runtime.revision(),
            telemetry_dropped: self.report.dropped(),
            records: self.runtime.records().shown(),
            ejections: crate::outlier::ejections(),
            application: self.application.as_ref().map(|application| {
                let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                (get(&application.scrapes), get(&application.failures))
            }),
            overflowed: self.runtime.registry().overflowed_total(),
            certificate_expiry: certificate.map(|c| match c.not_after.duration_since(now) {
                Ok(left) => left.as_secs_f64(),
                Err(over) => -over.duration().as_secs_f64(),
            }),
            log_lines_dropped: self.runtime.dropped_log_lines(),
        };
        exposition::prometheus(&self.runtime.registry().cumulative(), &self.runtime.view(), &own)
    }

    /// All metrics, with the application's own before them.
    fn merged_metrics(&self) -> String {
        let mut text = self
            .application
            .as_ref()
            .map(|application| application.scrape())
            .unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&self.metrics());
        text
    }

    fn readiness(&self) -> Answer {
        match self.ready() {
            Ok(()) => Answer::text(StatusCode::OK, "ready\n"),
            Err(reason) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        }
    }
}

/// 15020.
#[must_use]
pub fn agent(facts: &Facts, asked: &Asked) -> Answer {
    match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/healthz/ready") => facts.readiness(),
        (&Method::GET, "/stats/prometheus" | "/metrics") => Answer::metrics(facts.merged_metrics()),
        (_, "/quitquitquit" | "/drain") if asked.method != Method::POST => {
            Answer::text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n")
        }
        (_, "/quitquitquit" | "/drain") if !asked.peer.ip().is_loopback() || asked.foreign => {
            Answer::text(StatusCode::FORBIDDEN, "only from this machine\n")
        }
        (_, "/quitquitquit") => {
            facts.quit.cancel();
            Answer::text(StatusCode::OK, "OK\n")
        }
        (_, "/drain") => {
            facts.health.drain();
            facts.runtime.drain(false, true);
            Answer::text(StatusCode::OK, "OK\n")
        }
        _ => Answer::text(
            StatusCode::NOT_FOUND,
            "pages: /healthz/ready, /stats/prometheus, /metrics, POST /drain, POST /quitquitquit\n",
        ),
    }
}

/// 15021.
#[must_use]
pub fn readiness(facts: &Facts, asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/healthz/ready" => facts.readiness(),
        _ => Answer::text(StatusCode::NOT_FOUND, "page: /healthz/ready\n"),
    }
}

/// 15090.
#[must_use]
pub fn prometheus(facts: &Facts, asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/stats/prometheus" => Answer::metrics(facts.metrics()),
        _ => Answer::text(StatusCode::NOT_FOUND, "page: /stats/prometheus\n"),
    }
}

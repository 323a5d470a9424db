//! Access logs: formats compiled once, lines gathered per worker, written by one thread per file.
//!
//! A request never waits for a disk: the queue to the writer is bounded, and what does not fit is counted as dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

use mesh_model::expression::Expression;
use mesh_model::flags::ResponseFlags;
use mesh_model::listener::{AccessLog, AccessLogFormat};
use mesh_model::route::RouteOrigin;
use parking_lot::Mutex;

use crate::codec::head::{Request, Response};
use crate::codec::write::number;
use crate::walk::admit::policy_of;

mod fact;
mod filter;
mod format;

use fact::{Fact, Header, Source};
pub(crate) use format::Format;

/// Bytes that a worker gathers before it hands them to the writer.
const BLOCK: usize = 64 * 1024;
/// Blocks that may wait for the writer.
const QUEUE: usize = 64;

/// All log files of the proxy.
#[derive(Default)]
pub(crate) struct LogSinks(Mutex<HashMap<String, Arc<LogFile>>>);

/// A file with the thread that writes it.
pub(crate) struct LogFile {
    sender: SyncSender<Vec<u8>>,
    dropped: AtomicU64,
}

/// Where and how one listener logs.
#[derive(Clone)]
pub(crate) struct Sink {
    file: Arc<LogFile>,
    format: Arc<Format>,
    filter: Option<Arc<Expression>>,
}

impl LogSinks {
    /// The sink for a configured log; a file is opened at its first line.
    pub(crate) fn open(&self, log: &AccessLog) -> Sink {
        let file = Arc::clone(
            self.0
                .lock()
                .entry(log.path.clone())
                .or_insert_with(|| Arc::new(LogFile::start(log.path.clone()))),
        );
        let format = Arc::new(match &log.format {
            AccessLogFormat::IstioText => Format::istio_text(),
            AccessLogFormat::IstioJson => Format::istio_json(),
            AccessLogFormat::Text(text) => Format::text(text),
            AccessLogFormat::Json(fields) => Format::json(fields),
        });
        let filter = log.filter.clone().map(Arc::new);
        Sink { file, format, filter }
    }

    /// Lines dropped because a writer did not keep up.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.0
            .lock()
            .values()
            .map(|file| file.dropped.load(Ordering::Relaxed))
            .sum()
    }
}

impl LogFile {
    fn start(path: String) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let spawned = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_blocks(&path, &receiver));
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the access log's writer; its lines are dropped and counted");
        }
        Self {
            sender,
            dropped: AtomicU64::new(0),
        }
    }
}

fn write_blocks(path: &str, receiver: &Receiver<Vec<u8>>) {
    let mut out: Option<Box<dyn Write>> = None;
    let mut complained = false;
    while let Ok(block) = receiver.recv() {
        let result = match &mut out {
            Some(out) => out.write_all(&block).and_then(|()| out.flush()),
            None => open(path).and_then(|mut opened| {
                opened.write_all(&block)?;
                opened.flush()?;
                out = Some(opened);
                Ok(())
            }),
        };
        if let Err(error) = result {
            // Opened anew for the next block: a full disk or a moved file heals by itself.
            out = None;
            if !std::mem::replace(&mut complained, true) {
                tracing::warn!(path, %error, "access log lines are lost until the file can be written");
            }
        } else {
            complained = false;
        }
    }
}

fn open(path: &str) -> std::io::Result<Box<dyn Write>> {
    Ok(match path {
        "/dev/stdout" => Box::new(std::io::stdout()),
        "/dev/stderr" => Box::new(std::io::stderr()),
        "/dev/null" => Box::new(std::io::sink()),
        file => Box::new(std::fs::OpenOptions::new().create(true).append(true).open(file)?),
    })
}

/// Lines of one worker that were not handed to a writer yet.
#[derive(Default)]
pub(crate) struct LogBuffers(RefCell<Vec<(Arc<LogFile>, Vec<u8>)>>);

impl LogBuffers {
    /// Adds one line.
    pub(crate) fn log(&self, sink: &Sink, line: &Line<'_>) {
        if sink.filter.as_ref().is_some_and(|filter| !filter.holds(line)) {
            return;
        }
        let mut buffers = self.0.borrow_mut();
        let at = match buffers.iter().position(|(file, _)| Arc::ptr_eq(file, &sink.file)) {
            Some(at) => at,
            None => {
                buffers.push((Arc::clone(&sink.file), Vec::with_capacity(BLOCK + 1024)));
                buffers.len() - 1
            }
        };
        if let Some((file, buffer)) = buffers.get_mut(at) {
            sink.format.write(line, buffer);
            if buffer.len() >= BLOCK {
                hand_over(file, buffer);
            }
        }
    }

    /// Hands everything to the writers; called once a second.
    pub(crate) fn flush(&self) {
        for (file, buffer) in self.0.borrow_mut().iter_mut() {
            hand_over(file, buffer);
        }
    }
}

impl Drop for LogBuffers {
    fn drop(&mut self) {
        self.flush();
    }
}

fn hand_over(file: &LogFile, buffer: &mut Vec<u8>) {
    if buffer.is_empty() {
        return;
    }
    let block = std::mem::take(buffer);
    if let Err(error) = file.sender.try_send(block) {
        let (std::sync::mpsc::TrySendError::Full(block) | std::sync::mpsc::TrySendError::Disconnected(block)) =
            error;
        let lines = memchr::memchr_iter(b'\n', &block).count();
        file.dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// Everything that a line may say.
pub(crate) struct Line<'a> {
    /// Request head; `None` for opaque connections.
    pub(crate) request: Option<&'a Request>,
    /// Response head, if one was sent.
    pub(crate) response: Option<&'a Response>,
    /// When it began.
    pub(crate) started: SystemTime,
    /// Response code.
    pub(crate) status: u16,
    /// Response flags.
    pub(crate) flags: ResponseFlags,
    /// `RESPONSE_CODE_DETAILS`.
    pub(crate) details: &'a str,
    /// `CONNECTION_TERMINATION_DETAILS`.
    pub(crate) termination: &'a str,
    /// `UPSTREAM_TRANSPORT_FAILURE_REASON`.
    pub(crate) transport_failure: &'a str,
    /// Bytes from downstream.
    pub(crate) received: u64,
    /// Bytes to downstream.
    pub(crate) sent: u64,
    /// Milliseconds.
    pub(crate) duration_ms: u64,
    /// `x-envoy-upstream-service-time`.
    pub(crate) service_time_ms: Option<u64>,
    /// Endpoint of the last attempt.
    pub(crate) upstream: Option<SocketAddr>,
    /// Cluster.
    pub(crate) cluster: &'a str,
    /// Our address towards the endpoint.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Where the client connected to.
    pub(crate) local: SocketAddr,
    /// The client.
    pub(crate) remote: SocketAddr,
    /// SNI.
    pub(crate) server_name: &'a str,
    /// Route name.
    pub(crate) route: &'a str,
    /// Which configuration decided.
    pub(crate) origin: Option<&'a RouteOrigin>,
    /// Workload that sent it.
    pub(crate) source: &'a str,
    /// Workload that got it.
    pub(crate) destination: &'a str,
    /// Attempts.
    pub(crate) attempts: u32,
    /// Peer's SPIFFE id.
    pub(crate) peer: &'a str,
}

impl Line<'_> {
    fn header(&self, header: &Header, out: &mut Vec<u8>) -> bool {
        let Some(request) = self.request else { return false };
        for source in &header.sources {
            let value = match source {
                Source::Method => Some(request.method_bytes()),
                Source::Path => Some(request.target_bytes()),
                Source::Authority => Some(request.authority_bytes()),
                Source::Scheme => Some(if request.https { &b"https"[..] } else { b"http" }),
                Source::Field(name) => request.fields.get_named(name),
            };
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.extend_from_slice(value.get(..header.limit.min(value.len())).unwrap_or_default());
                return true;
            }
        }
        false
    }

    fn response_header(&self, header: &Header, out: &mut Vec<u8>) -> bool {
        let [Source::Field(name)] = header.sources.as_slice() else {
            return false;
        };
        if name == b"x-envoy-upstream-service-time" {
            return self.service_time_ms.map(|ms| number(out, ms)).is_some();
        }
        let value = self
            .response
            .and_then(|response| response.fields.get_named(name))
            .filter(|value| !value.is_empty());
        value.map(|value| out.extend_from_slice(value)).is_some()
    }

    /// Appends a fact; `false` = absent.
    fn write(&self, fact: &Fact, out: &mut Vec<u8>) -> bool {
        let text = |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(text.as_bytes());
            !text.is_empty()
        };
        let underscored = |text: &str, out: &mut Vec<u8>| {
            out.extend(text.bytes().map(|b| if b == b' ' { b'_' } else { b }));
            !text.is_empty()
        };
        let address = |address: Option<SocketAddr>, out: &mut Vec<u8>| {
            address
                .map(|address| format::socket_address(address, out))
                .is_some()
        };
        let count = |value: u64, out: &mut Vec<u8>| {
            number(out, value);
            true
        };
        let origin = |pick: fn(&RouteOrigin) -> &str, out: &mut Vec<u8>| {
            text(self.origin.map(pick).unwrap_or_default(), out)
        };
        match fact {
            Fact::StartTime => {
                format::iso_time(self.started, out);
                true
            }
            Fact::Request(header) => self.header(header, out),
            Fact::Response(header) => self.response_header(header, out),
            Fact::Protocol => text(self.request.map_or("", |request| request.version.as_str()), out),
            Fact::ResponseCode => count(u64::from(self.status), out),
            // Never absent: no flags are a dash.
            Fact::ResponseFlags if self.flags.is_empty() => text("-", out),
            Fact::ResponseFlags => write!(out, "{}", self.flags).is_ok(),
            Fact::Details => underscored(self.details, out),
            Fact::Termination => text(self.termination, out),
            Fact::TransportFailure => underscored(self.transport_failure, out),
            Fact::BytesReceived => count(self.received, out),
            Fact::BytesSent => count(self.sent, out),
            Fact::Duration => count(self.duration_ms, out),
            Fact::UpstreamHost => address(self.upstream, out),
            Fact::UpstreamCluster => text(self.cluster, out),
            Fact::UpstreamLocalAddress => address(self.upstream_local, out),
            Fact::DownstreamLocalAddress => address(Some(self.local), out),
            Fact::DownstreamRemoteAddress => address(Some(self.remote), out),
            Fact::DownstreamRemoteIp => write!(out, "{}", self.remote.ip()).is_ok(),
            Fact::ServerName => text(self.server_name, out),
            Fact::RouteName => text(self.route, out),
            Fact::Attempts => count(u64::from(self.attempts), out),
            Fact::PeerUriSan => text(self.peer, out),
            Fact::VirtualService => origin(|o| &o.virtual_service, out),
            Fact::Route => origin(|o| &o.route, out),
            Fact::Match => origin(|o| &o.match_name, out),
            Fact::Policy => {
                let policy = policy_of(self.details).or_else(|| policy_of(self.termination));
                text(policy.unwrap_or_default(), out)
            }
            Fact::SourceWorkload => text(self.source, out),
            Fact::DestinationWorkload => text(self.destination, out),
            Fact::TraceId(b3) => {
                let header = self.request.and_then(|r| r.fields.get_named(b"traceparent"));
                match header.and_then(|value| value.get(3..35)) {
                    Some(id) => {
                        out.extend_from_slice(id);
                        true
                    }
                    None => self.header(b3, out),
                }
            }
        }
    }
}

/// Year, month and day of a day number since 1970-01-01.
pub(crate) fn civil_date(days: u64) -> (u64, u64, u64) {
    format::civil(days)
}

//! What is counted: an edge of the service graph and the facts filed under it.
//!
//! Definitions: an edge is (source workload, destination service, destination workload, protocol); its
//! requests are those that the source's proxy completed if the source is in the mesh, else those that the
//! destination's proxy completed; attempts (retries, mirrors) are a second number.

use crate::flags::ResponseFlags;
use crate::histogram::ExponentialHistogram;
use crate::route::RouteOrigin;
use crate::workload::{ServiceName, Workload};

/// Which proxy reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's sidecar, or a gateway.
    Source,
    /// The server's sidecar.
    Destination,
}

impl Reporter {
    /// Istio's label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
    /// Reads the label value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "source" => Some(Self::Source),
            "destination" => Some(Self::Destination),
            _ => None,
        }
    }
}

/// Protocol of a request for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestProtocol {
    /// HTTP/1 or HTTP/2.
    Http,
    /// gRPC.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

impl RequestProtocol {
    /// Istio's label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
    /// Reads the label value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "grpc" => Some(Self::Grpc),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// Everything that tells one series from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// Reporting side.
    pub reporter: Reporter,
    /// Who sent it.
    pub source: Workload,
    /// SPIFFE id of the source, `unknown` if none.
    pub source_principal: String,
    /// Who should get it.
    pub service: ServiceName,
    /// Who got it; [`Workload::unknown`] for answers that the proxy gave itself.
    pub destination: Workload,
    /// SPIFFE id of the destination, `unknown` if none.
    pub destination_principal: String,
    /// Protocol.
    pub protocol: RequestProtocol,
    /// 0 if none was sent.
    pub response_code: u16,
    /// gRPC status, gRPC only.
    pub grpc_status: Option<u16>,
    /// Flags.
    pub flags: ResponseFlags,
    /// Whether the hop was mutual TLS: known at both sides here (the `connection_security_policy` label stays
    /// `unknown` for reporter `source`, as in Istio).
    pub mutual_tls: bool,
    /// Which configuration decided.
    pub origin: RouteOrigin,
}

impl SeriesKey {
    /// Whether these requests failed: no answer, 5xx, or a gRPC status other than 0; for TCP any flag.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self.protocol {
            RequestProtocol::Tcp => !self.flags.is_empty(),
            RequestProtocol::Http | RequestProtocol::Grpc => {
                self.response_code == 0
                    || self.response_code >= 500
                    || self.grpc_status.is_some_and(|status| status != 0)
            }
        }
    }

    /// Whether these requests were answered 4xx, which counts apart from errors.
    #[must_use]
    pub fn is_client_error(&self) -> bool {
        (400..500).contains(&self.response_code) && !self.is_error()
    }
}

/// Facts of one series in one window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesDelta {
    /// Completed requests.
    pub requests: u64,
    /// Upstream attempts, the first included; 0 for local answers.
    pub attempts: u64,
    /// Request duration, milliseconds.
    pub duration: ExponentialHistogram,
    /// Request bytes.
    pub request_bytes: u64,
    /// Response bytes.
    pub response_bytes: u64,
}

impl SeriesDelta {
    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.duration.merge(&other.duration);
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
    }
}

/// Length of the finest window, seconds.
pub const WINDOW_SECONDS: u64 = 10;

/// Deltas of one proxy for one window of its own clock.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowDelta {
    /// Window start, Unix seconds, a multiple of [`WINDOW_SECONDS`].
    pub window: u64,
    /// Series with their deltas.
    pub series: Vec<(SeriesKey, SeriesDelta)>,
}

/// What a proxy sends at once; sent again unchanged until acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Proxy id (node id).
    pub proxy: String,
    /// Changes at each start of the proxy; later starts have larger values (Unix nanoseconds).
    pub epoch: u64,
    /// Counts up from 1 within the epoch.
    pub sequence: u64,
    /// When it was cut, Unix milliseconds of the proxy's clock.
    pub cut_at_ms: u64,
    /// Windows.
    pub windows: Vec<WindowDelta>,
    /// Requests whose series did not fit the cardinality caps, counted in `other` series.
    pub overflowed: u64,
}

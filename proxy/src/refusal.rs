//! The one error that a room returns: how a request is answered instead of being forwarded.

use std::borrow::Cow;

use mesh_model::flags::ResponseFlags;

use crate::codec::head::HeadError;
use crate::wire::Failure;

/// A request that is answered by the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Status; 0 = nobody is there to be answered.
    pub(crate) status: u16,
    /// Flags.
    pub(crate) flags: ResponseFlags,
    /// `RESPONSE_CODE_DETAILS`.
    pub(crate) details: Cow<'static, str>,
    /// Body, plain text.
    pub(crate) body: Cow<'static, str>,
    /// `x-envoy-overloaded` is said.
    pub(crate) overloaded: bool,
    /// The connection is closed afterwards: what follows on it cannot be trusted.
    pub(crate) close: bool,
    /// gRPC status that was asked for (fault injection).
    pub(crate) grpc_status: Option<u32>,
    /// `location` of a redirect.
    pub(crate) location: Option<Vec<u8>>,
    /// `www-authenticate` of a refused token.
    pub(crate) authenticate: Option<Vec<u8>>,
    /// Headers of whoever refused it.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Refusal {
    /// With an empty body.
    #[must_use]
    pub(crate) fn new(status: u16, flags: ResponseFlags, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            flags,
            details: details.into(),
            body: Cow::Borrowed(""),
            overloaded: false,
            close: false,
            grpc_status: None,
            location: None,
            authenticate: None,
            headers: Vec::new(),
        }
    }

    /// With a body.
    #[must_use]
    pub(crate) fn with_body(mut self, body: impl Into<Cow<'static, str>>) -> Self {
        self.body = body.into();
        self
    }

    /// No route matched.
    #[must_use]
    pub(crate) fn no_route() -> Self {
        Self::new(404, ResponseFlags::NO_ROUTE, "route_not_found")
    }

    /// The route names a cluster that does not exist.
    #[must_use]
    pub(crate) fn no_cluster() -> Self {
        Self::new(503, ResponseFlags::NO_CLUSTER, "cluster_not_found")
    }

    /// No endpoint may be used.
    #[must_use]
    pub(crate) fn no_endpoint() -> Self {
        Self::new(503, ResponseFlags::NO_HEALTHY_UPSTREAM, "no_healthy_upstream")
            .with_body("no healthy upstream")
    }

    /// The client left.
    #[must_use]
    pub(crate) fn client_gone() -> Self {
        Self::new(
            0,
            ResponseFlags::DOWNSTREAM_CLOSED,
            "downstream_remote_disconnect",
        )
    }

    /// The client kept its own request waiting.
    #[must_use]
    pub(crate) fn client_slow() -> Self {
        let mut refusal = Self::new(408, ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
            .with_body("stream timeout");
        refusal.close = true;
        refusal
    }

    /// The request's body broke the protocol.
    #[must_use]
    pub(crate) fn broken_body() -> Self {
        Self::from(HeadError::BODY)
    }

    /// The request (or one attempt) took too long.
    #[must_use]
    pub(crate) fn timeout(details: &'static str) -> Self {
        Self::new(504, ResponseFlags::UPSTREAM_TIMEOUT, details).with_body("upstream request timeout")
    }

    /// An attempt failed before response headers.
    #[must_use]
    pub(crate) fn upstream(reason: &Reset, retried: bool) -> Self {
        let (status, flags) = reason.status_and_flags();
        let retried = if retried { "retried and the latest " } else { "" };
        let mut refusal = Self::new(
            status,
            flags,
            format!("upstream_reset_before_response_started{{{}}}", reason.details()),
        )
        .with_body(format!(
            "upstream connect error or disconnect/reset before headers. {retried}reset reason: {}",
            reason.text()
        ));
        refusal.overloaded = *reason == Reset::Overflow;
        refusal
    }

    /// Adds a flag.
    #[must_use]
    pub(crate) fn flagged(mut self, flag: ResponseFlags) -> Self {
        self.flags = self.flags.with(flag);
        self
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        let mut refusal = Self::new(error.status, error.flags, error.details).with_body(error.body);
        refusal.close = true;
        refusal
    }
}

/// How an attempt ended before response headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reset {
    /// A circuit breaker refused it.
    Overflow,
    /// The connection could not be made; with the transport's reason.
    Connect(String),
    /// It could not be made in time.
    ConnectTimeout,
    /// The connection ended.
    Terminated,
    /// The stream was reset by the peer.
    Remote,
    /// The stream was refused by the peer and not processed.
    Refused,
    /// The peer does not speak the protocol.
    Protocol,
}

impl Reset {
    /// As Envoy names it in bodies.
    #[must_use]
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Connect(_) => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::Terminated => "connection termination",
            Self::Remote => "remote reset",
            Self::Refused => "remote refused stream reset",
            Self::Protocol => "protocol error",
        }
    }

    fn details(&self) -> String {
        let name = self.text().replace(' ', "_");
        match self {
            Self::Connect(reason) if !reason.is_empty() => format!("{name}|{}", reason.replace(' ', "_")),
            _ => name,
        }
    }

    fn status_and_flags(&self) -> (u16, ResponseFlags) {
        match self {
            Self::Overflow => (503, ResponseFlags::OVERFLOW),
            Self::Connect(_) | Self::ConnectTimeout => (503, ResponseFlags::UPSTREAM_FAILURE),
            Self::Terminated => (503, ResponseFlags::UPSTREAM_TERMINATION),
            Self::Remote | Self::Refused => (503, ResponseFlags::UPSTREAM_REMOTE_RESET),
            Self::Protocol => (502, ResponseFlags::UPSTREAM_PROTOCOL_ERROR),
        }
    }

    /// Flag of a response that was cut off by it.
    #[must_use]
    pub(crate) fn flags(&self) -> ResponseFlags {
        self.status_and_flags().1
    }
}

impl From<Failure> for Reset {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed | Failure::Stalled => Self::Terminated,
            Failure::Protocol => Self::Protocol,
            Failure::Refused => Self::Refused,
            Failure::Reset => Self::Remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_envoys() {
        let refused = Reset::Connect("delayed connect error: Connection refused".into());
        for (reason, retried, length, details) in [
            (
                refused.clone(),
                false,
                98,
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
            ),
            (
                refused,
                true,
                121,
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
            ),
            (
                Reset::ConnectTimeout,
                false,
                91,
                "upstream_reset_before_response_started{connection_timeout}",
            ),
            (
                Reset::ConnectTimeout,
                true,
                114,
                "upstream_reset_before_response_started{connection_timeout}",
            ),
            (
                Reset::Terminated,
                false,
                95,
                "upstream_reset_before_response_started{connection_termination}",
            ),
            (
                Reset::Overflow,
                false,
                81,
                "upstream_reset_before_response_started{overflow}",
            ),
        ] {
            let refusal = Refusal::upstream(&reason, retried);
            assert_eq!(refusal.body.len(), length, "{}", refusal.body);
            assert_eq!(refusal.details, details);
        }
    }
}

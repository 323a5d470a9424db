//! What a token of a log format asks for, read once per format.

/// A fact of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    StartTime,
    /// `REQ`.
    Request(Header),
    /// `RESP`.
    Response(Header),
    Protocol,
    ResponseCode,
    ResponseFlags,
    Details,
    Termination,
    TransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    UpstreamHost,
    UpstreamCluster,
    UpstreamLocalAddress,
    DownstreamLocalAddress,
    DownstreamRemoteAddress,
    DownstreamRemoteIp,
    ServerName,
    RouteName,
    Attempts,
    PeerUriSan,
    VirtualService,
    Route,
    Match,
    Policy,
    SourceWorkload,
    DestinationWorkload,
    /// From `traceparent`, else this header.
    TraceId(Header),
}

/// Headers in the order in which they are asked, and the most bytes of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) sources: Vec<Source>,
    pub(super) limit: usize,
}

/// Where a request's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Method,
    Path,
    Authority,
    Scheme,
    /// A header field, in lower case.
    Field(Vec<u8>),
}

impl Fact {
    /// The fact that `%NAME(argument)%` asks for; `None` = a name that is not known here.
    pub(super) fn of(name: &str, argument: &str) -> Option<Self> {
        Some(match name {
            "START_TIME" => Self::StartTime,
            "REQ" => Self::Request(Header::parse(argument)),
            "RESP" => Self::Response(Header::field(argument)),
            "PROTOCOL" => Self::Protocol,
            "RESPONSE_CODE" => Self::ResponseCode,
            "RESPONSE_FLAGS" => Self::ResponseFlags,
            "RESPONSE_CODE_DETAILS" => Self::Details,
            "CONNECTION_TERMINATION_DETAILS" => Self::Termination,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => Self::TransportFailure,
            "BYTES_RECEIVED" => Self::BytesReceived,
            "BYTES_SENT" => Self::BytesSent,
            "DURATION" => Self::Duration,
            "UPSTREAM_HOST" => Self::UpstreamHost,
            "UPSTREAM_CLUSTER_RAW" | "UPSTREAM_CLUSTER" => Self::UpstreamCluster,
            "UPSTREAM_LOCAL_ADDRESS" => Self::UpstreamLocalAddress,
            "DOWNSTREAM_LOCAL_ADDRESS" => Self::DownstreamLocalAddress,
            "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Self::DownstreamRemoteAddress,
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Self::DownstreamRemoteIp,
            "REQUESTED_SERVER_NAME" => Self::ServerName,
            "ROUTE_NAME" => Self::RouteName,
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Self::Attempts,
            "DOWNSTREAM_PEER_URI_SAN" => Self::PeerUriSan,
            "SIGHTLINE_VIRTUAL_SERVICE" => Self::VirtualService,
            "SIGHTLINE_ROUTE" => Self::Route,
            "SIGHTLINE_MATCH" => Self::Match,
            "SIGHTLINE_POLICY" => Self::Policy,
            "SIGHTLINE_SOURCE_WORKLOAD" => Self::SourceWorkload,
            "SIGHTLINE_DESTINATION_WORKLOAD" => Self::DestinationWorkload,
            "TRACE_ID" => Self::TraceId(Header::parse("x-b3-traceid")),
            _ => return None,
        })
    }

    /// Whether it is a number in a JSON line when it stands alone.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::ResponseCode
                | Self::BytesReceived
                | Self::BytesSent
                | Self::Duration
                | Self::Attempts
                | Self::Response(_)
        )
    }
}

impl Header {
    /// `X-FIRST?:PATH`, with `):N` or `:N` behind it for at most N bytes.
    fn parse(argument: &str) -> Self {
        let (names, limit) = argument
            .rsplit_once("):")
            .or_else(|| {
                argument
                    .rsplit_once(':')
                    .filter(|(names, limit)| !names.is_empty() && limit.parse::<usize>().is_ok())
            })
            .map_or((argument, usize::MAX), |(names, limit)| {
                (names, limit.parse().unwrap_or(usize::MAX))
            });
        let sources = names.split('?').map(|name| {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                ":method" => Source::Method,
                ":path" => Source::Path,
                ":authority" | "host" => Source::Authority,
                ":scheme" => Source::Scheme,
                _ => Source::Field(name.into_bytes()),
            }
        });
        Self {
            sources: sources.collect(),
            limit,
        }
    }

    fn field(name: &str) -> Self {
        Self {
            sources: vec![Source::Field(name.to_ascii_lowercase().into_bytes())],
            limit: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_once() {
        let check = |argument: &str, sources: &[Source], limit: usize| {
            let sources = sources.to_vec();
            assert_eq!(Header::parse(argument), Header { sources, limit }, "{argument}");
        };
        let field = |name: &str| Source::Field(name.into());
        check(":METHOD", &[Source::Method], usize::MAX);
        check(
            "X-ENVOY-ORIGINAL-PATH?:PATH",
            &[field("x-envoy-original-path"), Source::Path],
            usize::MAX,
        );
        check("x?y):3", &[field("x"), field("y")], 3);
        check("x:12", &[field("x")], 12);
        check("x:y", &[field("x:y")], usize::MAX);
    }
}

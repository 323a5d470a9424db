//! Authorization services: names that join Envoy's RBAC and ext_authz filters, and the messages of a question over
//! gRPC (`envoy.service.auth.v3`).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::auth::v3 as auth;
use envoy_types::pb::google::protobuf::Timestamp;
use prost::Message as _;

use crate::pb::{self, core};

/// Prefix of what the RBAC filter says about rules that a service is asked about.
pub(crate) const SHADOW_PREFIX: &str = "istio_ext_authz_";
/// Where it says which rule matched.
pub(crate) const MATCHED_POLICY: &str = "istio_ext_authz_shadow_effective_policy_id";
const RULE_PREFIX: &str = "istio-ext-authz-";

/// What the names of a provider's rules begin with.
pub(crate) fn rule_prefix(provider: &str) -> String {
    format!("{RULE_PREFIX}{provider}-")
}

/// The provider of such a prefix.
pub(crate) fn provider_of(prefix: &str) -> Option<&str> {
    prefix
        .strip_prefix(RULE_PREFIX)
        .map(|rest| rest.strip_suffix('-').unwrap_or(rest))
        .filter(|name| !name.is_empty())
}

/// Path of the call.
pub const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What a service is told about a request.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// `x-request-id`.
    pub id: &'a str,
    /// Method.
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// Authority.
    pub host: &'a str,
    /// Scheme.
    pub scheme: &'a str,
    /// Protocol (`HTTP/1.1`).
    pub protocol: &'a str,
    /// Headers with pseudo headers; values of one name joined by commas.
    pub headers: Vec<(String, String)>,
    /// Body as far as it is shown.
    pub body: &'a [u8],
    /// As bytes.
    pub body_as_bytes: bool,
    /// Length of the body; -1 if unknown.
    pub size: i64,
    /// Peer of the socket.
    pub source: SocketAddr,
    /// What it proved.
    pub source_principal: &'a str,
    /// Where it connected to.
    pub destination: SocketAddr,
    /// What we prove.
    pub destination_principal: &'a str,
    /// When it came.
    pub time: SystemTime,
}

impl Question<'_> {
    /// `CheckRequest`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let peer = |at: SocketAddr, principal: &str| auth::attribute_context::Peer {
            address: Some(pb::address(at)),
            principal: principal.to_owned(),
            ..auth::attribute_context::Peer::default()
        };
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(0),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        };
        let (body, raw_body) = if self.body_as_bytes {
            (String::new(), self.body.to_vec())
        } else {
            (String::from_utf8_lossy(self.body).into_owned(), Vec::new())
        };
        let http = auth::attribute_context::HttpRequest {
            id: self.id.to_owned(),
            method: self.method.to_owned(),
            headers: self.headers.iter().cloned().collect(),
            path: self.path.to_owned(),
            host: self.host.to_owned(),
            scheme: self.scheme.to_owned(),
            size: self.size,
            protocol: self.protocol.to_owned(),
            body,
            raw_body,
            ..auth::attribute_context::HttpRequest::default()
        };
        let request = auth::CheckRequest {
            attributes: Some(auth::AttributeContext {
                source: Some(peer(self.source, self.source_principal)),
                destination: Some(peer(self.destination, self.destination_principal)),
                request: Some(auth::attribute_context::Request {
                    time: Some(time),
                    http: Some(http),
                }),
                ..auth::AttributeContext::default()
            }),
        };
        request.encode_to_vec()
    }
}

/// A header that an answer sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Lower-case name.
    pub name: String,
    /// Value.
    pub value: Vec<u8>,
    /// Stays beside what is there, instead of replacing it.
    pub append: bool,
}

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let it through.
    Allow {
        /// For the application.
        headers: Vec<Header>,
        /// Taken off the request.
        remove: Vec<String>,
        /// For the client's answer.
        response_headers: Vec<Header>,
    },
    /// Refuse it.
    Deny {
        /// Status.
        status: u16,
        /// For the client's answer.
        headers: Vec<Header>,
        /// Body.
        body: String,
    },
}

impl Verdict {
    /// Reads `CheckResponse`; `None` when it is not one, or says that the service failed.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        use auth::check_response::HttpResponse as R;
        let response = auth::CheckResponse::decode(bytes).ok()?;
        let code = response.status.as_ref().map_or(0, |status| status.code);
        match (code, response.http_response) {
            (_, Some(R::ErrorResponse(_))) => None,
            (0, Some(R::OkResponse(ok))) => Some(Self::Allow {
                headers: headers(&ok.headers),
                remove: ok.headers_to_remove,
                response_headers: headers(&ok.response_headers_to_add),
            }),
            (0, _) => Some(Self::Allow {
                headers: Vec::new(),
                remove: Vec::new(),
                response_headers: Vec::new(),
            }),
            (_, Some(R::DeniedResponse(denied))) => Some(Self::Deny {
                status: denied
                    .status
                    .and_then(|s| u16::try_from(s.code).ok())
                    .filter(|code| (200..600).contains(code))
                    .unwrap_or(403),
                headers: headers(&denied.headers),
                body: denied.body,
            }),
            (_, _) => Some(Self::Deny {
                status: 403,
                headers: Vec::new(),
                body: String::new(),
            }),
        }
    }
}

fn headers(list: &[core::HeaderValueOption]) -> Vec<Header> {
    use core::header_value_option::HeaderAppendAction as A;
    list.iter()
        .filter_map(|option| {
            let header = option.header.as_ref()?;
            #[expect(deprecated, reason = "services still say it that way")]
            let old = option.append.as_ref().map(|append| append.value);
            // Unset means "replace" to ext_authz, whatever the enumeration's default is.
            let append = old.unwrap_or(option.append_action() == A::AddIfAbsent);
            Some(Header {
                name: header.key.to_ascii_lowercase(),
                value: if header.raw_value.is_empty() {
                    header.value.clone().into_bytes()
                } else {
                    header.raw_value.clone()
                },
                append,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::google::rpc::Status;

    #[track_caller]
    fn check(code: i32, response: Option<auth::check_response::HttpResponse>, expected: Option<&Verdict>) {
        let message = auth::CheckResponse {
            status: Some(Status {
                code,
                ..Status::default()
            }),
            http_response: response,
            ..auth::CheckResponse::default()
        };
        assert_eq!(Verdict::decode(&message.encode_to_vec()).as_ref(), expected);
    }

    #[test]
    fn answers() {
        use auth::check_response::HttpResponse as R;
        let none = Verdict::Allow {
            headers: Vec::new(),
            remove: Vec::new(),
            response_headers: Vec::new(),
        };
        check(0, None, Some(&none));
        let refused = Verdict::Deny {
            status: 403,
            headers: Vec::new(),
            body: String::new(),
        };
        check(7, None, Some(&refused));
        // A denial without a status is a denial, also beside a consent.
        check(
            7,
            Some(R::OkResponse(auth::OkHttpResponse::default())),
            Some(&refused),
        );
        let denied = auth::DeniedHttpResponse {
            status: Some(crate::pb::kind::HttpStatus { code: 401 }),
            headers: vec![core::HeaderValueOption {
                header: Some(core::HeaderValue {
                    key: "X-Why".into(),
                    value: "no".into(),
                    ..core::HeaderValue::default()
                }),
                ..core::HeaderValueOption::default()
            }],
            body: "no".into(),
        };
        let expected = Verdict::Deny {
            status: 401,
            headers: vec![Header {
                name: "x-why".into(),
                value: b"no".to_vec(),
                append: false,
            }],
            body: "no".into(),
        };
        check(16, Some(R::DeniedResponse(denied.clone())), Some(&expected));
        check(0, Some(R::ErrorResponse(denied)), None);
        assert_eq!(Verdict::decode(b"\xff\xff"), None);
    }

    #[test]
    fn a_prefix_names_its_provider() {
        assert_eq!(provider_of(&rule_prefix("opa")), Some("opa"));
        assert_eq!(provider_of("istio-ext-authz"), None);
        assert_eq!(provider_of("istio-ext-authz-"), None);
    }
}

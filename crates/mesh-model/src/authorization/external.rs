//! Questions to an authorization service (Envoy's `ext_authz`): who is asked, about what, and what is believed.

use std::time::Duration;

use super::{AccessFacts, PolicyRule, first_noting};
use crate::matching::StringMatch;
use crate::why::NoWhy;

/// A service that is asked about requests before tokens and policies are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Name of the provider (`extensionProviders[].name`).
    pub provider: String,
    /// Requests that are asked about: those that one of the rules matches; `None` = all.
    pub when: Option<Vec<PolicyRule>>,
    /// Cluster of the service.
    pub cluster: String,
    /// How it is asked.
    pub protocol: CheckProtocol,
    /// Longest wait for the answer.
    pub timeout: Duration,
    /// A request is let through when there is no answer.
    pub fail_open: bool,
    /// Status of a request that is refused because there is no answer.
    pub status_on_error: u16,
    /// How much of the body is shown to the service; `None` = nothing.
    pub body: Option<CheckBody>,
    /// The rule that serves the request is chosen after the answer, by the headers that it changed.
    pub clear_route_cache: bool,
}

/// How an authorization service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckProtocol {
    /// A request with the original's method, host and path.
    Http(Box<HttpCheck>),
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// `:authority` of the call; empty = the cluster's name.
        authority: String,
    },
}

/// A question over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpCheck {
    /// Stands before the original path.
    pub path_prefix: String,
    /// Request headers that are shown, beside `authorization`.
    pub shown: Vec<StringMatch>,
    /// Headers that are added to the question.
    pub add: Vec<(String, String)>,
    /// Headers of a consenting answer that overwrite those of the request.
    pub to_upstream: Vec<StringMatch>,
    /// Headers of a refusing answer that the client gets; empty = all.
    pub to_client_on_deny: Vec<StringMatch>,
    /// Headers of a consenting answer that the client gets.
    pub to_client_on_allow: Vec<StringMatch>,
}

/// How much of a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckBody {
    /// At most so many bytes.
    pub max_bytes: u32,
    /// A longer body is shown in part; else it is refused with 413.
    pub allow_partial: bool,
    /// gRPC: as bytes instead of text.
    pub as_bytes: bool,
}

impl External {
    /// Whether the service is asked about this request: the rule that says so, `Some(None)` when all are asked about.
    #[must_use]
    pub fn asks(&self, facts: &AccessFacts<'_>) -> Option<Option<usize>> {
        match &self.when {
            None => Some(None),
            Some(rules) => first_noting(rules, facts, &mut NoWhy).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::authorization::Check;
    use crate::request::TypedRequest;

    #[track_caller]
    #[expect(clippy::option_option, reason = "as asked")]
    fn check(when: Option<Vec<Check>>, path: &str, expected: Option<Option<usize>>) {
        let rules = when.map(|checks| {
            let rule = |check| PolicyRule {
                name: String::new(),
                permissions: vec![check],
                principals: vec![Check::Any],
            };
            checks.into_iter().map(rule).collect()
        });
        let external = External {
            provider: "p".into(),
            when: rules,
            cluster: "c".into(),
            protocol: CheckProtocol::Grpc {
                authority: String::new(),
            },
            timeout: Duration::from_secs(1),
            fail_open: false,
            status_on_error: 403,
            body: None,
            clear_route_cache: false,
        };
        let request = TypedRequest::get("x.test", path);
        let facts = AccessFacts {
            request: Some(&request),
            principal: None,
            source: "10.0.0.1".parse().unwrap(),
            remote: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2:80".parse().unwrap(),
            server_name: None,
            claims: None,
        };
        assert_eq!(external.asks(&facts), expected, "{external:?} {path}");
    }

    #[test]
    fn rules_say_what_is_asked_about() {
        let path = |text: &str| Check::Path(StringMatch::Exact(text.into()));
        check(None, "/", Some(None));
        check(Some(Vec::new()), "/", None);
        check(Some(vec![path("/a"), path("/b")]), "/b", Some(Some(1)));
        check(Some(vec![path("/a"), path("/b")]), "/bb", None);
    }
}

//! Redirect locations and path rewrites.

use regex::bytes::Regex;

use super::{PathRewrite, Redirect, Route};
use crate::request::split_query;

/// The parts of a request that a redirect starts from.
#[derive(Debug, Clone, Copy)]
pub struct RequestTarget<'a> {
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// Authority as sent.
    pub authority: &'a [u8],
    /// Path with query.
    pub path_and_query: &'a [u8],
}

impl Redirect {
    /// The `location` value. The port of the authority is kept unless the scheme changes away from its default
    /// port, the host is replaced or a port is given; the query is kept unless it is stripped or the new path
    /// has one.
    #[must_use]
    pub fn location(&self, request: RequestTarget<'_>, route: &Route) -> Vec<u8> {
        let scheme = self.scheme.as_ref().map_or(request.scheme, |s| s.as_bytes());
        let mut out = Vec::with_capacity(request.authority.len() + request.path_and_query.len() + 16);
        out.extend_from_slice(scheme);
        out.extend_from_slice(b"://");
        match &self.host {
            Some(host) => out.extend_from_slice(host.as_bytes()),
            None => out.extend_from_slice(self.kept_authority(request, scheme)),
        }
        let default = default_port(scheme);
        if let Some(port) = self.port.filter(|port| *port != default) {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
        let (path, query) = split_query(request.path_and_query);
        match (&self.path, &self.prefix_rewrite) {
            (Some(new), _) => {
                out.extend_from_slice(new.as_bytes());
                if new.contains('?') {
                    return out;
                }
            }
            (None, Some(prefix)) => {
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(path.get(route.rewritten_length(path)..).unwrap_or_default());
            }
            (None, None) => out.extend_from_slice(path),
        }
        if let Some(query) = query.filter(|_| !self.strip_query) {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        out
    }

    fn kept_authority<'a>(&self, request: RequestTarget<'a>, scheme: &[u8]) -> &'a [u8] {
        let (host, port) = super::split_port(request.authority);
        let left_default = scheme != request.scheme && port == Some(default_port(request.scheme));
        if self.port.is_some() || left_default {
            host
        } else {
            request.authority
        }
    }
}

fn default_port(scheme: &[u8]) -> u16 {
    if scheme == b"https" { 443 } else { 80 }
}

/// A [`PathRewrite`] ready for use: its pattern is compiled once.
#[derive(Debug, Clone)]
pub struct Rewriter(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Replace(String),
    Regex(Box<Regex>, String),
}

impl Rewriter {
    /// Compiles; the error is the pattern parser's.
    pub fn new(rewrite: &PathRewrite) -> Result<Self, String> {
        Ok(Self(match rewrite {
            PathRewrite::Replace(new) => Kind::Replace(new.clone()),
            PathRewrite::Regex {
                pattern,
                substitution,
            } => {
                let compiled = regex::bytes::RegexBuilder::new(pattern)
                    .size_limit(1 << 20)
                    .build()
                    .map_err(|error| error.to_string())?;
                Kind::Regex(Box::new(compiled), substitution.clone())
            }
        }))
    }

    /// The path (with query) after the rewrite; `None` when it stays as it is.
    #[must_use]
    pub fn rewrite(&self, route: &Route, path_and_query: &[u8]) -> Option<Vec<u8>> {
        let (path, query) = split_query(path_and_query);
        let mut out = match &self.0 {
            Kind::Replace(new) => {
                let mut out = new.as_bytes().to_vec();
                out.extend_from_slice(path.get(route.rewritten_length(path)..).unwrap_or_default());
                out
            }
            Kind::Regex(pattern, substitution) => substitute(pattern, substitution, path)?,
        };
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        Some(out)
    }
}

/// RE2 replacement: `\N` is group N, `\\` a backslash. A group that does not exist leaves the path alone.
fn substitute(pattern: &Regex, substitution: &str, path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len() + substitution.len());
    let mut from = 0;
    for found in pattern.captures_iter(path) {
        let whole = found.get(0)?;
        out.extend_from_slice(path.get(from..whole.start())?);
        let mut escaped = false;
        for byte in substitution.bytes() {
            match (escaped, byte) {
                (false, b'\\') => escaped = true,
                (true, b'0'..=b'9') => {
                    let group = usize::from(byte - b'0');
                    if group >= pattern.captures_len() {
                        return None;
                    }
                    out.extend_from_slice(found.get(group).map_or(&[][..], |m| m.as_bytes()));
                    escaped = false;
                }
                _ => {
                    out.push(byte);
                    escaped = false;
                }
            }
        }
        from = whole.end();
    }
    out.extend_from_slice(path.get(from..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::route::{Action, DirectResponse, HeaderEdits, PathMatch, RouteMatch};

    fn route(path: PathMatch) -> Route {
        Route {
            name: String::new(),
            matches: RouteMatch {
                path,
                path_ignore_case: false,
                headers: Vec::new(),
                query: Vec::new(),
                claims: Vec::new(),
            },
            action: Action::Respond(DirectResponse::default()),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            fault: None,
            cors: None,
            operation: None,
            origin: None,
        }
    }

    #[test]
    fn locations() {
        let prefix = route(PathMatch::Prefix("/api".into()));
        let base = Redirect::default;
        let s = |t: &str| Some(t.to_owned());
        for (redirect, expected) in [
            (base(), "http://web:80/api/x?q=1"),
            (
                Redirect {
                    path: s("/new"),
                    ..base()
                },
                "http://web:80/new?q=1",
            ),
            (
                Redirect {
                    path: s("/new?z"),
                    ..base()
                },
                "http://web:80/new?z",
            ),
            (
                Redirect {
                    scheme: s("https"),
                    ..base()
                },
                "https://web/api/x?q=1",
            ),
            (
                Redirect {
                    host: s("other"),
                    ..base()
                },
                "http://other/api/x?q=1",
            ),
            (
                Redirect {
                    port: Some(8443),
                    ..base()
                },
                "http://web:8443/api/x?q=1",
            ),
            (
                Redirect {
                    port: Some(80),
                    ..base()
                },
                "http://web/api/x?q=1",
            ),
            (
                Redirect {
                    port: Some(443),
                    scheme: s("https"),
                    ..base()
                },
                "https://web/api/x?q=1",
            ),
            (
                Redirect {
                    prefix_rewrite: s("/v2"),
                    ..base()
                },
                "http://web:80/v2/x?q=1",
            ),
            (
                Redirect {
                    strip_query: true,
                    ..base()
                },
                "http://web:80/api/x",
            ),
        ] {
            let request = RequestTarget {
                scheme: b"http",
                authority: b"web:80",
                path_and_query: b"/api/x?q=1",
            };
            let location = redirect.location(request, &prefix);
            assert_eq!(String::from_utf8_lossy(&location), expected, "{redirect:?}");
        }
    }

    #[track_caller]
    fn check(path: PathMatch, rewrite: &PathRewrite, from: &str, to: &str) {
        let rewriter = Rewriter::new(rewrite).expect("a good pattern");
        let got = rewriter
            .rewrite(&route(path), from.as_bytes())
            .unwrap_or(from.as_bytes().to_vec());
        assert_eq!(String::from_utf8_lossy(&got), to, "{rewrite:?} of {from}");
    }

    #[test]
    fn rewrites() {
        let to = |t: &str| PathRewrite::Replace(t.into());
        let prefix = |t: &str| PathMatch::Prefix(t.into());
        check(prefix("/"), &to("/v2"), "/a/b", "/v2a/b");
        check(prefix("/api"), &to("/"), "/api/x", "//x");
        check(prefix("/api/"), &to("/"), "/api/x?q", "/x?q");
        check(
            PathMatch::SegmentPrefix("/api".into()),
            &to("/v"),
            "/api/x",
            "/v/x",
        );
        check(PathMatch::Exact("/a".into()), &to("/b"), "/a?q=1", "/b?q=1");
        let regex = |pattern: &str, substitution: &str| PathRewrite::Regex {
            pattern: pattern.into(),
            substitution: substitution.into(),
        };
        check(
            prefix("/"),
            &regex("/(a+)/(b)", r"/\2/\1"),
            "/aa/b/c?q",
            "/b/aa/c?q",
        );
        check(prefix("/"), &regex("a", r"\3"), "/a", "/a");
    }
}

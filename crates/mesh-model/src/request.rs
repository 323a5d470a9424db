//! The one canonical view of a request: route, policy, forward and log all read this.

use crate::token::Claim;

/// Facts of a request that decisions may read. Implemented by the proxy on its parsed request and by analysis
/// on typed-in requests.
pub trait RequestView {
    /// Method, as sent.
    fn method(&self) -> &[u8];
    /// `http` or `https`.
    fn scheme(&self) -> &[u8];
    /// Authority as sent (case kept, port included).
    fn authority(&self) -> &[u8];
    /// Path after normalisation, without query and fragment.
    fn path(&self) -> &[u8];
    /// Query without `?`, if any.
    fn query(&self) -> Option<&[u8]>;
    /// Calls `found` with each value of the header (lower-case name), in order, until it answers `false`.
    fn each_header(&self, name: &str, found: &mut dyn FnMut(&[u8]) -> bool);
    /// What the request's verified token says, in Istio's form; `None` without one.
    fn claims(&self) -> Option<&Claim> {
        None
    }
}

/// A request with what its verified token says.
#[derive(Clone, Copy)]
pub struct WithClaims<'a> {
    /// The request.
    pub request: &'a dyn RequestView,
    /// What its token says.
    pub claims: Option<&'a Claim>,
}

impl RequestView for WithClaims<'_> {
    fn method(&self) -> &[u8] {
        self.request.method()
    }
    fn scheme(&self) -> &[u8] {
        self.request.scheme()
    }
    fn authority(&self) -> &[u8] {
        self.request.authority()
    }
    fn path(&self) -> &[u8] {
        self.request.path()
    }
    fn query(&self) -> Option<&[u8]> {
        self.request.query()
    }
    fn each_header(&self, name: &str, found: &mut dyn FnMut(&[u8]) -> bool) {
        self.request.each_header(name, found);
    }
    fn claims(&self) -> Option<&Claim> {
        self.claims
    }
}

/// A request given as values: for explain, what-if and tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypedRequest {
    /// Method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Authority.
    pub authority: String,
    /// Path with query.
    pub target: String,
    /// Headers in order, names lower case.
    pub headers: Vec<(String, String)>,
}

impl TypedRequest {
    /// A GET over http without headers.
    #[must_use]
    pub fn get(authority: &str, target: &str) -> Self {
        Self {
            method: "GET".into(),
            scheme: "http".into(),
            authority: authority.into(),
            target: target.into(),
            headers: Vec::new(),
        }
    }
}

impl RequestView for TypedRequest {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn scheme(&self) -> &[u8] {
        self.scheme.as_bytes()
    }
    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }
    fn path(&self) -> &[u8] {
        split_query(self.target.as_bytes()).0
    }
    fn query(&self) -> Option<&[u8]> {
        split_query(self.target.as_bytes()).1
    }
    fn each_header(&self, name: &str, found: &mut dyn FnMut(&[u8]) -> bool) {
        for (n, value) in &self.headers {
            if n == name && !found(value.as_bytes()) {
                return;
            }
        }
    }
}

/// Path and query of a request target.
#[must_use]
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => {
            let (path, query) = target.split_at(at);
            (path, query.get(1..))
        }
        None => (target, None),
    }
}

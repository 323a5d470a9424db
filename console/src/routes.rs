//! Every path that the console answers, with who may ask. What is not in this table does not exist.

use http::Method;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Anyone who reaches the port.
    Public,
    /// Signed-in users; on loopback anyone on this machine.
    Read,
    /// Signed-in users; the API server judges each object.
    Edit,
}

/// What the console does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process lives.
    Health,
    /// API server and control plane answer.
    Ready,
    /// Describes this table.
    OpenApi,
    /// The page.
    Page,
    /// A file of the page.
    Asset,
    /// Who is signed in.
    Session,
    /// Signs in.
    SignIn,
    /// Signs out.
    SignOut,
    /// Passed to the control plane.
    Query,
    /// Passed to the control plane, and the answer streams for as long as the page wants it.
    Stream,
    /// Where the graph's nodes stand.
    Layout,
    /// Reads an object.
    ReadObject,
    /// Creates an object.
    CreateObject,
    /// Replaces an object.
    SaveObject,
    /// Deletes an object.
    DeleteObject,
}

/// One row.
#[derive(Debug)]
pub struct Route {
    /// Method; GET answers HEAD too.
    pub method: Method,
    /// Path as axum and OpenAPI write it.
    pub path: &'static str,
    /// Who may ask.
    pub permission: Permission,
    /// What happens.
    pub action: Action,
    /// One line for the API's description.
    pub summary: &'static str,
    /// Query parameters.
    pub query: &'static [(&'static str, &'static str)],
    /// Type of the request's body.
    pub request: Option<&'static str>,
    /// Type of the answer's body; none for pages and streams.
    pub response: Option<&'static str>,
}

const SCOPE: &[(&str, &str)] = &[
    ("type", "workload, app, versionedApp or service"),
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("namespaces", "comma-separated; absent: all"),
];
const STREAM: &[(&str, &str)] = &[
    ("type", "workload, app, versionedApp or service"),
    ("namespaces", "comma-separated; absent: all"),
    ("window", "seconds"),
];
const SERIES: &[(&str, &str)] = &[
    ("type", "workload, app, versionedApp or service"),
    ("source", "node id"),
    ("target", "node id"),
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
];
const OBJECT: &[(&str, &str)] = &[
    ("kind", "CamelCase kind"),
    ("namespace", "namespace"),
    ("name", "name"),
    ("resourceVersion", "version of the object"),
];

const fn route(
    method: Method,
    path: &'static str,
    permission: Permission,
    action: Action,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        permission,
        action,
        summary,
        query: &[],
        request: None,
        response: None,
    }
}

impl Route {
    const fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    const fn takes(mut self, request: &'static str) -> Self {
        self.request = Some(request);
        self
    }

    const fn answers(mut self, response: &'static str) -> Self {
        self.response = Some(response);
        self
    }
}

use Action as A;
use Permission::{Edit, Public, Read};

/// Path of one object.
const ONE_OBJECT: &str = "/api/objects/{kind}/{namespace}/{name}";

/// The table.
pub static TABLE: &[Route] = &[
    route(
        Method::GET,
        "/healthz",
        Public,
        A::Health,
        "Whether the console lives",
    ),
    route(
        Method::GET,
        "/readyz",
        Public,
        A::Ready,
        "Whether the API server and the control plane answer the console",
    ),
    route(Method::GET, "/", Public, A::Page, "The page"),
    route(Method::GET, "/graph", Public, A::Page, "The page, at the graph"),
    route(
        Method::GET,
        "/config",
        Public,
        A::Page,
        "The page, at the configuration",
    ),
    route(
        Method::GET,
        "/config/{*rest}",
        Public,
        A::Page,
        "The page, at one object",
    ),
    route(
        Method::GET,
        "/mesh",
        Public,
        A::Page,
        "The page, at the mesh's own parts",
    ),
    route(
        Method::GET,
        "/assets/{*path}",
        Public,
        A::Asset,
        "A file of the page",
    ),
    route(
        Method::GET,
        "/api/openapi.json",
        Read,
        A::OpenApi,
        "This description",
    ),
    route(
        Method::GET,
        "/api/session",
        Public,
        A::Session,
        "Who is signed in; on loopback the page gets its cookie here",
    )
    .answers("Session"),
    route(
        Method::POST,
        "/api/session",
        Public,
        A::SignIn,
        "Signs in with a Kubernetes token",
    )
    .takes("SignIn")
    .answers("Session"),
    route(Method::DELETE, "/api/session", Public, A::SignOut, "Signs out").answers("Session"),
    route(
        Method::GET,
        "/api/graph",
        Read,
        A::Query,
        "The service graph with exact counts",
    )
    .query(SCOPE)
    .answers("Graph"),
    route(
        Method::GET,
        "/api/graph/stream",
        Read,
        A::Stream,
        "The graph as server-sent events named `graph`",
    )
    .query(STREAM),
    route(
        Method::GET,
        "/api/layout",
        Read,
        A::Layout,
        "Where the graph's nodes stand",
    )
    .query(SCOPE)
    .answers("Layout"),
    route(Method::GET, "/api/series", Read, A::Query, "One edge over time")
        .query(SERIES)
        .answers("Series"),
    route(
        Method::GET,
        "/api/objects",
        Read,
        A::Query,
        "Every Istio object, its problems, how far it has come",
    )
    .answers("ObjectList"),
    route(
        Method::POST,
        "/api/analyze",
        Read,
        A::Query,
        "An object judged as if it were saved",
    )
    .takes("AnalyzeRequest")
    .answers("AnalyzeAnswer"),
    route(
        Method::GET,
        "/api/propagation",
        Read,
        A::Query,
        "How many proxies run a version of an object",
    )
    .query(OBJECT)
    .answers("Propagation"),
    route(
        Method::GET,
        "/api/proxies",
        Read,
        A::Query,
        "Every proxy and its state",
    )
    .answers("ProxyList"),
    route(
        Method::GET,
        "/api/status",
        Read,
        A::Query,
        "Control plane and history",
    )
    .answers("Status"),
    route(
        Method::POST,
        "/api/objects",
        Edit,
        A::CreateObject,
        "Creates an object",
    )
    .takes("SaveRequest")
    .answers("ObjectSource"),
    route(Method::GET, ONE_OBJECT, Read, A::ReadObject, "One object as YAML").answers("ObjectSource"),
    route(
        Method::PUT,
        ONE_OBJECT,
        Edit,
        A::SaveObject,
        "Replaces an object: 409 SaveConflict, 422 AnalyzeAnswer",
    )
    .takes("SaveRequest")
    .answers("ObjectSource"),
    route(
        Method::DELETE,
        ONE_OBJECT,
        Edit,
        A::DeleteObject,
        "Deletes an object",
    )
    .query(&[("resourceVersion", "delete only this version")]),
];

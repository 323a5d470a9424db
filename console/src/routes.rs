//! Every path that the console answers, with who may ask. What is not in this table does not exist.

use http::Method;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Anyone who reaches the port.
    Public,
    /// Signed-in users; on loopback anyone on this machine.
    Read,
    /// Signed-in users, also on loopback: kept requests and traces show what people did.
    Records,
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
    /// Where other tools are, from the command line.
    Links,
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
const LAYOUT: &[(&str, &str)] = &[
    ("type", "workload, app, versionedApp or service"),
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("namespaces", "comma-separated; absent: all"),
    ("idle", "true: also what has no traffic"),
    ("beforeFrom", "start of another time whose nodes get places too"),
    ("beforeTo", "its end"),
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

const INTERVAL: &[(&str, &str)] = &[("from", "RFC 3339 or now-5m"), ("to", "RFC 3339 or now")];
const LIST: &[(&str, &str)] = &[
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("namespaces", "comma-separated; absent: all"),
];
const METRICS: &[(&str, &str)] = &[
    ("type", "workload, app, versionedApp or service"),
    ("subject", "node id of that graph type; absent: the whole mesh"),
    ("direction", "inbound or outbound"),
    (
        "groupBy",
        "none, source, destination, service, version, code, flags, route, protocol, grpcStatus or mutualTls",
    ),
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("step", "seconds of a point"),
    ("quantiles", "comma-separated, as 0.5,0.95,0.99"),
];
const REVISIONS: &[(&str, &str)] = &[
    ("kind", "CamelCase kind"),
    ("namespace", "namespace"),
    ("name", "name"),
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("before", "only revisions with a smaller id"),
    ("limit", "at most so many, 100 if absent"),
];
const EXPLAIN: &[(&str, &str)] = &[
    ("host", "authority; a port in it counts"),
    ("from", "namespace/workload; absent: from outside the mesh"),
    ("gateway", "namespace/workload of the gateway to enter by"),
    ("method", "GET if absent"),
    ("scheme", "http if absent"),
    ("port", "80 when neither it nor the host says one"),
    ("path", "/ if absent; may have a query"),
    ("header", "name: value; repeatable"),
];
macro_rules! filter {
    ($($more:expr),*) => {
        &[
            ("from", "RFC 3339 or now-5m"),
            ("to", "RFC 3339 or now"),
            ("source", "namespace/workload; repeatable, as all that follow"),
            ("destination", "namespace/workload"),
            ("workload", "namespace/workload on either side"),
            ("app", "namespace/app on either side"),
            ("service", "FQDN"),
            ("namespace", "namespace on either side"),
            ("code", "status, 0 if none"),
            ("flags", "response flags, - if none"),
            ("virtualService", "namespace/name"),
            ("route", "route name"),
            ("match", "match name"),
            ("method", "method"),
            ("protocol", "http, grpc or tcp"),
            ("reporter", "source or destination"),
            ("reason", "error, slow or sample"),
            ("minMs", "at least so many milliseconds"),
            ("maxMs", "at most so many milliseconds"),
            ("text", "words in any recorded field"),
            ("trace", "trace id"),
            $($more),*
        ]
    };
}
const FILTER: &[(&str, &str)] = filter!();
const PAGE_OF: &[(&str, &str)] = filter!(
    ("limit", "at most so many, 100 if absent"),
    ("after", "`next` of the page before")
);
const HEATMAP: &[(&str, &str)] = filter!(("columns", "columns, 120 if absent"));
const TRACES: &[(&str, &str)] = &[
    ("from", "RFC 3339 or now-5m"),
    ("to", "RFC 3339 or now"),
    ("workload", "namespace/workload"),
    ("app", "namespace/app"),
    ("errors", "true: only traces with errors"),
    ("minMs", "at least so many milliseconds"),
    ("text", "words in any recorded field"),
    ("limit", "at most so many, 200 if absent"),
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
use Permission::{Edit, Public, Read, Records};

/// A page: the same file at every path, its program reads the URL.
const fn page(path: &'static str, summary: &'static str) -> Route {
    route(Method::GET, path, Public, A::Page, summary)
}

/// A question to the control plane.
const fn ask(path: &'static str, permission: Permission, summary: &'static str) -> Route {
    route(Method::GET, path, permission, A::Query, summary)
}

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
    page("/", "The page"),
    page("/overview", "The page, at the overview"),
    page("/graph", "The page, at the graph"),
    page("/explain", "The page, at what becomes of a request"),
    page("/requests", "The page, at the kept requests"),
    page("/traces", "The page, at the traces"),
    page("/traces/{trace}", "The page, at one trace"),
    page("/services", "The page, at the services"),
    page("/services/{*rest}", "The page, at one service"),
    page("/workloads", "The page, at the workloads"),
    page("/workloads/{*rest}", "The page, at one workload"),
    page("/apps", "The page, at the applications"),
    page("/apps/{*rest}", "The page, at one application"),
    page("/namespaces", "The page, at the namespaces"),
    page("/namespaces/{*rest}", "The page, at one namespace"),
    page("/config", "The page, at the configuration"),
    page("/config/{*rest}", "The page, at one object"),
    page("/history", "The page, at the changes of the configuration"),
    page("/mesh", "The page, at the mesh's own parts"),
    page("/mesh/{*rest}", "The page, at one proxy"),
    page("/gallery", "The page, at its own building blocks"),
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
    ask("/api/overview", Read, "The mesh at a glance")
        .query(INTERVAL)
        .answers("Overview"),
    ask("/api/graph", Read, "The service graph with exact counts")
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
    .query(LAYOUT)
    .answers("Layout"),
    ask("/api/series", Read, "One edge over time")
        .query(SERIES)
        .answers("Series"),
    ask(
        "/api/metrics",
        Read,
        "Counts and quantiles over time, of any subject, grouped by any field",
    )
    .query(METRICS)
    .answers("Metrics"),
    ask("/api/services", Read, "Services with their traffic")
        .query(LIST)
        .answers("ServiceList"),
    ask("/api/services/{namespace}/{name}", Read, "One service")
        .query(INTERVAL)
        .answers("ServiceDetail"),
    ask("/api/workloads", Read, "Workloads with their traffic")
        .query(LIST)
        .answers("WorkloadList"),
    ask("/api/workloads/{namespace}/{name}", Read, "One workload")
        .query(INTERVAL)
        .answers("WorkloadDetail"),
    ask("/api/apps", Read, "Applications with their traffic")
        .query(LIST)
        .answers("AppList"),
    ask("/api/apps/{namespace}/{name}", Read, "One application")
        .query(INTERVAL)
        .answers("AppDetail"),
    ask("/api/namespaces", Read, "Namespaces with their traffic")
        .query(INTERVAL)
        .answers("NamespaceList"),
    ask("/api/requests", Records, "Kept requests, newest first")
        .query(PAGE_OF)
        .answers("RequestPage"),
    ask(
        "/api/requests/facets",
        Records,
        "Values of each field of the kept requests",
    )
    .query(FILTER)
    .answers("Facets"),
    ask(
        "/api/requests/heatmap",
        Records,
        "Kept requests by time and duration",
    )
    .query(HEATMAP)
    .answers("HeatMap"),
    route(
        Method::GET,
        "/api/requests/stream",
        Records,
        A::Stream,
        "New kept requests as server-sent events named `requests`",
    )
    .query(FILTER),
    ask("/api/requests/{trace}/{span}", Records, "One kept request").answers("KeptRequest"),
    ask("/api/traces", Records, "Traces, newest first")
        .query(TRACES)
        .answers("TraceList"),
    ask("/api/traces/{trace}", Records, "One trace").answers("Trace"),
    ask(
        "/api/explain",
        Read,
        "What becomes of a request, decision by decision",
    )
    .query(EXPLAIN)
    .answers("Explanation"),
    route(Method::GET, "/api/links", Read, A::Links, "Where other tools are").answers("Links"),
    ask(
        "/api/objects",
        Read,
        "Every Istio object, its problems, how far it has come",
    )
    .answers("ObjectList"),
    ask(
        "/api/revisions",
        Read,
        "Changes of the configuration, newest first",
    )
    .query(REVISIONS)
    .answers("RevisionList"),
    route(
        Method::POST,
        "/api/analyze",
        Read,
        A::Query,
        "An object judged as if it were saved",
    )
    .takes("AnalyzeRequest")
    .answers("AnalyzeAnswer"),
    ask(
        "/api/propagation",
        Read,
        "How many proxies run a version of an object",
    )
    .query(OBJECT)
    .answers("Propagation"),
    ask("/api/proxies", Read, "Every proxy and its state").answers("ProxyList"),
    ask(
        "/api/proxies/{id}/config",
        Read,
        "What a proxy was sent, as Envoy's /config_dump shows it",
    ),
    ask("/api/status", Read, "Control plane and history").answers("Status"),
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

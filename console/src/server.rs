//! The router: one table, one gate, one entry for every request.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use mesh_api::config::ObjectName;
use mesh_api::error::ApiError;
use mesh_api::graph::{Graph, GraphType, Node};
use mesh_api::idle;
use mesh_api::session::{Session, SignIn};
use tokio_stream::StreamExt;

use crate::answer::Failure;
use crate::gate::{self, Identity, Origin};
use crate::layout::{Dagre, Topology};
use crate::routes::{Action, Route, TABLE};
use crate::session::{User, clear_cookie, set_cookie};
use crate::state::Console;
use crate::{assets, objects, openapi};

/// No object comes near this.
const BODY_LIMIT: usize = 1024 * 1024;

/// Where a request came from, found once.
#[derive(Debug, Clone, Copy)]
struct From(Origin);

/// The whole application.
pub fn router(console: Arc<Console>) -> Router {
    let mut router = Router::new();
    for route in TABLE {
        router = router.route(route.path, serve(route));
    }
    router
        .fallback(|| async {
            Failure::new(StatusCode::NOT_FOUND, "no such path").remedy("see /api/openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
        })
        .layer(axum::middleware::from_fn_with_state(console.clone(), door))
        .with_state(console)
}

/// Outermost: host, request id, headers of every answer.
async fn door(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let id = request_id();
    let host = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| Some(request.headers().get(header::HOST)?.to_str().ok()?.to_owned()))
        .unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = if console.hosts.allow(&host) {
        let origin = gate::origin(request.headers(), &host);
        request.extensions_mut().insert(From(origin));
        next.run(request).await
    } else {
        Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("the console does not answer to the host `{host}`"),
        )
        .remedy("use the address it was started with, or add --allowed-host")
        .into_response()
    };
    let mut response = finish(response, &id);
    if matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST
    ) {
        tracing::warn!(target: "audit", %method, path, status = response.status().as_u16(), request_id = id, "denied");
    }
    let headers = response.headers_mut();
    let constant = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    for (name, value) in constant {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ));
    response
}

/// Puts the request id into the answer, and into the body of an error.
fn finish(response: Response, id: &str) -> Response {
    let mut response = match response.extensions().get::<Failure>() {
        Some(failure) => {
            let body = ApiError {
                message: failure.message.clone(),
                remedy: failure.remedy.clone(),
                request_id: id.to_owned(),
            };
            (failure.status, Json(body)).into_response()
        }
        None => response,
    };
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

fn request_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn serve(route: &'static Route) -> MethodRouter<Arc<Console>> {
    let filter = match route.method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    on(
        filter,
        move |State(console): State<Arc<Console>>, request: Request| async move {
            answer(&console, route, request)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        },
    )
}

async fn answer(console: &Console, route: &Route, request: Request) -> Result<Response, Failure> {
    let origin = request
        .extensions()
        .get::<From>()
        .map_or(Origin::Cross, |from| from.0);
    gate::admit(route, request.method(), request.headers(), origin)?;
    let identity = match route.action {
        Action::Health | Action::Ready | Action::Page | Action::Asset | Action::SignIn => Identity::Anonymous,
        _ => gate::identify(console, request.headers()).await?,
    };
    gate::permit(route, &identity, console.config.anonymous_may_read())?;
    perform(console, route, identity, origin, request).await
}

async fn perform(
    console: &Console,
    route: &Route,
    identity: Identity,
    origin: Origin,
    request: Request,
) -> Result<Response, Failure> {
    match route.action {
        Action::Health => Ok("ok\n".into_response()),
        Action::Ready => ready(console).await,
        Action::OpenApi => Ok(Json(openapi::describe()).into_response()),
        Action::Page => Ok(assets::page()),
        Action::Asset => assets::asset(
            request.uri().path().trim_start_matches("/assets/"),
            request.headers(),
        ),
        Action::Session => session(console, identity, origin).await,
        Action::SignIn => sign_in(console, body(request).await?).await,
        Action::SignOut => Ok(sign_out(console, &request)),
        Action::Query => query(console, identity.user(), request).await,
        Action::Stream => stream(console, identity.user(), request).await,
        Action::Layout => layout(console, identity.user(), request.uri()).await,
        Action::Links => Ok(Json(console.config.links()).into_response()),
        Action::ReadObject => objects::read(console, &identity, &object_name(&request)?).await,
        Action::CreateObject => objects::create(console, &identity, body(request).await?).await,
        Action::SaveObject => {
            let name = object_name(&request)?;
            objects::save(console, &identity, &name, body(request).await?).await
        }
        Action::DeleteObject => {
            let version = parameter(request.uri(), "resourceVersion");
            objects::delete(console, &identity, &object_name(&request)?, version.as_deref()).await
        }
    }
}

async fn ready(console: &Console) -> Result<Response, Failure> {
    console
        .controlplane
        .ask::<mesh_api::mesh::Status>(None, Method::GET, "/api/status", None)
        .await?;
    let answer = crate::cluster::call(&console.cluster.own(), Method::GET, "/readyz", None).await?;
    if answer.status.is_success() {
        Ok("ok\n".into_response())
    } else {
        Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the API server is not ready: {}", answer.message()),
        ))
    }
}

/// Who is signed in. On loopback the page signs in by itself, as the user of --local-user-token.
async fn session(console: &Console, identity: Identity, origin: Origin) -> Result<Response, Failure> {
    let mut cookie = None;
    let mut user = identity.user().cloned();
    if user.is_none()
        && console.config.loopback()
        && matches!(origin, Origin::Same | Origin::Typed)
        && let Some(local) = local_user(console).await?
    {
        cookie = Some(set_cookie(
            &console.sessions.create(local.clone(), Instant::now()),
            console.config.secure(),
        ));
        user = Some(local);
    }
    Ok(with_cookie(
        Json(describe(console, user.as_ref()).await).into_response(),
        cookie,
    ))
}

async fn local_user(console: &Console) -> Result<Option<User>, Failure> {
    let Some(path) = &console.config.local_user_token else {
        return Ok(None);
    };
    let token = tokio::fs::read_to_string(path).await.map_err(|error| {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the token of the local user {} cannot be read: {error}",
                path.display()
            ),
        )
        .remedy("check --local-user-token")
    })?;
    let token = token.trim().to_owned();
    let name = console
        .reviews
        .name(&console.cluster, &token, Instant::now())
        .await?;
    Ok(name.map(|name| User { name, token }))
}

async fn describe(console: &Console, user: Option<&User>) -> Session {
    let may_edit = match user {
        Some(user) => console.cluster.may_edit(user).await.unwrap_or(false),
        None => false,
    };
    Session {
        user: user.map(|user| user.name.clone()).unwrap_or_default(),
        may_edit,
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

async fn sign_in(console: &Console, request: SignIn) -> Result<Response, Failure> {
    let token = request.token.trim();
    let Some(name) = console.cluster.review(token).await? else {
        return Err(Failure::new(
            StatusCode::UNAUTHORIZED,
            "the API server does not know this token",
        )
        .remedy("create one with `kubectl create token NAME`"));
    };
    let user = User {
        name,
        token: token.to_owned(),
    };
    let cookie = set_cookie(
        &console.sessions.create(user.clone(), Instant::now()),
        console.config.secure(),
    );
    tracing::info!(target: "audit", user = user.name, "signed in");
    Ok(with_cookie(
        Json(describe(console, Some(&user)).await).into_response(),
        Some(cookie),
    ))
}

fn sign_out(console: &Console, request: &Request) -> Response {
    if let Some(id) = gate::session_id(request.headers(), console.config.secure()) {
        console.sessions.end(id);
    }
    let nobody = Session {
        version: env!("CARGO_PKG_VERSION").into(),
        ..Session::default()
    };
    with_cookie(
        Json(nobody).into_response(),
        Some(clear_cookie(console.config.secure())),
    )
}

fn with_cookie(mut response: Response, cookie: Option<String>) -> Response {
    if let Some(value) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Passes a query to the control plane, unchanged, in the name of whoever asks.
async fn query(console: &Console, user: Option<&User>, request: Request) -> Result<Response, Failure> {
    let path = path_and_query(&request);
    let method = if request.method() == Method::HEAD {
        Method::GET
    } else {
        request.method().clone()
    };
    let body = if method == Method::GET {
        None
    } else {
        Some(bytes(request).await?)
    };
    Ok(passed(
        console
            .controlplane
            .send(user, method, &path, body, false)
            .await?,
    ))
}

async fn stream(console: &Console, user: Option<&User>, request: Request) -> Result<Response, Failure> {
    let Ok(permit) = console.streams.clone().try_acquire_owned() else {
        return Err(
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open")
                .remedy("close some, or turn live updates off"),
        );
    };
    let response = passed(
        console
            .controlplane
            .send(user, Method::GET, &path_and_query(&request), None, true)
            .await?,
    );
    let (parts, body) = response.into_parts();
    // The place is given back when the page goes away and the body is dropped.
    let body = Body::from_stream(body.into_data_stream().map(move |chunk| {
        let _held = &permit;
        chunk
    }));
    Ok(Response::from_parts(parts, body))
}

/// The control plane's answer without headers that are about its own connection.
fn passed(response: http::Response<Body>) -> Response {
    let (parts, body) = response.into_parts();
    let mut passed = Response::new(body);
    *passed.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        passed.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    passed
}

/// Places for the interval's graph; with `idle` also for what has no traffic, with `beforeFrom` and `beforeTo` also
/// for what was there at another time.
async fn layout(console: &Console, user: Option<&User>, uri: &Uri) -> Result<Response, Failure> {
    let query = uri.query().unwrap_or_default();
    let mut topology = Topology::of(&graph(console, user, query).await?);
    let value = |name: &str| parameter(uri, name).unwrap_or_default();
    let (kind, namespaces) = (value("type"), value("namespaces"));
    if let (Some(from), Some(to)) = (parameter(uri, "beforeFrom"), parameter(uri, "beforeTo")) {
        let before = encoded(&[
            ("type", &kind),
            ("namespaces", &namespaces),
            ("from", &from),
            ("to", &to),
        ]);
        topology.extend(Topology::of(&graph(console, user, &before).await?));
    }
    if value("idle") == "true" {
        let scope = encoded(&[
            ("namespaces", &namespaces),
            ("from", &value("from")),
            ("to", &value("to")),
        ]);
        topology.add(whole_mesh(console, user, graph_type(&kind), &scope).await?);
    }
    let scope = format!("{kind}|{namespaces}");
    let layout = console.layouts.layout(&scope, topology, &Dagre, Instant::now());
    Ok(Json(layout).into_response())
}

async fn graph(console: &Console, user: Option<&User>, query: &str) -> Result<Graph, Failure> {
    console
        .controlplane
        .ask(user, Method::GET, &format!("/api/graph?{query}"), None)
        .await
}

/// Everything that is in the mesh.
async fn whole_mesh(
    console: &Console,
    user: Option<&User>,
    kind: GraphType,
    scope: &str,
) -> Result<Vec<Node>, Failure> {
    let path = format!("{}?{scope}", idle::path(kind));
    let ask = &console.controlplane;
    Ok(match kind {
        GraphType::Workload | GraphType::VersionedApp => {
            idle::of_workloads(&ask.ask(user, Method::GET, &path, None).await?, kind)
        }
        GraphType::App => idle::of_apps(&ask.ask(user, Method::GET, &path, None).await?),
        GraphType::Service => idle::of_services(&ask.ask(user, Method::GET, &path, None).await?),
    })
}

fn graph_type(name: &str) -> GraphType {
    match name {
        "app" => GraphType::App,
        "versionedApp" => GraphType::VersionedApp,
        "service" => GraphType::Service,
        _ => GraphType::Workload,
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(pairs).unwrap_or_default()
}

fn path_and_query(request: &Request) -> String {
    request
        .uri()
        .path_and_query()
        .map(|path| path.as_str().to_owned())
        .unwrap_or_default()
}

/// A query parameter, percent-decoded.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query()?;
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
    pairs
        .into_iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value)
}

/// `/api/objects/{kind}/{namespace}/{name}`
fn object_name(request: &Request) -> Result<ObjectName, Failure> {
    let mut segments = request
        .uri()
        .path()
        .trim_start_matches("/api/objects/")
        .split('/');
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(kind), Some(namespace), Some(name), None)
            if [kind, namespace, name].iter().all(|part| is_name(part)) =>
        {
            Ok(ObjectName {
                kind: kind.into(),
                namespace: namespace.into(),
                name: name.into(),
            })
        }
        _ => Err(Failure::new(StatusCode::BAD_REQUEST, "not an object's path")
            .remedy("use /api/objects/KIND/NAMESPACE/NAME")),
    }
}

fn is_name(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= 253
        && segment
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

async fn body<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Failure> {
    serde_json::from_slice(&bytes(request).await?).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not understood: {error}"),
        )
    })
}

async fn bytes(request: Request) -> Result<Bytes, Failure> {
    axum::body::to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .map_err(|_| {
            Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {BODY_LIMIT} bytes, or broke off"),
            )
        })
}

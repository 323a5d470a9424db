//! One request from head to answer: host, caller, rights, then the verb.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::App;
use crate::authenticate::{User, authenticate};
use crate::authorize::{Attributes, denial};
use crate::reply::{Accept, Body, plain, refuse, respond};
use crate::request::{Params, Route, Target, route, verb};
use crate::status::Refusal;
use crate::store::{Author, StoreError, Transaction};
use crate::{audit, delete, discovery, openapi, read, review, watch, write};

/// The largest body taken.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// A request ready to be answered.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) user: User,
    pub(crate) target: Target,
    pub(crate) params: Params,
    pub(crate) accept: Accept,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) body: Bytes,
}

impl Call {
    /// A write transaction on behalf of the caller.
    pub(crate) async fn begin(&self, verb: &'static str) -> Result<Transaction<'_>, StoreError> {
        let author = Author {
            user: self.user.name.clone(),
            verb,
            manager: self.manager(),
            subresource: self.target.subresource.clone().unwrap_or_default(),
        };
        self.app.store.begin_for(Some(author)).await
    }

    /// Who manages the fields that this request sets: as the request says, else the program that sent it.
    pub(crate) fn manager(&self) -> String {
        if !self.params.field_manager.is_empty() {
            return self.params.field_manager.clone();
        }
        let agent = self.user_agent.split('/').next().unwrap_or_default();
        match agent.is_empty() {
            true => "unknown".into(),
            false => agent.chars().take(128).collect(),
        }
    }
}

/// Answers a request; refusals become `Status` objects.
pub(crate) async fn handle(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let audit = uuid::Uuid::new_v4().to_string();
    let mut response = match answer(app, request).await {
        Ok(response) => response,
        Err(refusal) => refuse(&refusal),
    };
    if let Ok(value) = audit.parse() {
        response.headers_mut().insert("audit-id", value);
    }
    response
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    check_host(&app, &request)?;
    let path = request.uri().path().to_owned();
    let route = route(&path);
    match (&route, request.method()) {
        (Route::Health, &Method::GET | &Method::HEAD) => {
            return Ok(plain(200, "text/plain; charset=utf-8", "ok"));
        }
        (Route::Version, &Method::GET | &Method::HEAD) => {
            return Ok(respond(200, &discovery::version(), Accept::default()));
        }
        _ => {}
    }
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let user = authenticate(&app, text(header::AUTHORIZATION).as_deref()).await?;
    let params = Params::parse(request.uri().query().unwrap_or_default());
    let asked = attributes(request.method(), &path, &route, params.as_ref().ok());
    if app
        .authorizer
        .rules(&app.store)
        .await?
        .allow(&user, &asked)
        .is_none()
    {
        let why = denial(&user, &asked);
        return Err(match &route {
            Route::Resource(target) => Refusal::forbidden(target.resource, &asked.name, &why),
            _ => Refusal::forbidden_path(&why),
        });
    }
    let accept = Accept::parse(text(header::ACCEPT).as_deref());
    let target = match route {
        Route::Resource(target) => target,
        other => {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Err(match other {
                    Route::Nothing(_) => Refusal::no_such_resource(),
                    _ => Refusal::method_not_allowed(),
                });
            }
            if matches!(other, Route::Writes) {
                let query = request.uri().query().unwrap_or_default();
                return audit::writes(&app, query, accept?).await;
            }
            return document(other, accept, text(header::ACCEPT).as_deref());
        }
    };
    let call = Call {
        user,
        target,
        params: params?,
        accept: accept?,
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        user_agent: text(header::USER_AGENT).unwrap_or_default(),
        body: Bytes::new(),
        app,
    };
    let method = request.method().clone();
    let body = collect(request).await?;
    let call = Call { body, ..call };
    if matches!(method, Method::GET | Method::HEAD) {
        return dispatch(&method, call).await;
    }
    // A write goes on to its end when the client leaves: half way it would leave the store in doubt.
    match tokio::spawn(async move { dispatch(&method, call).await }).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(Refusal::internal("the request could not be finished"))
        }
    }
}

async fn collect(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    if *request.method() == Method::GET || *request.method() == Method::HEAD {
        return Ok(Bytes::new());
    }
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
            Err(Refusal::too_large())
        }
        Err(error) => Err(Refusal::bad_request(format!(
            "cannot read the request's body: {error}"
        ))),
    }
}

/// Only names that this server is known by: a page elsewhere cannot reach it through a name of its own.
fn check_host(app: &App, request: &Request<Incoming>) -> Result<(), Refusal> {
    let authority = request.uri().authority().map(|a| a.as_str().to_owned());
    let host = authority
        .or_else(|| {
            request
                .headers()
                .get(header::HOST)
                .and_then(|h| h.to_str().ok())
                .map(str::to_owned)
        })
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host.as_str(),
    };
    if app.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let mut refusal = Refusal::bad_request(format!(
        "host {name:?} is not served here: use the address of the kubeconfig, or add the name to the configuration's hosts"
    ));
    refusal.code = 421;
    Err(refusal)
}

fn attributes(method: &Method, path: &str, route: &Route, params: Option<&Params>) -> Attributes {
    if let (Route::Resource(target), Some(params)) = (route, params)
        && let Some(verb) = verb(method, target, params)
    {
        let mut name = target.name.clone().unwrap_or_default();
        if name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection") {
            name = crate::selector::Fields::parse(&params.field_selector, target.resource)
                .ok()
                .and_then(|f| f.name().map(str::to_owned))
                .unwrap_or_default();
        }
        let is_namespace = target.resource.plural == "namespaces" && target.resource.group.is_empty();
        let namespace = if is_namespace {
            name.clone()
        } else {
            target.namespace.clone()
        };
        return Attributes {
            verb: verb.into(),
            group: target.resource.group.into(),
            resource: target.resource.plural.into(),
            subresource: target.subresource.clone().unwrap_or_default(),
            namespace,
            name,
            path: None,
        };
    }
    Attributes {
        verb: method.as_str().to_lowercase(),
        path: Some(path.to_owned()),
        ..Attributes::default()
    }
}

fn document(
    route: Route,
    accept: Result<Accept, Refusal>,
    header: Option<&str>,
) -> Result<Response<Body>, Refusal> {
    let body = match &route {
        Route::Root => discovery::root(),
        Route::Api => return Ok(discovery::api(accept?)),
        Route::Apis => return Ok(discovery::apis(accept?)),
        Route::Group(group) => discovery::group(group),
        Route::GroupVersion(group, version) => discovery::group_version(group, version),
        Route::OpenApiV2 => return openapi::v2(header),
        Route::OpenApiV3(None) => openapi::v3_index(),
        Route::OpenApiV3(Some(path)) => return openapi::v3(path, header),
        Route::Nothing(true) => return Err(Refusal::no_such_resource()),
        _ => return Ok(plain(404, "text/plain; charset=utf-8", "404 page not found\n")),
    };
    Ok(respond(200, &body, accept?))
}

async fn dispatch(method: &Method, call: Call) -> Result<Response<Body>, Refusal> {
    let Some(verb) = verb(method, &call.target, &call.params) else {
        return Err(Refusal::method_not_allowed());
    };
    if call.target.resource.virtual_only {
        return match verb {
            "create" if call.target.name.is_none() => review::create(call).await,
            _ => Err(Refusal::method_not_allowed()),
        };
    }
    match (verb, call.target.subresource.as_deref()) {
        ("create", Some("token")) if call.target.resource.plural == "serviceaccounts" => {
            review::token(call).await
        }
        ("get", None | Some("status")) if subresource_exists(&call.target) => read::get(call).await,
        ("update", None | Some("status")) if subresource_exists(&call.target) => write::update(call).await,
        ("patch", None | Some("status")) if subresource_exists(&call.target) => write::patch(call).await,
        ("update", Some("finalize")) if call.target.resource.plural == "namespaces" => {
            write::update(call).await
        }
        (_, Some(_)) if call.target.resource.is_istio() => Err(Refusal::not_found(
            call.target.resource,
            call.target.name.as_deref().unwrap_or_default(),
        )),
        (_, Some(_)) => Err(Refusal::no_such_resource()),
        ("list", None) => read::list(call).await,
        ("watch", None) => watch::watch(call).await,
        ("create", None) if call.target.name.is_none() => {
            match call.target.resource.namespaced && call.target.namespace.is_empty() {
                true => Err(Refusal::method_not_allowed()),
                false => write::create(call).await,
            }
        }
        ("delete", None) => delete::delete(call).await,
        ("deletecollection", None) if call.target.resource.verbs().contains(&"deletecollection") => {
            delete::delete_collection(call).await
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn subresource_exists(target: &Target) -> bool {
    target.subresource.is_none() || target.resource.has_status
}

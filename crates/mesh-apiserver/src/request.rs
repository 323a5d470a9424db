//! What a request asks for, read from its path and query.

use http::Method;

use crate::registry::{self, Resource};
use crate::status::Refusal;

/// A resource path, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    pub(crate) version: String,
    /// Empty: cluster scope or all namespaces.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    /// `/version`.
    Version,
    /// `/`: the list of paths.
    Root,
    /// `/api`.
    Api,
    /// `/apis`.
    Apis,
    /// `/apis/G`.
    Group(String),
    /// `/api/v1`, `/apis/G/V`.
    GroupVersion(String, String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`, with the group version's path below it.
    OpenApiV3(Option<String>),
    /// Who wrote what.
    Writes,
    /// A resource.
    Resource(Target),
    /// Nothing here; true when the group version exists.
    Nothing(bool),
}

/// Reads a path (percent-decoded by segment).
pub(crate) fn route(path: &str) -> Route {
    let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Route::Root,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["version"] => Route::Version,
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiV3(None),
        ["openapi", "v3", rest @ ..] => Route::OpenApiV3(Some(rest.join("/"))),
        ["api"] => Route::Api,
        ["api", version] => group_version("", version),
        ["api", version, rest @ ..] => target("", version, rest),
        ["apis"] => Route::Apis,
        ["apis", group] => match registry::groups().contains_key(group) {
            true => Route::Group((*group).to_owned()),
            false => Route::Nothing(false),
        },
        parts if parts == crate::audit::PATH => Route::Writes,
        ["apis", group, version] => group_version(group, version),
        ["apis", group, version, rest @ ..] => target(group, version, rest),
        _ => Route::Nothing(false),
    }
}

fn served(group: &str, version: &str) -> bool {
    match group {
        "" => version == "v1",
        _ => registry::groups()
            .get(group)
            .is_some_and(|versions| versions.contains(&version)),
    }
}

fn group_version(group: &str, version: &str) -> Route {
    if served(group, version) {
        Route::GroupVersion(group.into(), version.into())
    } else {
        Route::Nothing(false)
    }
}

fn target(group: &str, version: &str, rest: &[&str]) -> Route {
    if !served(group, version) {
        return Route::Nothing(false);
    }
    let (namespace, plural, name, subresource) = match rest {
        ["namespaces"] => ("", "namespaces", None, None),
        ["namespaces", name] => ("", "namespaces", Some(*name), None),
        ["namespaces", name, sub @ ("status" | "finalize")] => ("", "namespaces", Some(*name), Some(*sub)),
        ["namespaces", namespace, plural] => (*namespace, *plural, None, None),
        ["namespaces", namespace, plural, name] => (*namespace, *plural, Some(*name), None),
        ["namespaces", namespace, plural, name, sub] => (*namespace, *plural, Some(*name), Some(*sub)),
        [plural] => ("", *plural, None, None),
        [plural, name] => ("", *plural, Some(*name), None),
        [plural, name, sub] => ("", *plural, Some(*name), Some(*sub)),
        _ => return Route::Nothing(true),
    };
    let Some(resource) = registry::find(group, version, plural) else {
        // Custom resources' groups answer as if nothing was there at all.
        return Route::Nothing(!group.ends_with(".istio.io"));
    };
    let misplaced = match resource.namespaced {
        // One object of a namespaced kind is only reachable through its namespace.
        true => namespace.is_empty() && name.is_some(),
        false => !namespace.is_empty(),
    };
    if misplaced {
        return Route::Nothing(true);
    }
    Route::Resource(Target {
        resource,
        version: version.into(),
        namespace: namespace.into(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |b: u8| (b as char).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                    rest = after;
                    continue;
                }
                _ => out.push(first),
            },
            _ => out.push(first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How strictly unknown and repeated fields are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The query's options.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    pub(crate) watch: bool,
    pub(crate) limit: i64,
    pub(crate) resume: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    pub(crate) field_manager: String,
    pub(crate) force: Option<bool>,
    pub(crate) include_object: String,
    pub(crate) propagation: Option<String>,
    pub(crate) grace_period: Option<i64>,
}

impl Params {
    /// Reads the query string.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut params = Self {
            watch: false,
            limit: 0,
            resume: String::new(),
            resource_version: String::new(),
            resource_version_match: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
            bookmarks: false,
            send_initial_events: None,
            timeout_seconds: None,
            dry_run: false,
            field_validation: FieldValidation::Warn,
            field_manager: String::new(),
            force: None,
            include_object: String::new(),
            propagation: None,
            grace_period: None,
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "watch" => params.watch = boolean(&value),
                "limit" => params.limit = integer(&value)?,
                "continue" => params.resume = value.into_owned(),
                "resourceVersion" => params.resource_version = value.into_owned(),
                "resourceVersionMatch" => params.resource_version_match = value.into_owned(),
                "labelSelector" => params.label_selector = value.into_owned(),
                "fieldSelector" => params.field_selector = value.into_owned(),
                "allowWatchBookmarks" => params.bookmarks = boolean(&value),
                "sendInitialEvents" => params.send_initial_events = Some(boolean(&value)),
                "timeoutSeconds" => params.timeout_seconds = u64::try_from(integer(&value)?).ok(),
                "dryRun" => params.dry_run = dry_run(&value)?,
                "fieldValidation" => params.field_validation = field_validation(&value)?,
                "fieldManager" => params.field_manager = value.into_owned(),
                "force" => params.force = Some(boolean(&value)),
                "includeObject" => params.include_object = value.into_owned(),
                "propagationPolicy" => params.propagation = Some(value.into_owned()),
                "gracePeriodSeconds" => params.grace_period = Some(integer(&value)?),
                _ => {}
            }
        }
        Ok(params)
    }
}

fn boolean(value: &str) -> bool {
    !(value.eq_ignore_ascii_case("false") || value == "0")
}

fn integer(value: &str) -> Result<i64, Refusal> {
    value
        .parse()
        .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")))
}

fn dry_run(value: &str) -> Result<bool, Refusal> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let cause = crate::status::Cause::unsupported("dryRun", &serde_json::json!([other]), &["All"]);
            Err(Refusal::invalid_kind(
                "meta.k8s.io",
                "CreateOptions",
                "",
                &[cause],
            ))
        }
    }
}

fn field_validation(value: &str) -> Result<FieldValidation, Refusal> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        other => {
            let cause = crate::status::Cause::unsupported(
                "fieldValidation",
                &serde_json::json!(other),
                &["", "Ignore", "Strict", "Warn"],
            );
            Err(Refusal::invalid_kind(
                "meta.k8s.io",
                "CreateOptions",
                "",
                &[cause],
            ))
        }
    }
}

/// The verb of the API that a request is, for rights and for dispatch.
pub(crate) fn verb(method: &Method, target: &Target, params: &Params) -> Option<&'static str> {
    Some(match (method, target.name.is_some()) {
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) => match params.watch {
            true => "watch",
            false => "list",
        },
        (&Method::POST, _) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return None,
    })
}

//! Reading and changing objects with the user's own rights: the console has no other way to write.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use mesh_api::config::{
    AnalyzeAnswer, AnalyzeRequest, ObjectName, ObjectSource, Problem, SaveConflict, SaveRequest, Severity,
};
use mesh_crd::kinds::Kind;
use serde_json::{Value, json};

use crate::answer::Failure;
use crate::cluster::{Answer, call};
use crate::gate::Identity;
use crate::session::User;
use crate::state::Console;
use crate::yaml;

/// Reads one object.
pub async fn read(console: &Console, identity: &Identity, name: &ObjectName) -> Result<Response, Failure> {
    let client = client(console, identity)?;
    let answer = call(&client, Method::GET, &path_of(name)?, None).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer, "get", name));
    }
    Ok(Json(source(name, &answer.body)).into_response())
}

/// Replaces one object, if it is still the version that the edit is based on.
pub async fn save(
    console: &Console,
    identity: &Identity,
    name: &ObjectName,
    request: SaveRequest,
) -> Result<Response, Failure> {
    let (kind, mut object) = match checked(console, identity.user(), &request, Some(name)).await {
        Ok(checked) => checked,
        Err(problems) => return Ok(unprocessable(problems, name)),
    };
    if request.resource_version.is_empty() {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "the save does not say on which version it is based",
        )
        .remedy("send the `resource_version` of the object that was read"));
    }
    set_resource_version(&mut object, Some(&request.resource_version));
    let path = format!(
        "{}/{}{}",
        collection(kind, &object, name),
        escape(&name.name),
        options(request.dry_run)
    );
    write(console, identity, Method::PUT, &path, name, &object, &request).await
}

/// Creates one object.
pub async fn create(
    console: &Console,
    identity: &Identity,
    request: SaveRequest,
) -> Result<Response, Failure> {
    let (kind, mut object) = match checked(console, identity.user(), &request, None).await {
        Ok(checked) => checked,
        Err(problems) => return Ok(unprocessable(problems, &ObjectName::default())),
    };
    set_resource_version(&mut object, None);
    let name = yaml::name(&object);
    let path = format!("{}{}", collection(kind, &object, &name), options(request.dry_run));
    write(console, identity, Method::POST, &path, &name, &object, &request).await
}

/// Deletes one object; with a version, only that version.
pub async fn delete(
    console: &Console,
    identity: &Identity,
    name: &ObjectName,
    version: Option<&str>,
) -> Result<Response, Failure> {
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if let Some(version) = version {
        body["preconditions"] = json!({"resourceVersion": version});
    }
    let answer = call(
        &client(console, identity)?,
        Method::DELETE,
        &path_of(name)?,
        Some(&body),
    )
    .await?;
    audit("delete", identity, name, answer.status, false);
    if answer.status.is_success() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if answer.status == StatusCode::CONFLICT {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            format!("{} was changed meanwhile and was not deleted", shown(name)),
        )
        .remedy("look at its present version, then delete it again"));
    }
    Err(refused(&answer, "delete", name))
}

async fn write(
    console: &Console,
    identity: &Identity,
    method: Method,
    path: &str,
    name: &ObjectName,
    object: &Value,
    request: &SaveRequest,
) -> Result<Response, Failure> {
    let client = client(console, identity)?;
    let verb = if method == Method::POST {
        "create"
    } else {
        "update"
    };
    let answer = call(&client, method, path, Some(object)).await?;
    audit(verb, identity, name, answer.status, request.dry_run);
    match answer.status {
        status if status.is_success() => Ok((status, Json(source(name, &answer.body))).into_response()),
        StatusCode::CONFLICT => conflict(&client, name, request).await,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(unprocessable(placed(problems_of(&answer), &request.yaml), name))
        }
        _ => Err(refused(&answer, verb, name)),
    }
}

/// Text to object, or every problem with it: syntax, name, kind, and the control plane's analysis.
async fn checked(
    console: &Console,
    user: Option<&User>,
    request: &SaveRequest,
    name: Option<&ObjectName>,
) -> Result<(&'static Kind, Value), Vec<Problem>> {
    let text = request.yaml.as_str();
    let mut object = yaml::parse(text).map_err(|problem| vec![problem])?;
    yaml::strip(&mut object);
    if let (Some(name), Some(metadata)) = (name, object.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata
            .entry("namespace")
            .or_insert_with(|| Value::from(name.namespace.clone()));
    }
    let api_version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let written = yaml::name(&object);
    let Some(kind) = Kind::by_api_version(&api_version, &written.kind) else {
        let message = format!(
            "`{}` of `{api_version}` is not a kind that the console edits",
            written.kind
        );
        return Err(placed(
            vec![wrong(
                "apiVersion",
                message,
                "use an Istio kind, as VirtualService of networking.istio.io/v1",
            )],
            text,
        ));
    };
    let mut problems = Vec::new();
    if written.name.is_empty() {
        problems.push(wrong(
            "metadata.name",
            "the object has no name".into(),
            "add metadata.name",
        ));
    }
    if written.namespace.is_empty() {
        problems.push(wrong(
            "metadata.namespace",
            "the object has no namespace".into(),
            "add metadata.namespace",
        ));
    }
    if let Some(name) = name
        && written != *name
    {
        let message = format!(
            "the text is {}, but {} is being edited",
            shown(&written),
            shown(name)
        );
        problems.push(wrong(
            "metadata.name",
            message,
            "keep kind, namespace and name, or create a new object",
        ));
    }
    if problems.is_empty() {
        problems = analysis(console, user, text).await;
        // The API server refuses what breaks the schema, and nothing else.
        problems.retain(|problem| !request.despite || problem.code == SCHEMA);
    }
    if problems.is_empty() {
        Ok((kind, object))
    } else {
        Err(placed(problems, text))
    }
}

/// Code of a problem with the shape of an object.
const SCHEMA: &str = "IST0106";

/// Errors that the control plane sees. Without it the API server's own validation still stands between a mistake
/// and the mesh, and a repair must stay possible; so that its absence does not refuse the save.
async fn analysis(console: &Console, user: Option<&User>, text: &str) -> Vec<Problem> {
    let Ok(body) = serde_json::to_vec(&AnalyzeRequest {
        yaml: text.to_owned(),
    }) else {
        return Vec::new();
    };
    match console
        .controlplane
        .ask::<AnalyzeAnswer>(user, Method::POST, "/api/analyze", Some(body.into()))
        .await
    {
        Ok(answer) => answer
            .problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .collect(),
        Err(failure) => {
            tracing::warn!(target: "audit", reason = failure.message.as_str(), "saved without the control plane's analysis");
            Vec::new()
        }
    }
}

async fn conflict(
    client: &kube::Client,
    name: &ObjectName,
    request: &SaveRequest,
) -> Result<Response, Failure> {
    let answer = call(client, Method::GET, &path_of(name)?, None).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer, "get", name));
    }
    let current = source(name, &answer.body);
    let diff = similar::TextDiff::from_lines(&current.yaml, &request.yaml)
        .unified_diff()
        .context_radius(3)
        .header("present version", "refused text")
        .to_string();
    let message = if request.resource_version.is_empty() {
        format!("{} exists already; nothing was changed", shown(name))
    } else {
        format!(
            "{} was changed by someone else since you opened it; nothing was saved",
            shown(name)
        )
    };
    Ok((
        StatusCode::CONFLICT,
        Json(SaveConflict {
            current,
            diff,
            message,
        }),
    )
        .into_response())
}

/// The API server's causes as problems.
fn problems_of(answer: &Answer) -> Vec<Problem> {
    let causes = answer.body.pointer("/details/causes").and_then(Value::as_array);
    let mut problems: Vec<Problem> = causes
        .into_iter()
        .flatten()
        .map(|cause| {
            let text = |key: &str| {
                cause
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            wrong(&text("field"), text("message"), "")
        })
        .collect();
    if problems.is_empty() {
        // Strict decoding names its fields in the message only: unknown field "spec.http[0].retry".
        let message = answer.message();
        let fields = message
            .split("unknown field \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        problems = fields
            .map(|field| {
                wrong(
                    field,
                    format!("unknown field `{field}`"),
                    "correct its spelling, or remove it",
                )
            })
            .collect();
        if problems.is_empty() {
            problems.push(wrong("", message.to_owned(), ""));
        }
    }
    problems
}

fn wrong(field: &str, message: String, remedy: &str) -> Problem {
    Problem {
        code: "IST0106".into(),
        severity: Severity::Error,
        field: field.to_owned(),
        line: None,
        column: None,
        message,
        remedy: remedy.to_owned(),
    }
}

/// Fills in the lines, and orders by them.
fn placed(mut problems: Vec<Problem>, text: &str) -> Vec<Problem> {
    for problem in problems
        .iter_mut()
        .filter(|problem| problem.line.is_none() && !problem.field.is_empty())
    {
        if let Some((line, column)) = yaml::locate(text, &problem.field) {
            (problem.line, problem.column) = (Some(line), Some(column));
        }
    }
    problems.sort_by_key(|problem| problem.line.unwrap_or(0));
    problems
}

fn unprocessable(problems: Vec<Problem>, name: &ObjectName) -> Response {
    let object = (!name.name.is_empty()).then(|| name.clone());
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        Json(AnalyzeAnswer { problems, object }),
    )
        .into_response()
}

fn refused(answer: &Answer, verb: &str, name: &ObjectName) -> Failure {
    let failure = Failure::new(
        answer.status,
        format!("cannot {verb} {}: {}", shown(name), answer.message()),
    );
    match answer.status {
        StatusCode::FORBIDDEN => failure.remedy(format!(
            "ask for a Role with verb `{verb}` on {} in namespace {}",
            Kind::by_kind(&name.kind).map_or_else(
                || name.kind.clone(),
                |kind| format!("{}.{}", kind.plural, kind.group)
            ),
            name.namespace
        )),
        StatusCode::NOT_FOUND => failure.remedy("it may have been deleted: look at the list"),
        StatusCode::UNAUTHORIZED => failure.remedy("your token has expired: sign in again"),
        status if status.is_server_error() => Failure {
            status: StatusCode::BAD_GATEWAY,
            ..failure
        },
        _ => failure,
    }
}

fn audit(verb: &str, identity: &Identity, name: &ObjectName, status: StatusCode, dry_run: bool) {
    tracing::info!(
        target: "audit",
        user = identity.name(), verb, kind = name.kind, namespace = name.namespace, object = name.name,
        status = status.as_u16(), dry_run, "write"
    );
}

fn client(console: &Console, identity: &Identity) -> Result<kube::Client, Failure> {
    match identity.user() {
        Some(user) => console.cluster.acting_as(user),
        None => Ok(console.cluster.own()),
    }
}

fn source(name: &ObjectName, object: &Value) -> ObjectSource {
    ObjectSource {
        object: name.clone(),
        yaml: yaml::print(object),
        resource_version: yaml::resource_version(object),
    }
}

fn path_of(name: &ObjectName) -> Result<String, Failure> {
    let Some(kind) = Kind::by_kind(&name.kind) else {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            format!("`{}` is not a kind that the console knows", name.kind),
        )
        .remedy("use an Istio kind, as VirtualService"));
    };
    let version = kind.versions.first().copied().unwrap_or("v1");
    Ok(format!(
        "/apis/{}/{version}/namespaces/{}/{}/{}",
        kind.group,
        escape(&name.namespace),
        kind.plural,
        escape(&name.name)
    ))
}

fn collection(kind: &Kind, object: &Value, name: &ObjectName) -> String {
    let api_version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!(
        "/apis/{api_version}/namespaces/{}/{}",
        escape(&name.namespace),
        kind.plural
    )
}

/// Names are DNS labels; whatever else arrives must not change the path.
fn escape(segment: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut escaped = String::new();
    let only_dots = segment.bytes().all(|byte| byte == b'.');
    for byte in segment.bytes() {
        if plain(&byte) || (byte == b'.' && !only_dots) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn options(dry_run: bool) -> String {
    let dry = if dry_run { "&dryRun=All" } else { "" };
    format!("?fieldValidation=Strict&fieldManager=sightline-console{dry}")
}

fn set_resource_version(object: &mut Value, version: Option<&str>) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match version {
            Some(version) => metadata.insert("resourceVersion".into(), version.into()),
            None => metadata.shift_remove("resourceVersion"),
        };
    }
}

fn shown(name: &ObjectName) -> String {
    format!("{} {}/{}", name.kind, name.namespace, name.name)
}

#[cfg(test)]
mod tests;

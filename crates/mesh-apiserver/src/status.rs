//! Every refusal as a Kubernetes `Status`.

use serde_json::{Map, Value, json};

use crate::registry::Resource;
use crate::store::StoreError;

/// A refusal: becomes a `Status` body with its code.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    /// Sent as the list metadata's `continue` (an expired token's replacement).
    pub(crate) resume: Option<String>,
}

/// One field's fault, in the words of the API's field errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    /// The value is not allowed; `value` as it is to be shown.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {detail}", shown(value)),
            field: field.into(),
        }
    }

    /// The field must be set.
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    /// The value is not one of a fixed set.
    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|a| format!("\"{a}\"")).collect();
        Self {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                shown(value),
                allowed.join(", ")
            ),
            field: field.into(),
        }
    }

    /// The field may not be set here.
    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {detail}"),
            field: field.into(),
        }
    }

    /// The value is there twice.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {}", shown(value)),
            field: field.into(),
        }
    }

    /// Whether a custom resource's rules cannot be evaluated because of this.
    pub(crate) fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }

    /// Says that rules were left out.
    pub(crate) fn unchecked_rules() -> Self {
        Self::invalid(
            "<nil>",
            &Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        )
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            resume: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = Some(details(name, resource.group, resource.plural));
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// `kind` is `resource.group "name"`, quoted as the API does.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let mut what = resource.qualified();
        if !name.is_empty() {
            what.push_str(&format!(" {name:?}"));
        }
        Self::new(403, "Forbidden", format!("{what} is forbidden: {why}")).about(resource, name)
    }

    pub(crate) fn forbidden_path(why: &str) -> Self {
        let mut refusal = Self::new(403, "Forbidden", format!("forbidden: {why}"));
        refusal.details = Some(json!({}));
        refusal
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", resource.qualified()),
        )
        .about(resource, name)
    }

    pub(crate) fn no_such_resource() -> Self {
        let mut refusal = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        refusal.details = Some(json!({}));
        refusal
    }

    pub(crate) fn method_not_allowed() -> Self {
        let mut refusal = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        refusal.details = Some(json!({}));
        refusal
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", resource.qualified()),
        )
        .about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                resource.qualified()
            ),
        )
        .about(resource, name)
    }

    pub(crate) fn stale(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// The list asked for is from the future.
    pub(crate) fn too_new(asked: i64, current: i64) -> Self {
        let mut refusal = Self::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        );
        refusal.details = Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }));
        refusal
    }

    /// The object breaks rules of its fields.
    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_kind(resource.group, resource.kind, name, causes)
    }

    pub(crate) fn invalid_kind(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let each: Vec<String> = causes
            .iter()
            .map(|c| {
                if c.field.is_empty() {
                    c.message.clone()
                } else {
                    format!("{}: {}", c.field, c.message)
                }
            })
            .collect();
        let list = match each.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut refusal = Self::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {list}"));
        let mut about = details(name, group, kind);
        if let Some(map) = about.as_object_mut() {
            let causes = causes
                .iter()
                .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
                .collect();
            map.insert("causes".into(), Value::Array(causes));
        }
        refusal.details = Some(about);
        refusal
    }

    /// A failure that the API gives no reason for.
    pub(crate) fn unreasoned(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// An update without a resourceVersion where one is needed; the resource stands for the kind here.
    pub(crate) fn version_required(resource: &Resource, name: &str) -> Self {
        let cause = Cause::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        Self::invalid_kind(resource.group, resource.plural, name, &[cause])
    }

    /// Fields that others manage; each cause has its message and field.
    pub(crate) fn apply_conflict(message: &str, causes: impl Iterator<Item = (String, String)>) -> Self {
        let mut refusal = Self::new(409, "Conflict", message);
        let causes: Vec<Value> = causes
            .map(|(message, field)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
            .collect();
        refusal.details = Some(json!({"causes": causes}));
        refusal
    }

    /// A delete's precondition does not hold.
    pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let qualified = match resource.group {
            "" => resource.kind.to_owned(),
            group => format!("{}.{group}", resource.kind),
        };
        let mut refusal = Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}"),
        );
        refusal.details = Some(details(name, resource.group, resource.kind));
        refusal
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let mut refusal = Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        );
        refusal.details = Some(json!({"causes": [{"message": message.to_string()}]}));
        refusal
    }

    /// The `Status` object.
    pub(crate) fn body(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(resume) = &self.resume {
            metadata.insert("continue".into(), Value::String(resume.clone()));
        }
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
        });
        if let Some(map) = body.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".into(), self.reason.into());
            }
            if let Some(details) = &self.details {
                map.insert("details".into(), details.clone());
            }
            map.insert("code".into(), self.code.into());
        }
        body
    }
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut map = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            map.insert(key.into(), Value::String(value.into()));
        }
    }
    Value::Object(map)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { .. } => Self::expired(error.to_string()),
            other => {
                tracing::error!(error = %other, "store failed");
                Self::internal(other)
            }
        }
    }
}

/// The `Status` of a successful delete.
pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut about = details(name, resource.group, resource.plural);
    if let Some(map) = about.as_object_mut()
        && !uid.is_empty()
    {
        map.insert("uid".into(), Value::String(uid.into()));
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})
}

/// A value as Go prints it.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut each: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", printed(v))).collect();
            each.sort_unstable();
            format!("map[{}]", each.join(" "))
        }
        Value::Array(items) => {
            let each: Vec<String> = items.iter().map(printed).collect();
            format!("[{}]", each.join(" "))
        }
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

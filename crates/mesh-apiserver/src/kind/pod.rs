//! Pods: defaults, the account they run as, and their rules.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{edit, list, or_set, text};
use crate::names;
use crate::registry::{Core, Resource, of};
use crate::status::{Cause, Refusal};
use crate::store::{Key, Transaction};

/// Where a pod's token is mounted.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) fn default(object: &mut Value) {
    edit(object, "spec", |spec| {
        for field in ["initContainers", "containers"] {
            for container in spec
                .get_mut(field)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Value::Object(container) = container {
                    default_container(container);
                }
            }
        }
        or_set(spec, "restartPolicy", "Always");
        or_set(spec, "terminationGracePeriodSeconds", 30);
        or_set(spec, "dnsPolicy", "ClusterFirst");
        or_set(spec, "schedulerName", "default-scheduler");
        or_set(spec, "securityContext", json!({}));
        or_set(spec, "enableServiceLinks", true);
    });
    let class = qos_class(object);
    edit(object, "status", |status| {
        or_set(status, "phase", "Pending");
        or_set(status, "qosClass", class);
        for condition in status
            .get_mut("conditions")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(condition) = condition {
                condition.entry("lastProbeTime").or_insert(Value::Null);
                condition.entry("lastTransitionTime").or_insert(Value::Null);
            }
        }
    });
}

/// What a cluster's admission adds: account, priority, and tolerations of nodes that are away for a while.
pub(super) fn complete(object: &mut Value) {
    edit(object, "spec", |spec| {
        or_set(spec, "preemptionPolicy", "PreemptLowerPriority");
        or_set(spec, "priority", 0);
        let account = ["serviceAccountName", "serviceAccount"]
            .iter()
            .find_map(|f| spec.get(*f).and_then(Value::as_str).filter(|a| !a.is_empty()))
            .unwrap_or("default")
            .to_owned();
        spec.insert("serviceAccountName".into(), account.clone().into());
        spec.insert("serviceAccount".into(), account.into());
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            tolerate(spec, key);
        }
    });
}

fn tolerate(spec: &mut Map<String, Value>, key: &str) {
    let covers = |toleration: &Value| {
        let is = |field: &str, value: &str| {
            let found = toleration.get(field).and_then(Value::as_str).unwrap_or_default();
            found.is_empty() || found == value
        };
        is("key", key) && is("effect", "NoExecute")
    };
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Value::Array(list) = list
        && !list.iter().any(covers)
    {
        list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
    }
}

fn default_probe(probe: &mut Map<String, Value>) {
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        or_set(probe, field, value);
    }
    if let Some(Value::Object(get)) = probe.get_mut("httpGet") {
        or_set(get, "path", "/");
        or_set(get, "scheme", "HTTP");
    }
}

fn default_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
        .map(|(_, tag)| tag);
    let pull = if !image.contains('@') && tag.is_none_or(|t| t == "latest") {
        "Always"
    } else {
        "IfNotPresent"
    };
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            default_probe(probe);
        }
    }
    or_set(container, "resources", json!({}));
    or_set(container, "terminationMessagePath", "/dev/termination-log");
    or_set(container, "terminationMessagePolicy", "File");
    or_set(container, "imagePullPolicy", pull);
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Value::Object(port) = port {
            or_set(port, "protocol", "TCP");
        }
    }
}

fn qos_class(object: &Value) -> &'static str {
    let containers = list(object, "/spec/containers");
    let amounts = |c: &Value, side: &str| {
        c.pointer(&format!("/resources/{side}"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    if containers
        .iter()
        .all(|c| amounts(c, "limits").is_empty() && amounts(c, "requests").is_empty())
    {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|c| {
        let (limits, requests) = (amounts(c, "limits"), amounts(c, "requests"));
        ["cpu", "memory"]
            .iter()
            .all(|r| limits.contains_key(*r) && requests.get(*r).is_none_or(|q| limits.get(*r) == Some(q)))
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// A pod's account must exist; its token is mounted as on a cluster.
pub(super) async fn admit(
    tx: &mut Transaction<'_>,
    object: &mut Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    complete(object);
    let namespace = text(object, "/metadata/namespace").to_owned();
    let account = text(object, "/spec/serviceAccountName").to_owned();
    let key = Key {
        resource: of(Core::ServiceAccount).storage,
        namespace: namespace.clone(),
        name: account.clone(),
    };
    let Some(found) = tx.get(&key).await? else {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        return Err(Refusal::forbidden(resource, text(object, "/metadata/name"), &why));
    };
    let mount = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_bool);
    let wanted = mount(object, "/spec/automountServiceAccountToken")
        .or_else(|| mount(&found, "/automountServiceAccountToken"))
        .unwrap_or(true);
    if wanted {
        mount_token(object);
    }
    Ok(())
}

fn mount_token(object: &mut Value) {
    let volume = format!("kube-api-access-{}", crate::object::suffix());
    edit(object, "spec", |spec| {
        let mut mounted = false;
        for field in ["initContainers", "containers"] {
            for container in spec
                .get_mut(field)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                let Value::Object(container) = container else {
                    continue;
                };
                let mut mounts = container
                    .get("volumeMounts")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                if mounts
                    .iter()
                    .any(|m| m.get("mountPath").and_then(Value::as_str) == Some(TOKEN_PATH))
                {
                    continue;
                }
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
                container.insert("volumeMounts".into(), mounts.into());
                mounted = true;
            }
        }
        if mounted {
            let mut volumes = spec
                .get("volumes")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}));
            spec.insert("volumes".into(), volumes.into());
        }
    });
}

pub(super) fn grace_period(object: &Value, asked: Option<i64>) -> i64 {
    let finished = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
    if text(object, "/spec/nodeName").is_empty() || finished {
        return 0;
    }
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(30);
    asked.unwrap_or(own).max(0)
}

pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = list(new, "/spec/containers");
    if containers.is_empty() {
        causes.push(Cause::required("spec.containers", ""));
    }
    let mut seen = HashSet::new();
    for (at, container) in containers.iter().enumerate() {
        let field = |name: &str| format!("spec.containers[{at}].{name}");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push(Cause::required(field("name"), ""));
        } else if let Some(fault) = names::label(name) {
            causes.push(Cause::invalid(field("name"), &json!(name), &fault));
        } else if !seen.insert(name.to_owned()) {
            causes.push(Cause::duplicate(field("name"), &json!(name)));
        }
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(field("image"), ""));
        }
        for (port_at, port) in list(container, "/ports").iter().enumerate() {
            let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
            let field = field(&format!("ports[{port_at}].containerPort"));
            if number == 0 {
                causes.push(Cause::required(field, ""));
            } else if !(1..=65535).contains(&number) {
                causes.push(Cause::invalid(
                    field,
                    &json!(number),
                    "must be between 1 and 65535, inclusive",
                ));
            }
        }
    }
    let policy = text(new, "/spec/restartPolicy");
    if !matches!(policy, "Always" | "OnFailure" | "Never") {
        causes.push(Cause::unsupported(
            "spec.restartPolicy",
            &json!(policy),
            &["Always", "OnFailure", "Never"],
        ));
    }
    if let Some(old) = old
        && frozen(new) != frozen(old)
    {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
    causes
}

/// The part of a pod's spec that never changes.
fn frozen(object: &Value) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    if let Value::Object(map) = &mut spec {
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
        ] {
            map.shift_remove(field);
        }
        for field in ["containers", "initContainers"] {
            for container in map
                .get_mut(field)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Value::Object(container) = container {
                    container.shift_remove("image");
                }
            }
        }
    }
    spec
}

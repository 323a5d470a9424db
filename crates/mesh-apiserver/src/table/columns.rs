//! The columns of the core kinds, as the real server prints them.

use serde_json::Value;

use crate::object::meta;
use crate::registry::Core;

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) format: &'static str,
    pub(super) description: &'static str,
    /// 0 is always shown, 1 only when wide output is asked for.
    pub(super) priority: i32,
    pub(super) cell: fn(&Value) -> Value,
}

const fn column(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
    cell: fn(&Value) -> Value,
) -> Column {
    Column {
        name,
        kind,
        format: "",
        description,
        priority: 0,
        cell,
    }
}

const fn wide(column: Column) -> Column {
    Column {
        priority: 1,
        ..column
    }
}

pub(super) const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const NAME: Column = Column {
    format: "name",
    ..column("Name", "string", NAME_TEXT, name)
};
const AGE: Column = column("Age", "string", AGE_TEXT, age);

pub(super) fn name(object: &Value) -> Value {
    meta(object, "name").into()
}

/// Time since creation, in the short form of kubectl.
fn age(object: &Value) -> Value {
    since(meta(object, "creationTimestamp")).into()
}

pub(super) fn since(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return "<unknown>".into();
    };
    short_duration(jiff::Timestamp::now().as_second() - then.as_second())
}

/// As kubectl shortens durations: 90s, 5m30s, 3h, 2d4h, 1y20d.
fn short_duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| match b {
        0 => format!("{a}{unit}"),
        b => format!("{a}{unit}{b}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn count(object: &Value, pointer: &str) -> i64 {
    let length = match object.pointer(pointer) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn or_none(text: String) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn service_ports(object: &Value) -> Value {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    let list: Vec<String> = ports
        .into_iter()
        .flatten()
        .map(|port| {
            let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            match port.get("nodePort").and_then(Value::as_i64) {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    or_none(list.join(","))
}

fn service_external(object: &Value) -> Value {
    let own: Vec<String> = object
        .pointer("/spec/externalIPs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    match text(object, "/spec/type").as_str() {
        "ExternalName" => text(object, "/spec/externalName").into(),
        "LoadBalancer" => {
            let ingress = object
                .pointer("/status/loadBalancer/ingress")
                .and_then(Value::as_array);
            let mut list: Vec<String> = ingress
                .into_iter()
                .flatten()
                .filter_map(|i| {
                    i.get("ip")
                        .or_else(|| i.get("hostname"))
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                })
                .collect();
            list.extend(own);
            if list.is_empty() {
                "<pending>".into()
            } else {
                list.join(",").into()
            }
        }
        _ => or_none(own.join(",")),
    }
}

fn service_selector(object: &Value) -> Value {
    let selector = object.pointer("/spec/selector").and_then(Value::as_object);
    let mut list: Vec<String> = selector
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    list.sort();
    or_none(list.join(","))
}

fn pod_ready(object: &Value) -> Value {
    let ready = object
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|s| s.get("ready").and_then(Value::as_bool) == Some(true))
        .count();
    format!("{ready}/{}", count(object, "/spec/containers")).into()
}

fn pod_status(object: &Value) -> Value {
    if crate::object::is_deleting(object) {
        return "Terminating".into();
    }
    let reason = text(object, "/status/reason");
    if reason.is_empty() {
        text(object, "/status/phase").into()
    } else {
        reason.into()
    }
}

fn pod_restarts(object: &Value) -> Value {
    let total: i64 = object
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| s.get("restartCount").and_then(Value::as_i64))
        .sum();
    total.to_string().into()
}

fn slice_ports(object: &Value) -> Value {
    let ports = object
        .get("ports")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if ports.is_empty() {
        return "<unset>".into();
    }
    let list = ports.iter().map(|p| {
        p.get("port")
            .and_then(Value::as_i64)
            .map_or("*".into(), |n| n.to_string())
    });
    shortened(list.collect(), 3).into()
}

fn slice_endpoints(object: &Value) -> Value {
    let endpoints = object
        .get("endpoints")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if endpoints.is_empty() {
        return "<unset>".into();
    }
    let list = endpoints
        .iter()
        .filter_map(|e| e.get("addresses").and_then(Value::as_array))
        .flatten()
        .filter_map(|a| a.as_str().map(str::to_owned));
    shortened(list.collect(), 3).into()
}

fn shortened(list: Vec<String>, most: usize) -> String {
    let shown: Vec<String> = list.iter().take(most).cloned().collect();
    match list.len().saturating_sub(most) {
        0 => shown.join(","),
        more => format!("{} + {more} more...", shown.join(",")),
    }
}

fn event_seen(object: &Value) -> Value {
    let last = ["/lastTimestamp", "/eventTime", "/firstTimestamp"].map(|p| text(object, p));
    let last = last.into_iter().find(|t| !t.is_empty()).unwrap_or_default();
    since(&last).into()
}

fn event_object(object: &Value) -> Value {
    let at = if object.get("involvedObject").is_some() {
        "/involvedObject"
    } else {
        "/regarding"
    };
    format!(
        "{}/{}",
        text(object, &format!("{at}/kind")).to_lowercase(),
        text(object, &format!("{at}/name"))
    )
    .into()
}

fn binding_role(object: &Value) -> Value {
    format!(
        "{}/{}",
        text(object, "/roleRef/kind"),
        text(object, "/roleRef/name")
    )
    .into()
}

fn subjects(object: &Value, kind: &str) -> Value {
    let list: Vec<String> = object
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|s| s.get("kind").and_then(Value::as_str) == Some(kind))
        .map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", text(s, "/namespace"), text(s, "/name")),
            _ => text(s, "/name"),
        })
        .collect();
    list.join(", ").into()
}

pub(super) fn core_columns(core: Core) -> Vec<Column> {
    match core {
        Core::Namespace => vec![
            NAME,
            column("Status", "string", "The status of the namespace", |o| {
                text(o, "/status/phase").into()
            }),
            AGE,
        ],
        Core::Service => vec![
            NAME,
            column("Type", "string", "How the Service is exposed", |o| {
                text(o, "/spec/type").into()
            }),
            column("Cluster-IP", "string", "The address of the Service", |o| {
                or_none(text(o, "/spec/clusterIP"))
            }),
            column(
                "External-IP",
                "string",
                "Addresses from outside",
                service_external,
            ),
            column("Port(s)", "string", "The ports of the Service", service_ports),
            AGE,
            wide(column(
                "Selector",
                "string",
                "Labels of the pods behind it",
                service_selector,
            )),
        ],
        Core::Pod => pod_columns(),
        Core::Secret => vec![
            NAME,
            column("Type", "string", "What kind of secret it is", |o| {
                text(o, "/type").into()
            }),
            column("Data", "string", "The number of entries", |o| {
                count(o, "/data").into()
            }),
            AGE,
        ],
        Core::ConfigMap => vec![
            NAME,
            column("Data", "string", "The number of entries", |o| {
                (count(o, "/data") + count(o, "/binaryData")).into()
            }),
            AGE,
        ],
        // The column went from the answer of the real server with Kubernetes 1.36; only name and age are left.
        Core::ServiceAccount => vec![NAME, AGE],
        Core::Event | Core::EventsEvent => event_columns(),
        Core::EndpointSlice => vec![
            NAME,
            column("AddressType", "string", "The kind of address", |o| {
                text(o, "/addressType").into()
            }),
            column("Ports", "string", "The ports of the endpoints", slice_ports),
            column(
                "Endpoints",
                "string",
                "The addresses of the endpoints",
                slice_endpoints,
            ),
            AGE,
        ],
        Core::Lease => vec![
            NAME,
            column("Holder", "string", "Who holds the lease", |o| {
                text(o, "/spec/holderIdentity").into()
            }),
            AGE,
        ],
        Core::Role | Core::ClusterRole => vec![
            NAME,
            column("Created At", "date", AGE_TEXT, |o| {
                meta(o, "creationTimestamp").into()
            }),
        ],
        Core::RoleBinding | Core::ClusterRoleBinding => vec![
            NAME,
            column("Role", "string", "The role that is given", binding_role),
            AGE,
            wide(column("Users", "string", "Users who have it", |o| {
                subjects(o, "User")
            })),
            wide(column("Groups", "string", "Groups who have it", |o| {
                subjects(o, "Group")
            })),
            wide(column(
                "ServiceAccounts",
                "string",
                "Accounts that have it",
                |o| subjects(o, "ServiceAccount"),
            )),
        ],
        _ => vec![
            NAME,
            column("Created At", "date", AGE_TEXT, |o| {
                meta(o, "creationTimestamp").into()
            }),
        ],
    }
}

fn event_text(object: &Value, core: &str, events: &str) -> Value {
    let found = text(object, core);
    if found.is_empty() {
        text(object, events).into()
    } else {
        found.into()
    }
}

fn event_source(object: &Value) -> Value {
    let component = event_text(object, "/source/component", "/deprecatedSource/component");
    let host = event_text(object, "/source/host", "/deprecatedSource/host");
    match (
        component.as_str().unwrap_or_default(),
        host.as_str().unwrap_or_default(),
    ) {
        ("", _) => event_text(object, "/reportingComponent", "/reportingController"),
        (_, "") => component,
        (component, host) => format!("{component}, {host}").into(),
    }
}

fn event_first(object: &Value) -> Value {
    let times = ["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"].map(|p| text(object, p));
    since(times.iter().find(|t| !t.is_empty()).map_or("", String::as_str)).into()
}

fn event_count(object: &Value) -> Value {
    let count = object
        .get("count")
        .or_else(|| object.get("deprecatedCount"))
        .and_then(Value::as_i64);
    count.filter(|c| *c > 0).unwrap_or(1).into()
}

fn event_columns() -> Vec<Column> {
    vec![
        column("Last Seen", "string", "When it happened last", event_seen),
        column("Type", "string", "Normal or Warning", |o| text(o, "/type").into()),
        column("Reason", "string", "Why", |o| text(o, "/reason").into()),
        column("Object", "string", "What it is about", event_object),
        wide(column("Subobject", "string", "Which part of it", |o| {
            event_text(o, "/involvedObject/fieldPath", "/regarding/fieldPath")
        })),
        wide(column("Source", "string", "Who says so", event_source)),
        column("Message", "string", "What happened", |o| {
            event_text(o, "/message", "/note")
                .as_str()
                .unwrap_or_default()
                .trim()
                .into()
        }),
        wide(column(
            "First Seen",
            "string",
            "When it happened first",
            event_first,
        )),
        wide(column("Count", "string", "How often it happened", event_count)),
        wide(Column {
            format: "name",
            ..column("Name", "string", NAME_TEXT, name)
        }),
    ]
}

fn pod_columns() -> Vec<Column> {
    vec![
        NAME,
        column("Ready", "string", "Containers that are ready, of all", pod_ready),
        column("Status", "string", "The state of the pod", pod_status),
        column(
            "Restarts",
            "string",
            "How often containers were started again",
            pod_restarts,
        ),
        AGE,
        wide(column("IP", "string", "The address of the pod", |o| {
            or_none(text(o, "/status/podIP"))
        })),
        wide(column("Node", "string", "The node of the pod", |o| {
            or_none(text(o, "/spec/nodeName"))
        })),
        wide(column(
            "Nominated Node",
            "string",
            "The node that it may get",
            |o| or_none(text(o, "/status/nominatedNodeName")),
        )),
        wide(column(
            "Readiness Gates",
            "string",
            "Further conditions of readiness",
            |_| "<none>".into(),
        )),
    ]
}

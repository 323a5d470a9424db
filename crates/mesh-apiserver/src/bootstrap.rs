//! What is there from the start: namespaces, their accounts, and the roles that every cluster has.

use serde_json::{Value, json};

use crate::kind;
use crate::object::{edit_metadata, now};
use crate::registry::{Core, of};
use crate::status::Refusal;
use crate::store::{Key, Store, Transaction};

const NAMESPACES: &[&str] = &[
    "default",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "istio-system",
];

/// Creates what is missing.
pub(crate) async fn run(store: &Store) -> Result<(), Refusal> {
    let first = store.revision() == 0;
    let mut tx = store.begin().await?;
    for name in NAMESPACES {
        add(
            &mut tx,
            Core::Namespace,
            json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
        )
        .await?;
    }
    for (name, rules) in roles() {
        let role = json!({
            "kind": "ClusterRole",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": labelled(name),
            "rules": rules,
        });
        add(&mut tx, Core::ClusterRole, role).await?;
    }
    for (name, role, groups) in BINDINGS {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|g| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": g}))
            .collect();
        let binding = json!({
            "kind": "ClusterRoleBinding",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": labelled(name),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        });
        add(&mut tx, Core::ClusterRoleBinding, binding).await?;
    }
    tx.commit().await?;
    if first {
        // A watch from before the beginning is answered as on a cluster: too old.
        store.compact(store.revision()).await?;
    }
    Ok(())
}

fn labelled(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

async fn add(tx: &mut Transaction<'_>, core: Core, mut object: Value) -> Result<(), Refusal> {
    let resource = of(core);
    let key = Key {
        resource: resource.storage,
        namespace: String::new(),
        name: crate::object::meta(&object, "name").to_owned(),
    };
    if tx.get(&key).await?.is_some() {
        return Ok(());
    }
    kind::default(&mut object, resource);
    edit_metadata(&mut object, |m| {
        m.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        m.insert("creationTimestamp".into(), now().into());
    });
    let object = tx.put(&key, object).await?;
    kind::after_create(tx, &object, resource).await
}

const BINDINGS: &[(&str, &str, &[&str])] = &[
    ("cluster-admin", "cluster-admin", &["system:masters"]),
    (
        "system:basic-user",
        "system:basic-user",
        &["system:authenticated"],
    ),
    ("system:discovery", "system:discovery", &["system:authenticated"]),
    (
        "system:public-info-viewer",
        "system:public-info-viewer",
        &["system:authenticated", "system:unauthenticated"],
    ),
];

/// Istio's groups: its installation lets those who view or edit a namespace view or edit its kinds.
const ISTIO: &[&str] = &[
    "extensions.istio.io",
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
];
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

fn roles() -> Vec<(&'static str, Value)> {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let paths = |paths: &[&str]| json!({"nonResourceURLs": paths, "verbs": ["get"]});
    let content = [
        "configmaps",
        "events",
        "namespaces",
        "pods",
        "serviceaccounts",
        "services",
        "pods/status",
        "services/status",
    ];
    let view = vec![
        rule(&[""], &content, READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(ISTIO, &["*"], READ),
    ];
    let mut edit = view.clone();
    edit.push(rule(&[""], &["secrets"], READ));
    edit.push(rule(
        &[""],
        &[
            "configmaps",
            "events",
            "pods",
            "secrets",
            "serviceaccounts",
            "services",
        ],
        WRITE,
    ));
    edit.push(rule(&[""], &["serviceaccounts/token"], &["create"]));
    edit.push(rule(&["coordination.k8s.io"], &["leases"], &["*"]));
    edit.push(rule(ISTIO, &["*"], WRITE));
    let mut admin = edit.clone();
    admin.push(rule(
        &["rbac.authorization.k8s.io"],
        &["roles", "rolebindings"],
        &["*"],
    ));
    admin.push(rule(
        &["authorization.k8s.io"],
        &["localsubjectaccessreviews"],
        &["create"],
    ));
    let documents = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    vec![
        (
            "cluster-admin",
            json!([rule(&["*"], &["*"], &["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        ),
        ("admin", admin.into()),
        ("edit", edit.into()),
        ("view", view.into()),
        (
            "system:basic-user",
            json!([
                rule(
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                    &["create"]
                ),
                rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
            ]),
        ),
        ("system:discovery", json!([paths(&documents)])),
        (
            "system:public-info-viewer",
            json!([paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"])]),
        ),
        (
            "system:auth-delegator",
            json!([
                rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            ]),
        ),
    ]
}

//! The history of configuration.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use mesh_api::history::{Revision, RevisionList};
use serde_json::json;

use crate::support::{Mesh, eventually, rules};

async fn until(mesh: &Mesh, what: &str, count: usize) -> Vec<Revision> {
    eventually(what, async || {
        let list: RevisionList = mesh
            .get("/api/revisions?kind=VirtualService&namespace=default&name=reviews")
            .await;
        // The present state runs somewhere, if only at nobody yet.
        let known = list
            .revisions
            .first()
            .is_some_and(|r| r.change == "deleted" || r.live.is_some());
        (list.revisions.len() == count && known).then_some(list.revisions)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_is_kept_with_who_and_when() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let api = mesh.virtual_services();
    let object: DynamicObject = serde_json::from_value(rules("/a")).unwrap();
    let by = |manager: &str| PostParams {
        field_manager: Some(manager.into()),
        ..PostParams::default()
    };
    api.create(&by("the-console"), &object).await.unwrap();
    let first = until(&mesh, "the creation is recorded", 1).await.remove(0);
    assert_eq!(
        (first.change.as_str(), first.manager.as_str(), first.gap),
        ("created", "the-console", false)
    );
    assert!(
        !first.user.is_empty(),
        "the embedded server knows the user: {first:?}"
    );
    assert_eq!(first.live, Some(0));
    assert!(
        first.yaml.contains("prefix: /a") && !first.yaml.contains("resourceVersion"),
        "{}",
        first.yaml
    );

    let patch = json!({ "spec": rules("/b")["spec"] });
    api.patch("reviews", &PatchParams::apply("kubectl"), &Patch::Merge(&patch))
        .await
        .unwrap();
    let list = until(&mesh, "the edit is recorded", 2).await;
    assert_eq!(
        (list[0].change.as_str(), list[0].manager.as_str()),
        ("updated", "kubectl")
    );
    assert!(list[0].yaml.contains("prefix: /b"));
    assert_eq!(
        (list[0].live, list[1].live),
        (Some(0), None),
        "only the present state runs"
    );

    // While nobody watches: two edits, then the object goes.
    let mesh = mesh
        .restart_after(async |client| {
            let kind = kube::core::GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
            let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "virtualservices");
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
            for prefix in ["/c", "/d"] {
                let patch = json!({ "spec": rules(prefix)["spec"] });
                api.patch("reviews", &PatchParams::default(), &Patch::Merge(&patch))
                    .await
                    .unwrap();
            }
        })
        .await;
    let list = until(&mesh, "what was missed is marked", 3).await;
    assert!(
        list[0].gap && list[0].yaml.contains("prefix: /d"),
        "{:?}",
        list[0]
    );
    assert!(!list[1].gap);

    mesh.virtual_services()
        .delete("reviews", &DeleteParams::default())
        .await
        .unwrap();
    let list = until(&mesh, "the deletion is recorded", 4).await;
    assert_eq!(
        (list[0].change.as_str(), list[0].gap, list[0].live),
        ("deleted", false, None)
    );
    assert!(!list[0].user.is_empty());
    assert!(list[0].yaml.contains("prefix: /d"), "the last content stays");
    let before = format!("/api/revisions?before={}&limit=1", list[0].id);
    let page: RevisionList = mesh.get(&before).await;
    assert_eq!(page.revisions[0].id, list[1].id);
    mesh.control.shutdown().await;
}

//! The real kubectl applies: from its own side, and on the server's.

use std::path::Path;

use crate::kubectl::{Kubectl, start};

fn manifest(subset: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, labels: {{app: reviews}}}}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {{host: reviews, subset: {subset}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports:
  - {{name: http, port: 80}}
  - {{name: admin, port: {port}}}
"
    )
}

impl Kubectl {
    /// A file with a manifest, for commands that read it more than once.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What a call says on both outputs, and whether it succeeded.
    fn says(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

fn subset(kubectl: &Kubectl) -> String {
    kubectl.ok("get vs reviews -o jsonpath={.spec.http[0].route[0].destination.subset}")
}

/// Who manages the VirtualService.
fn managers(kubectl: &Kubectl) -> String {
    let query = "{range.metadata.managedFields[*]}{.manager}/{.operation},{end}";
    kubectl.ok(&format!(
        "get vs reviews --show-managed-fields -o jsonpath={query}"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_from_its_own_side() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let first = kubectl.file("a.yaml", &manifest("v1", 81));
        let said = kubectl.ok(&format!("apply -f {first}"));
        assert!(
            said.contains("reviews created") && said.contains("web created"),
            "{said}"
        );
        let said = kubectl.ok(&format!("apply -f {first}"));
        assert!(
            said.contains("reviews unchanged") && said.contains("web unchanged"),
            "{said}"
        );
        assert_eq!(
            kubectl.says(&format!("diff -f {first}")),
            (Some(0), String::new())
        );

        let second = kubectl.file("b.yaml", &manifest("v2", 82));
        let (code, said) = kubectl.says(&format!("diff -f {second}"));
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("-        subset: v1") && said.contains("+        subset: v2"),
            "{said}"
        );
        assert!(
            said.contains("-    port: 81") && said.contains("+    port: 82"),
            "{said}"
        );
        assert_eq!(subset(&kubectl), "v1", "a diff changes nothing");

        let said = kubectl.ok(&format!("apply -f {second}"));
        assert!(
            said.contains("reviews configured") && said.contains("web configured"),
            "{said}"
        );
        assert_eq!(subset(&kubectl), "v2");
        assert_eq!(
            kubectl.ok("get svc web -o jsonpath={.spec.ports[*].port}"),
            "80 82",
            "the port that is no longer applied is gone"
        );
        assert_eq!(managers(&kubectl), "kubectl-client-side-apply/Update,");

        // What others set stays.
        kubectl.ok("annotate vs reviews note=kept");
        kubectl.ok("label svc web tier=front");
        kubectl.ok(&format!("apply -f {first}"));
        assert_eq!(
            kubectl.ok("get vs reviews -o jsonpath={.metadata.annotations.note}"),
            "kept"
        );
        assert_eq!(
            kubectl.ok("get svc web -o jsonpath={.metadata.labels.tier}"),
            "front"
        );
        // And what was applied with it goes with it.
        let bare = manifest("v1", 81).replace(", labels: {app: reviews}", "");
        let bare = kubectl.file("c.yaml", &bare);
        kubectl.ok(&format!("apply -f {bare}"));
        assert_eq!(kubectl.ok("get vs reviews -o jsonpath={.metadata.labels}"), "");

        let wrong = manifest("v1", 81).replace("hosts:", "hostz:");
        let (fine, said) = kubectl.with_input("apply -f -", &wrong);
        assert!(!fine && said.contains("unknown field \"spec.hostz\""), "{said}");
        let (fine, said) = kubectl.with_input("apply --dry-run=server -f -", &manifest("v3", 81));
        assert!(fine && said.contains("configured (server dry run)"), "{said}");
        assert_eq!(subset(&kubectl), "v1");
        let (code, said) = kubectl.says(&format!("apply set-last-applied -f {first} --create-annotation"));
        assert_eq!(code, Some(0), "{said}");
        assert!(
            kubectl
                .ok("apply view-last-applied vs reviews")
                .contains("subset: v1")
        );
    });
    work.await.unwrap();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_on_the_server() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let first = kubectl.file("a.yaml", &manifest("v1", 81));
        // Begun on kubectl's own side, then handed over.
        kubectl.ok(&format!("apply -f {first}"));
        let said = kubectl.ok(&format!("apply --server-side -f {first}"));
        assert!(said.contains("reviews serverside-applied"), "{said}");
        assert!(
            managers(&kubectl).contains("kubectl/Apply,"),
            "{}",
            managers(&kubectl)
        );

        let second = kubectl.file("b.yaml", &manifest("v2", 81));
        let (code, said) = kubectl.says(&format!(
            "apply --server-side --field-manager=pipeline -f {second}"
        ));
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .spec.http"),
            "{said}"
        );
        assert_eq!(subset(&kubectl), "v1");
        kubectl.ok(&format!(
            "apply --server-side --field-manager=pipeline --force-conflicts -f {second}"
        ));
        assert_eq!(subset(&kubectl), "v2");
        let (code, said) = kubectl.says(&format!("apply --server-side -f {first}"));
        assert!(
            code == Some(1) && said.contains("conflict with \"pipeline\""),
            "{said}"
        );

        // A manager that no longer wants a field gives it up.
        let less = manifest("v2", 81).replace(", labels: {app: reviews}", "");
        let less = kubectl.file("c.yaml", &less);
        kubectl.ok(&format!("apply --server-side --field-manager=pipeline -f {less}"));
        assert_eq!(
            kubectl.ok("get vs reviews -o jsonpath={.metadata.labels.app}"),
            "reviews",
            "kubectl still applies it"
        );
        let (code, said) = kubectl.says(&format!(
            "diff --server-side --field-manager=pipeline -f {second}"
        ));
        assert!(code == Some(0) || code == Some(1), "{said}");
        let (code, said) = kubectl.says(&format!(
            "apply --server-side --dry-run=server --force-conflicts -f {first}"
        ));
        assert!(code == Some(0) && said.contains("(server dry run)"), "{said}");
        assert_eq!(subset(&kubectl), "v2");
    });
    work.await.unwrap();
    server.shutdown().await;
}

/// An editor that changes the subset and a port.
fn editor(folder: &Path) -> String {
    let path = folder.join("editor");
    std::fs::write(
        &path,
        "#!/bin/sh\nsed -i -e 's/subset: v1/subset: v9/' -e 's/port: 81/port: 91/' \"$1\"\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_explains_edits_and_replaces() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let said = kubectl.ok("explain virtualservice.spec.http --recursive");
        for field in [
            "retries",
            "perTryTimeout",
            "headers",
            "weight",
            "mirrorPercentage",
        ] {
            assert!(said.contains(field), "{field} is missing in {said}");
        }
        let said = kubectl.ok("explain service.spec.ports");
        assert!(said.contains("FIELD: ports <[]ServicePort>"), "{said}");
        assert!(said.contains("port\t<integer> -required-"), "{said}");
        let said = kubectl.ok("explain pod.spec.containers.env.valueFrom.secretKeyRef.name");
        assert!(said.contains("FIELD: name <string>"), "{said}");
        for short in [
            "vs",
            "dr",
            "gw",
            "se",
            "pa",
            "ap",
            "svc",
            "ns",
            "rolebinding",
            "lease",
        ] {
            let said = kubectl.ok(&format!("explain {short}"));
            assert!(said.contains("metadata\t<ObjectMeta>"), "{short}: {said}");
        }
        assert!(
            kubectl
                .fails("explain vs.spec.nothing")
                .contains("does not exist")
        );

        let first = kubectl.file("a.yaml", &manifest("v1", 81));
        kubectl.ok(&format!("create --validate=strict -f {first}"));
        let edited = kubectl
            .command("edit vs reviews")
            .env("EDITOR", editor(&kubectl.home))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&edited.stdout);
        assert!(
            said.contains("reviews edited"),
            "{said}{}",
            String::from_utf8_lossy(&edited.stderr)
        );
        assert_eq!(subset(&kubectl), "v9");
        let edited = kubectl
            .command("edit svc web")
            .env("EDITOR", editor(&kubectl.home))
            .output()
            .unwrap();
        assert!(
            edited.status.success(),
            "{}",
            String::from_utf8_lossy(&edited.stderr)
        );

        let uid = || kubectl.ok("get vs reviews -o jsonpath={.metadata.uid}");
        let before = uid();
        kubectl.ok(&format!("replace -f {first}"));
        assert_eq!((subset(&kubectl), uid()), ("v1".into(), before.clone()));
        kubectl.ok(&format!("replace --force -f {first}"));
        assert_ne!(uid(), before, "force replaces the object itself");
        for (what, shows) in [
            ("describe svc web", "TargetPort:"),
            ("describe vs reviews", "Subset:  v1"),
            ("describe ns default", "Status:"),
            ("describe sa default", "Name:"),
        ] {
            let said = kubectl.ok(what);
            assert!(said.contains(shows), "{what}: {said}");
        }
    });
    work.await.unwrap();
    server.shutdown().await;
}

//! The real kubectl waits, deletes, and watches namespaces end.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::kubectl::{Kubectl, start};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p, finalizers: [example.com/hold]}
spec: {containers: [{name: main, image: app}]}
";

/// A `kubectl wait` that runs on its own; it watches once it has said nothing for the first look.
struct Waiting(Child, String);

impl Waiting {
    fn start(kubectl: &Kubectl, arguments: &str) -> Self {
        let child = kubectl
            .command(&format!("wait --timeout=20s {arguments}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child, arguments.to_owned())
    }

    fn still_waits(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "{} ended too early", self.1);
    }

    fn ends_with(self, expected: &str) {
        let output = self.0.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.success() && said.contains(expected),
            "wait {}: {said}",
            self.1
        );
    }
}

/// Asks until the answer fits.
fn until(kubectl: &Kubectl, arguments: &str, fits: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = kubectl.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if fits(&said) {
            return;
        }
        assert!(Instant::now() < deadline, "{arguments}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_waits() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let (fine, said) = kubectl.with_input("create -f -", POD);
        assert!(fine, "{said}");
        let mut phase = Waiting::start(&kubectl, "--for=jsonpath={.status.phase}=Running pod/p");
        let mut ready = Waiting::start(&kubectl, "--for=condition=Ready pod/p");
        let patch = |status: &str| {
            kubectl.ok(&format!(
                "patch pod p --subresource=status --type=strategic -p {status}"
            ));
        };
        phase.still_waits();
        patch(r#"{"status":{"phase":"Running"}}"#);
        phase.ends_with("condition met");
        ready.still_waits();
        patch(r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#);
        ready.ends_with("condition met");

        let mut gone = Waiting::start(&kubectl, "--for=delete pod/p");
        kubectl.ok("delete pod p --wait=false --grace-period=0 --force");
        gone.still_waits();
        assert!(
            !kubectl
                .ok("get pod p -o jsonpath={.metadata.deletionTimestamp}")
                .is_empty()
        );
        kubectl.ok(r#"patch pod p --type=merge -p {"metadata":{"finalizers":null}}"#);
        gone.ends_with("condition met");
        assert!(kubectl.fails("get pod p").contains("not found"));
        let late = kubectl.fails("wait --timeout=1s --for=condition=Ready pod/p");
        assert!(late.contains("not found"), "{late}");
    });
    work.await.unwrap();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_end_when_they_are_empty() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        kubectl.ok("create namespace shop");
        kubectl.ok("create configmap plain -n shop --from-literal=a=b");
        let (fine, said) = kubectl.with_input("create -n shop -f -", POD);
        assert!(fine, "{said}");

        let gone = Waiting::start(&kubectl, "--for=delete namespace/shop");
        kubectl.ok("delete namespace shop --wait=false");
        assert_eq!(
            kubectl.ok("get ns shop -o jsonpath={.status.phase}"),
            "Terminating"
        );
        assert!(kubectl.ok("get ns").contains("Terminating"));
        assert!(kubectl.fails("get configmap plain -n shop").contains("not found"));
        let told = kubectl.ok("describe ns shop");
        assert!(
            told.contains("pods has 1 resource instances")
                && told.contains("example.com/hold in 1 resource instances"),
            "{told}"
        );
        let refused = kubectl.fails("create configmap late -n shop");
        assert!(refused.contains("because it is being terminated"), "{refused}");
        kubectl.ok(r#"patch pod p -n shop --type=merge -p {"metadata":{"finalizers":null}}"#);
        gone.ends_with("condition met");
        assert!(kubectl.fails("get ns shop").contains("not found"));
        kubectl.ok("create namespace shop");
        assert!(kubectl.ok("get all,cm -n shop -o name").trim().is_empty());
        kubectl.ok("delete namespace shop");
    });
    work.await.unwrap();
    server.shutdown().await;
}

fn owned(name: &str, owners: &[&str]) -> String {
    let each: Vec<String> = owners
        .iter()
        .map(|uid| format!("{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}"))
        .collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, ownerReferences: [{}]}}\n",
        each.join(", ")
    )
}

/// Dependents go with their last owner, unless they are to stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_go_with_their_owners() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let make = |text: &str| {
            let (fine, said) = kubectl.with_input("create -f -", text);
            assert!(fine, "{said}");
        };
        let owner = |name: &str| {
            kubectl.ok(&format!("create configmap {name}"));
            kubectl.ok(&format!("get configmap {name} -o jsonpath={{.metadata.uid}}"))
        };
        let (a, b, c) = (owner("a"), owner("b"), owner("c"));
        make(&owned("of-a", &[&a]));
        let child = kubectl.ok("get configmap of-a -o jsonpath={.metadata.uid}");
        make(&owned("of-of-a", &[&child]));
        make(&owned("of-both", &[&a, &b]));
        make(&owned("of-c", &[&c]));

        kubectl.ok("delete configmap a");
        for name in ["of-a", "of-of-a"] {
            assert!(
                kubectl
                    .fails(&format!("get configmap {name}"))
                    .contains("not found")
            );
        }
        let left = kubectl.ok("get configmap of-both -o jsonpath={.metadata.ownerReferences[*].uid}");
        assert_eq!(left, b);
        kubectl.ok("delete configmap b --cascade=foreground");
        assert!(kubectl.fails("get configmap of-both").contains("not found"));
        kubectl.ok("delete configmap c --cascade=orphan");
        assert_eq!(
            kubectl.ok("get configmap of-c -o jsonpath={.metadata.ownerReferences}"),
            ""
        );

        for at in 0..3 {
            kubectl.ok(&format!("create configmap many-{at}"));
            kubectl.ok(&format!("label configmap many-{at} kind=many"));
        }
        let said = kubectl.ok("delete configmap -l kind=many");
        assert_eq!(said.lines().count(), 3, "{said}");
        until(&kubectl, "get configmap -l kind=many -o name", |said| {
            said.is_empty()
        });
    });
    work.await.unwrap();
    server.shutdown().await;
}

//! The real kubectl against the embedded server.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mesh_apiserver::{Config, Server};

/// The program with its configuration.
pub(crate) struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) home: PathBuf,
}

/// kubectl from the PATH, else the one that `cargo xtask cluster` builds.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file());
    let built = std::env::var_os("SIGHTLINE_CLUSTER").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/sightline/cluster"),
        PathBuf::from,
    );
    let built = built.join("bin/kubectl");
    found
        .or_else(|| built.is_file().then_some(built.clone()))
        .unwrap_or_else(|| {
            panic!(
                "kubectl is neither on the PATH nor at {}: run `cargo xtask cluster`",
                built.display()
            )
        })
}

impl Kubectl {
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        command
    }

    /// Standard output of a call that must succeed.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Standard error of a call that must fail.
    pub(crate) fn fails(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "kubectl {arguments} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn with_input(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

pub(crate) async fn start() -> (tempfile::TempDir, Server, Kubectl) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(
        "127.0.0.1:0".parse().unwrap(),
        folder.path().join("data"),
    ))
    .await
    .unwrap();
    let kubectl = Kubectl {
        program: program(),
        kubeconfig: server.kubeconfig_path().to_owned(),
        home: folder.path().to_owned(),
    };
    (folder, server, kubectl)
}

const REVIEWS: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
";

/// The life of a VirtualService by kubectl.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_manages_a_virtual_service() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let mut watching = kubectl
            .command("get virtualservices --watch --output-watch-events")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut events = BufReader::new(watching.stdout.take().unwrap()).lines();
        // The event and the name of the next line that is not the heading.
        let mut next = || loop {
            let line = events.next().unwrap().unwrap();
            if !line.starts_with("EVENT") {
                return line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            }
        };

        let (fine, said) = kubectl.with_input("create -f -", REVIEWS);
        assert!(
            fine && said.contains("virtualservice.networking.istio.io/reviews created"),
            "{said}"
        );
        assert_eq!(next(), "ADDED reviews");
        let (fine, said) = kubectl.with_input("create -f -", REVIEWS);
        assert!(!fine && said.contains("already exists"), "{said}");

        let table = kubectl.ok("get vs");
        assert!(
            table.starts_with("NAME      GATEWAYS   HOSTS         AGE\nreviews              [\"reviews\"]"),
            "{table}"
        );
        for short in ["vs", "dr", "gw"] {
            kubectl.ok(&format!("get {short} -A"));
        }
        assert_eq!(
            kubectl.ok("get vs reviews -o jsonpath={.spec.http[0].route[0].destination.subset}"),
            "v1"
        );

        kubectl.ok(r#"patch vs reviews --type merge -p {"spec":{"hosts":["reviews","other"]}}"#);
        assert_eq!(next(), "MODIFIED reviews");
        kubectl.ok(r#"patch vs reviews --type json -p [{"op":"remove","path":"/spec/hosts/1"}]"#);
        next();
        assert_eq!(
            kubectl.ok("get vs reviews -o jsonpath={.spec.hosts}"),
            r#"["reviews"]"#
        );

        let (fine, said) = kubectl.with_input("replace -f -", &REVIEWS.replace("v1}", "v2}"));
        assert!(fine && said.contains("replaced"), "{said}");
        next();
        let (fine, said) = kubectl.with_input("replace -f -", &REVIEWS.replace("hosts:", "hostz:"));
        assert!(!fine && said.contains("unknown field \"spec.hostz\""), "{said}");
        let (fine, said) = kubectl.with_input(
            "create -f -",
            &REVIEWS
                .replace("name: reviews", "name: b")
                .replace("http:", "htp:"),
        );
        assert!(
            !fine && said.contains("strict decoding error: unknown field \"spec.htp\""),
            "{said}"
        );
        let (fine, said) = kubectl.with_input(
            "create --dry-run=server -f -",
            &REVIEWS.replace("name: reviews", "name: b"),
        );
        assert!(fine && said.contains("(server dry run)"), "{said}");

        kubectl.ok("label vs reviews tier=front");
        next();
        assert!(kubectl.ok("get vs -l tier=front -o name").contains("reviews"));
        assert!(!kubectl.ok("get vs -l tier!=front -o name").contains("reviews"));
        let described = kubectl.ok("describe vs reviews");
        assert!(described.contains("Generation:          4"), "{described}");

        kubectl.ok("delete vs reviews");
        assert_eq!(next(), "DELETED reviews");
        assert!(kubectl.fails("get vs reviews").contains("not found"));
        watching.kill().unwrap();
        watching.wait().unwrap();
    });
    work.await.unwrap();
    server.shutdown().await;
}

/// Questions about the server and one's rights, and the core kinds that kubectl sends as protobuf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_asks_and_creates() {
    let (_folder, server, kubectl) = start().await;
    let work = tokio::task::spawn_blocking(move || {
        let resources = kubectl.ok("api-resources");
        for line in [
            "virtualservices",
            "destinationrules",
            "gateways",
            "services",
            "endpointslices",
            "rolebindings",
        ] {
            assert!(resources.contains(line), "{line} is missing in {resources}");
        }
        assert!(
            kubectl
                .ok("api-resources --categories=istio-io -o name")
                .contains("peerauthentications")
        );
        assert!(
            kubectl
                .ok("api-versions")
                .contains("networking.istio.io/v1alpha3")
        );
        assert_eq!(kubectl.ok("auth can-i create virtualservices").trim(), "yes");
        assert!(kubectl.ok("auth can-i --list").contains("*.*"));
        assert!(kubectl.ok("auth whoami").contains("kubernetes-admin"));

        kubectl.ok("create namespace shop");
        kubectl.ok("create serviceaccount app -n shop");
        kubectl.ok("create configmap c -n shop --from-literal=a=b");
        kubectl.ok("create secret generic s -n shop --from-literal=a=b");
        kubectl.ok("create service clusterip web -n shop --tcp=80:9080");
        kubectl.ok("create role reader -n shop --verb=get,list --resource=services,virtualservices.networking.istio.io");
        kubectl.ok("create rolebinding reader -n shop --role=reader --serviceaccount=shop:app");
        kubectl.ok("run p -n shop --image=app --port=80");
        assert_eq!(kubectl.ok("get secret s -n shop -o jsonpath={.data.a}"), "Yg==");
        assert_eq!(
            kubectl.ok("get svc web -n shop -o jsonpath={.spec.ports[0].targetPort}"),
            "9080"
        );
        assert!(kubectl.ok("get all -n shop").contains("service/web"));

        let token = kubectl.ok("create token app -n shop");
        let as_app = |arguments: &str| format!("--token {} -n shop {arguments}", token.trim());
        // The kubeconfig's own token would win over the flag: this user has none.
        let config = std::fs::read_to_string(&kubectl.kubeconfig).unwrap();
        let bare = config
            .lines()
            .filter(|l| !l.trim_start().starts_with("token:"))
            .collect::<Vec<_>>()
            .join("\n");
        let bare = bare.replace("  user:\ncontexts", "  user: {}\ncontexts");
        let path = kubectl.home.join("bare");
        std::fs::write(&path, bare).unwrap();
        let app = Kubectl {
            program: kubectl.program.clone(),
            kubeconfig: path,
            home: kubectl.home.clone(),
        };
        app.ok(&as_app("get svc web"));
        assert_eq!(app.ok(&as_app("auth can-i list vs")).trim(), "yes");
        assert!(
            app.fails(&as_app("get pods"))
                .contains("cannot list resource \"pods\"")
        );
        // Without a token kubectl asks for a password, of which there is none.
        app.fails("get svc");

        kubectl.ok("delete namespace shop");
        assert!(kubectl.fails("get svc web -n shop").contains("not found"));
    });
    work.await.unwrap();
    server.shutdown().await;
}

//! What has to be true of captured traffic.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use mesh_stories::observed::fixture::documents;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::mesh::{Mesh, exchange, read_line, within};
use crate::{init, lookups};

const FIXTURE: &str = include_str!("../../data/capture/fixture.yaml");

/// A name and what came of it.
pub(crate) type Outcome = (&'static str, anyhow::Result<()>);

/// Sets everything up and checks everything.
pub(crate) async fn all() -> anyhow::Result<Vec<Outcome>> {
    let mut mesh = Mesh::start(FIXTURE).await?;
    let mut results: Vec<Outcome> = Vec::new();
    macro_rules! check {
        ($($name:ident),+ $(,)?) => {
            $( results.push((stringify!($name), $name(&mesh).await)); )+
        };
    }
    results.push((
        "init_twice_is_once_and_clean_up_leaves_nothing",
        init::rules_come_and_go(mesh.folder()),
    ));
    check!(
        http_goes_through_both_sidecars_with_mutual_tls,
        an_undeclared_port_is_http_when_it_speaks_http,
        tcp_goes_through_both_sidecars_with_mutual_tls,
        a_server_may_speak_first_through_both_sidecars,
        a_server_may_speak_first_to_a_client_without_sidecar,
        a_late_hello_is_never_relayed_as_plaintext,
        a_headless_service_is_the_pod_that_was_resolved,
        a_pod_address_passes_through,
        an_external_address_passes_through,
        an_excluded_port_is_not_captured,
        a_closed_port_is_a_503_of_the_sidecar,
        ipv6_is_captured,
        tproxy_captures_both_ways,
        the_capturing_ports_themselves_lead_nowhere,
    );
    let name_server = lookups::serve().await?;
    results.push((
        "names_of_the_mesh_are_answered_in_the_pod",
        lookups::names_of_the_mesh_are_answered_in_the_pod(&mesh).await,
    ));
    results.push((
        "an_address_is_made_up",
        lookups::an_address_is_made_up(&mesh).await,
    ));
    name_server.abort();
    results.push(("strict_refuses_plaintext", strict_refuses_plaintext(&mesh).await));
    results.push(("registry_only_lets_nothing_through", registry_only(&mesh).await));
    mesh.world.check()?;
    Ok(results)
}

fn field<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

fn is(line: &Value, name: &str, expected: &str) -> anyhow::Result<()> {
    let got = field(line, name);
    ensure!(got == expected, "{name} is {got:?}, not {expected:?}: {line}");
    Ok(())
}

async fn http_goes_through_both_sidecars_with_mutual_tls(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.vip("web")?, 80);
    let answer = mesh.get("client", to, "web", "http").await?;
    ensure!(answer.status == Some(200), "{answer:?}");
    let version = answer.echo_text("version").context("no echo")?.to_owned();
    let ours = mesh.line("client", "http", None).await?;
    is(
        &ours,
        "upstream_cluster",
        "outbound|80||web.demo.svc.cluster.local",
    )?;
    is(&ours, "downstream_local_address", &to.to_string())?;
    let server = format!("web-{version}");
    let theirs = mesh.line(&server, "http", None).await?;
    is(
        &theirs,
        "requested_server_name",
        "outbound_.80_._.web.demo.svc.cluster.local",
    )?;
    is(&theirs, "upstream_cluster", "inbound|8080||")?;
    let pod = SocketAddr::new(mesh.ip(&server)?, 8080).to_string();
    is(&theirs, "upstream_host", &pod)?;
    let from = mesh.seen_from(&server, "http").await?;
    ensure!(
        from.contains("127.0.0.6"),
        "the application is called from {from}"
    );
    Ok(())
}

async fn an_undeclared_port_is_http_when_it_speaks_http(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.vip("web")?, 8090);
    let answer = mesh.get("client", to, "web:8090", "auto").await?;
    ensure!(answer.status == Some(200), "{answer:?}");
    let ours = mesh.line("client", "auto", None).await?;
    is(
        &ours,
        "upstream_cluster",
        "outbound|8090||web.demo.svc.cluster.local",
    )
}

async fn tcp_goes_through_both_sidecars_with_mutual_tls(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.vip("web")?, 9000);
    let mut stream = mesh.connect("client", to).await?;
    let local = stream.local_addr()?;
    let line = exchange(&mut stream, "hello\n").await?;
    ensure!(line.contains("hello"), "{line:?}");
    drop(stream);
    let ours = mesh.line("client", "", Some(local)).await?;
    is(
        &ours,
        "upstream_cluster",
        "outbound|9000||web.demo.svc.cluster.local",
    )?;
    let theirs: SocketAddr = field(&ours, "upstream_local_address")
        .parse()
        .context("upstream_local_address")?;
    let server = server_of(mesh, &ours)?;
    let theirs = mesh.line(server, "", Some(theirs)).await?;
    is(
        &theirs,
        "requested_server_name",
        "outbound_.9000_._.web.demo.svc.cluster.local",
    )?;
    is(&theirs, "upstream_cluster", "inbound|9000||")
}

/// Which of the two servers a client's line names.
fn server_of(mesh: &Mesh, line: &Value) -> anyhow::Result<&'static str> {
    let host: SocketAddr = field(line, "upstream_host").parse().context("upstream_host")?;
    for name in ["web-v1", "web-v2"] {
        if mesh.ip(name)? == host.ip() {
            return Ok(name);
        }
    }
    anyhow::bail!("{host} is no server")
}

/// Serves a greeting on port 7000 of a pod.
fn greet(mesh: &Mesh, pod: &str) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener = mesh.listen(pod, 7000)?;
    Ok(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"220 ready\n").await;
                if let Ok(line) = read_line(&mut stream).await {
                    let _ = stream.write_all(format!("250 {line}\n").as_bytes()).await;
                }
            });
        }
    }))
}

async fn a_server_may_speak_first_through_both_sidecars(mesh: &Mesh) -> anyhow::Result<()> {
    let servers = [greet(mesh, "web-v1")?, greet(mesh, "web-v2")?];
    let outcome = async {
        let mut stream = mesh
            .connect("client", SocketAddr::new(mesh.vip("web")?, 7000))
            .await?;
        let greeting = read_line(&mut stream).await.context("no greeting")?;
        ensure!(greeting == "220 ready", "{greeting:?}");
        let answer = exchange(&mut stream, "EHLO\n").await?;
        ensure!(answer == "250 EHLO", "{answer:?}");
        Ok(())
    }
    .await;
    for server in servers {
        end(server).await;
    }
    outcome
}

async fn a_server_may_speak_first_to_a_client_without_sidecar(mesh: &Mesh) -> anyhow::Result<()> {
    let server = greet(mesh, "web-v1")?;
    let outcome = async {
        let to = SocketAddr::new(mesh.ip("web-v1")?, 7000);
        let mut stream = mesh.connect("plain/world", to).await?;
        let greeting = read_line(&mut stream).await.context("no greeting")?;
        ensure!(greeting == "220 ready", "{greeting:?}");
        let answer = exchange(&mut stream, "x\n").await?;
        ensure!(answer == "250 x", "{answer:?}");
        Ok(())
    }
    .await;
    end(server).await;
    outcome
}

/// Ends a server, and waits until its port is free.
async fn end(server: tokio::task::JoinHandle<()>) {
    server.abort();
    let _ = server.await;
}

/// A ClientHello that comes when the application was connected to already is answered by the sidecar.
async fn a_late_hello_is_never_relayed_as_plaintext(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.ip("web-v1")?, 9000);
    let mut stream = mesh.connect("plain/world", to).await?;
    // Longer than any detection waits: that is what is tested.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let hello = client_hello()?;
    stream.write_all(&hello).await?;
    let mut first = [0; 1];
    within(async { Ok(stream.read_exact(&mut first).await?) }).await?;
    ensure!(
        matches!(first, [0x15 | 0x16]),
        "the answer to a ClientHello begins with {first:?}: it came from the application"
    );
    Ok(())
}

/// What a mesh sidecar says first.
fn client_hello() -> anyhow::Result<Vec<u8>> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"istio-peer-exchange".to_vec(), b"istio".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("outbound_.9000_._.web.demo.svc.cluster.local")?;
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name)?;
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes)?;
    Ok(bytes)
}

async fn a_headless_service_is_the_pod_that_was_resolved(mesh: &Mesh) -> anyhow::Result<()> {
    for version in ["v1", "v2"] {
        let server = format!("web-{version}");
        let to = SocketAddr::new(mesh.ip(&server)?, 8080);
        for round in 0..3 {
            let agent = format!("headless-{version}-{round}");
            let answer = mesh.get("client", to, "pods:8080", &agent).await?;
            ensure!(answer.echo_text("version") == Some(version), "{to}: {answer:?}");
            let ours = mesh.line("client", &agent, None).await?;
            is(
                &ours,
                "upstream_cluster",
                "outbound|8080||pods.demo.svc.cluster.local",
            )?;
            let theirs = mesh.line(&server, &agent, None).await?;
            is(
                &theirs,
                "requested_server_name",
                "outbound_.8080_._.pods.demo.svc.cluster.local",
            )?;
        }
    }
    Ok(())
}

async fn a_pod_address_passes_through(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.ip("web-v2")?, 8080);
    let answer = mesh.get("client", to, &to.to_string(), "pod-address").await?;
    ensure!(answer.echo_text("version") == Some("v2"), "{answer:?}");
    let ours = mesh.line("client", "pod-address", None).await?;
    is(&ours, "upstream_cluster", "PassthroughCluster")?;
    let theirs = mesh.line("web-v2", "pod-address", None).await?;
    is(&theirs, "upstream_cluster", "inbound|8080||")
}

async fn an_external_address_passes_through(mesh: &Mesh) -> anyhow::Result<()> {
    let mut stream = mesh
        .connect("client", SocketAddr::new(mesh.ip("plain/world")?, 9000))
        .await?;
    let local = stream.local_addr()?;
    let line = exchange(&mut stream, "out\n").await?;
    ensure!(line.contains("out"), "{line:?}");
    drop(stream);
    let ours = mesh.line("client", "", Some(local)).await?;
    is(&ours, "upstream_cluster", "PassthroughCluster")
}

async fn an_excluded_port_is_not_captured(mesh: &Mesh) -> anyhow::Result<()> {
    let lines = mesh.log("client")?.len();
    let to = SocketAddr::new(mesh.ip("plain/world")?, 7100);
    let answer = mesh.get("client", to, "world", "excluded").await?;
    ensure!(answer.status == Some(200), "{answer:?}");
    ensure!(
        !answer.headers.contains_key("x-envoy-upstream-service-time"),
        "{answer:?}"
    );
    let closed = SocketAddr::new(mesh.ip("web-v1")?, 7100);
    let refused = mesh.connect("client", closed).await;
    // Captured by the other side only: its sidecar takes the connection, and closes it.
    if let Ok(mut stream) = refused {
        let mut rest = Vec::new();
        let _ = within(async { Ok(stream.read_to_end(&mut rest).await?) }).await;
    }
    ensure!(mesh.log("client")?.len() == lines, "the client's sidecar saw it");
    Ok(())
}

async fn a_closed_port_is_a_503_of_the_sidecar(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.ip("plain/world")?, 80);
    let answer = mesh.get("client", to, "closed.test", "closed").await?;
    ensure!(answer.status == Some(503), "{answer:?}");
    let ours = mesh.line("client", "closed", None).await?;
    is(&ours, "response_flags", "UF")?;
    is(&ours, "upstream_cluster", "PassthroughCluster")
}

async fn ipv6_is_captured(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.ipv6("web-v1")?, 8080);
    let answer = mesh.get("client", to, "web", "ipv6").await?;
    ensure!(answer.echo_text("version") == Some("v1"), "{answer:?}");
    let ours = mesh.line("client", "ipv6", None).await?;
    is(&ours, "downstream_local_address", &to.to_string())?;
    let theirs = mesh.line("web-v1", "ipv6", None).await?;
    is(&theirs, "upstream_host", &to.to_string())?;
    let from = mesh.seen_from("web-v1", "ipv6").await?;
    ensure!(from.contains("[::6]:"), "the application is called from {from}");
    Ok(())
}

async fn tproxy_captures_both_ways(mesh: &Mesh) -> anyhow::Result<()> {
    let to = SocketAddr::new(mesh.vip("tweb")?, 80);
    for client in ["client", "tclient"] {
        let agent = format!("tproxy-{client}");
        let answer = mesh.get(client, to, "tweb", &agent).await?;
        ensure!(answer.status == Some(200), "{client}: {answer:?}");
        let ours = mesh.line(client, &agent, None).await?;
        is(&ours, "downstream_local_address", &to.to_string())?;
        let theirs = mesh.line("tweb", &agent, None).await?;
        is(
            &theirs,
            "requested_server_name",
            "outbound_.80_._.tweb.demo.svc.cluster.local",
        )?;
        let pod = SocketAddr::new(mesh.ip("tweb")?, 8080).to_string();
        is(&theirs, "downstream_local_address", &pod)?;
    }
    let mut stream = mesh
        .connect("tclient", SocketAddr::new(mesh.vip("tweb")?, 9000))
        .await?;
    let line = exchange(&mut stream, "through\n").await?;
    ensure!(line.contains("through"), "{line:?}");
    let v6 = SocketAddr::new(mesh.ipv6("tweb")?, 8080);
    let answer = mesh.get("tclient", v6, "tweb", "tproxy-ipv6").await?;
    ensure!(answer.status == Some(200), "IPv6: {answer:?}");
    Ok(())
}

/// One hop, then the end; and it is in the log.
async fn the_capturing_ports_themselves_lead_nowhere(mesh: &Mesh) -> anyhow::Result<()> {
    let server = mesh.ip("web-v1")?;
    for (from, port, logged_by) in [
        ("web-v1", 15001, "web-v1"),
        ("web-v1", 15006, "web-v1"),
        ("plain/world", 15001, "web-v1"),
        ("plain/world", 15006, "web-v1"),
    ] {
        let before = mesh.log(logged_by)?.len();
        let mut stream = mesh.connect(from, SocketAddr::new(server, port)).await?;
        let local = stream.local_addr()?;
        let _ = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        let mut rest = Vec::new();
        let read = within(async { Ok(stream.read_to_end(&mut rest).await) }).await?;
        ensure!(
            read.is_err() || rest.is_empty() || rest.starts_with(b"HTTP/1.1 503"),
            "{from} to {port}: {:?}",
            String::from_utf8_lossy(&rest)
        );
        let line = mesh.line(logged_by, "", Some(local)).await?;
        ensure!(
            !field(&line, "response_flags").trim_matches('-').is_empty(),
            "{line}"
        );
        let lines = mesh.log(logged_by)?.len() - before;
        ensure!(lines <= 2, "{from} to {port} came by {lines} times");
    }
    Ok(())
}

/// Applies objects, runs a check until it passes, and takes them away.
pub(crate) async fn with_objects<F: AsyncFn() -> anyhow::Result<()>>(
    mesh: &Mesh,
    yaml: &str,
    check: F,
) -> anyhow::Result<()> {
    let cluster = &mesh.world.registry.cluster;
    let objects = documents(yaml)?;
    for object in &objects {
        cluster.must_create(object).await?;
    }
    let until = tokio::time::Instant::now() + crate::mesh::DEADLINE;
    let outcome = loop {
        let outcome = check().await;
        if outcome.is_ok() || tokio::time::Instant::now() > until {
            break outcome;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for object in &objects {
        cluster.delete(object).await?;
    }
    outcome
}

async fn strict_refuses_plaintext(mesh: &Mesh) -> anyhow::Result<()> {
    let yaml = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: demo}\nspec: {mtls: {mode: STRICT}}\n";
    with_objects(mesh, yaml, async || {
        let to = SocketAddr::new(mesh.ip("web-v1")?, 8080);
        let answer = mesh.get("plain/world", to, "web", "strict-plain").await?;
        ensure!(answer.status.is_none(), "plaintext is answered: {answer:?}");
        let answer = mesh
            .get(
                "client",
                SocketAddr::new(mesh.vip("web")?, 80),
                "web",
                "strict-mesh",
            )
            .await?;
        ensure!(answer.status == Some(200), "{answer:?}");
        let to = SocketAddr::new(mesh.ip("web-v1")?, 9000);
        let mut stream = mesh.connect("plain/world", to).await?;
        let answered = exchange(&mut stream, "plain\n").await;
        ensure!(answered.is_err(), "plaintext bytes are answered: {answered:?}");
        Ok(())
    })
    .await
}

async fn registry_only(mesh: &Mesh) -> anyhow::Result<()> {
    let yaml = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: demo}\nspec:\n  egress: [{hosts: ['./*']}]\n  outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n";
    with_objects(mesh, yaml, async || {
        let http = SocketAddr::new(mesh.ip("plain/world")?, 80);
        let answer = mesh
            .get("client", http, "elsewhere.test", "registry-only")
            .await?;
        ensure!(answer.status == Some(502), "{answer:?}");
        let mut stream = mesh
            .connect("client", SocketAddr::new(mesh.ip("plain/world")?, 9000))
            .await?;
        let local = stream.local_addr()?;
        let answered = exchange(&mut stream, "out\n").await;
        ensure!(answered.is_err(), "{answered:?}");
        let line = mesh.line("client", "", Some(local)).await?;
        is(&line, "upstream_cluster", "BlackHoleCluster")?;
        is(&line, "response_flags", "UH")?;
        let answer = mesh
            .get(
                "client",
                SocketAddr::new(mesh.vip("web")?, 80),
                "web",
                "registry-web",
            )
            .await?;
        ensure!(answer.status == Some(200), "{answer:?}");
        Ok(())
    })
    .await
}

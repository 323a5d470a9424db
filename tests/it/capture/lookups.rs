//! Captured name lookups.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use mesh_stories::pods::NODE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use crate::mesh::{Mesh, within};

/// What the node's name server says of every name.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A query for the IPv4 addresses of a name.
fn query(name: &str) -> Vec<u8> {
    let mut bytes = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(b"\x00\x00\x01\x00\x01");
    bytes
}

/// The last address of an answer: they come last.
fn address(answer: &[u8]) -> anyhow::Result<Ipv4Addr> {
    ensure!(answer.starts_with(b"\x12\x34"), "another id: {answer:?}");
    ensure!(
        answer.get(3).is_some_and(|flags| flags & 0xf == 0),
        "an error: {answer:?}"
    );
    ensure!(answer.get(6..8) != Some(&[0, 0]), "no answer: {answer:?}");
    let last: [u8; 4] = *answer.last_chunk().context("cut short")?;
    Ok(last.into())
}

/// The node's own name server.
pub(crate) async fn serve() -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let socket = UdpSocket::bind((NODE[0], 53)).await?;
    Ok(tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04");
            answer.extend_from_slice(&ELSEWHERE.octets());
            let _ = socket.send_to(&answer, client).await;
        }
    }))
}

async fn ask(mesh: &Mesh, from: &str, name: &str) -> anyhow::Result<Ipv4Addr> {
    let namespace = mesh.namespace(from)?;
    let socket = tokio::task::block_in_place(|| namespace.run(|| std::net::UdpSocket::bind("0.0.0.0:0")))??;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.connect((NODE[0], 53)).await?;
    let mut buffer = [0; 512];
    for _ in 0..5 {
        socket.send(&query(name)).await?;
        if let Ok(length) = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await {
            return address(&buffer[..length?]);
        }
    }
    anyhow::bail!("no answer for {name}")
}

async fn ask_over_tcp(mesh: &Mesh, from: &str, name: &str) -> anyhow::Result<Ipv4Addr> {
    let mut stream = mesh.connect(from, format!("{}:53", NODE[0]).parse()?).await?;
    let query = query(name);
    within(async {
        stream.write_u16(u16::try_from(query.len())?).await?;
        stream.write_all(&query).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        address(&answer)
    })
    .await
}

/// Names of the mesh are answered in the pod, whatever the name server says; others are passed on.
pub(crate) async fn names_of_the_mesh_are_answered_in_the_pod(mesh: &Mesh) -> anyhow::Result<()> {
    let IpAddr::V4(web) = mesh.vip("web")? else {
        anyhow::bail!("IPv6")
    };
    for (from, name, expected) in [
        ("client", "web.demo.svc.cluster.local", web),
        ("client", "WEB.demo.svc.cluster.local", web),
        (
            "client",
            "world.plain.svc.cluster.local",
            match mesh.vip("world.plain")? {
                IpAddr::V4(ip) => ip,
                IpAddr::V6(_) => ELSEWHERE,
            },
        ),
        ("client", "www.example.com", ELSEWHERE),
        // Without sidecar nothing is captured.
        ("plain/world", "web.demo.svc.cluster.local", ELSEWHERE),
        ("tclient", "web.demo.svc.cluster.local", web),
    ] {
        let got = ask(mesh, from, name).await?;
        ensure!(got == expected, "{name} is {got} for {from}, not {expected}");
    }
    let got = ask_over_tcp(mesh, "client", "web.demo.svc.cluster.local").await?;
    ensure!(got == web, "{got} over TCP");
    Ok(())
}

/// A ServiceEntry without address gets one that only this mesh knows, and connections to it reach its endpoints.
pub(crate) async fn an_address_is_made_up(mesh: &Mesh) -> anyhow::Result<()> {
    let world = mesh.ip("plain/world")?;
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: db, namespace: demo}}\nspec:\n  \
         hosts: [db.example.com]\n  resolution: STATIC\n  location: MESH_EXTERNAL\n  \
         ports: [{{number: 5432, name: tcp, protocol: TCP, targetPort: 9000}}]\n  endpoints: [{{address: {world}}}]\n"
    );
    crate::expectations::with_objects(mesh, &yaml, async || {
        let ip = ask(mesh, "client", "db.example.com").await?;
        ensure!(ip.octets().starts_with(&[240, 240]), "db.example.com is {ip}");
        let mut stream = mesh.connect("client", SocketAddr::new(ip.into(), 5432)).await?;
        let local = stream.local_addr()?;
        let line = crate::mesh::exchange(&mut stream, "select\n").await?;
        ensure!(line.contains("select"), "{line:?}");
        drop(stream);
        let line = mesh.line("client", "", Some(local)).await?;
        ensure!(
            line["upstream_cluster"] == "outbound|5432||db.example.com",
            "{line}"
        );
        Ok(())
    })
    .await
}

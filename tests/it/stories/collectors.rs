//! A request that the mesh kept is found, with every span of its trace, in a real Jaeger and a real Zipkin.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Request, header};
use mesh_api::requests::RequestPage;
use mesh_api::traces::Trace;
use mesh_testkit::{Process, eventually, free_port, get, request};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::demo::Place;

/// A Java server starts slowly on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Time for a trace to reach everyone: its last span, the question for the others' spans, the export.
const ARRIVES: Duration = Duration::from_secs(30);

fn peer(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("SIGHTLINE_COLLECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?)
            .join(".cache/sightline/collectors"),
    };
    let file = folder.join("bin").join(name);
    ensure!(
        file.is_file(),
        "{} is missing; run tests/collectors/build.sh (needs Go and Maven)",
        file.display()
    );
    Ok(file)
}

/// A started collector.
struct Collector {
    /// Where it takes spans.
    spans: String,
    /// Where it is asked.
    query: SocketAddr,
    _process: Process,
}

async fn answers(url: &str) -> Result<()> {
    eventually(url, START, async || match get(url).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("{}", answer.status)),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

async fn jaeger() -> Result<Collector> {
    let (spans, query) = (free_port()?, free_port()?);
    let mut command = Command::new(peer("jaeger")?);
    command
        .arg(format!("--collector.otlp.grpc.host-port={spans}"))
        .arg(format!("--query.http-server.host-port={query}"));
    for flag in [
        "admin.http",
        "collector.grpc-server",
        "collector.http-server",
        "collector.otlp.http",
        "query.grpc-server",
    ] {
        command.arg(format!("--{flag}.host-port={}", free_port()?));
    }
    let process = Process::spawn("jaeger", command)?;
    answers(&format!("http://{query}/api/services")).await?;
    Ok(Collector {
        spans: format!("http://{spans}"),
        query,
        _process: process,
    })
}

async fn zipkin() -> Result<Collector> {
    let address = free_port()?;
    let mut command = Command::new("java");
    command
        .arg("-Xmx256m")
        .arg("-jar")
        .arg(peer("zipkin.jar")?)
        .env("QUERY_PORT", address.port().to_string())
        .env("SERVER_ADDRESS", address.ip().to_string());
    let process = Process::spawn("zipkin", command)
        .context("Java 17 is needed: apt-get install default-jre-headless")?;
    answers(&format!("http://{address}/health")).await?;
    Ok(Collector {
        spans: format!("http://{address}/api/v2/spans"),
        query: address,
        _process: process,
    })
}

impl Collector {
    /// Ids of the spans that it has of a trace, found by any of the names of a span's id.
    async fn span_ids(&self, path: &str, id: &str) -> Result<BTreeSet<String>> {
        let answer = get(&format!("http://{}{path}", self.query)).await?;
        if answer.status != 200 {
            return Ok(BTreeSet::new());
        }
        let answer: Value = serde_json::from_str(&answer.text())?;
        let spans = answer["data"][0]["spans"].as_array().or(answer.as_array());
        Ok(spans
            .into_iter()
            .flatten()
            .filter_map(|span| span[id].as_str().map(str::to_owned))
            .collect())
    }
}

impl Place {
    /// Asks the console as the user of this machine.
    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let token = std::fs::read_to_string(self.data().join("token"))?;
        let asked = Request::get(format!("http://{}{path}", self.address("--console-address")?))
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .body(bytes::Bytes::new())?;
        let answer = request(asked).await?;
        ensure!(
            answer.status == 200,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(serde_json::from_str(&answer.text())?)
    }
}

#[tokio::test]
async fn a_kept_requests_trace_is_whole_in_jaeger_and_zipkin() -> Result<()> {
    let (jaeger, zipkin) = (jaeger().await?, zipkin().await?);
    let place = Place::new()?;
    let demo = place
        .start(&[
            "--rps",
            "10",
            "--otlp-endpoint",
            &jaeger.spans,
            "--zipkin-endpoint",
            &zipkin.spans,
        ])
        .await?;
    // What the gateway kept has the longest way: through every workload of the shop.
    let kept = eventually("a request that the gateway kept", ARRIVES, async || {
        let page: RequestPage = place
            .ask("/api/requests?source=istio-system%2Fistio-ingressgateway&limit=100")
            .await
            .map_err(|error| format!("{error:#}"))?;
        let kept = page.requests.into_iter().find(|kept| kept.code == 200);
        kept.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    let kept = kept.with_context(|| place.logs())?;
    let found = eventually("its whole trace everywhere", ARRIVES, async || {
        let told = |error: anyhow::Error| format!("{error:#}");
        let trace: Trace = place
            .ask(&format!("/api/traces/{}", kept.trace))
            .await
            .map_err(told)?;
        let ours: BTreeSet<String> = trace.spans.iter().map(|span| span.span.clone()).collect();
        let in_jaeger = jaeger
            .span_ids(&format!("/api/traces/{}", kept.trace), "spanID")
            .await
            .map_err(told)?;
        let in_zipkin = zipkin
            .span_ids(&format!("/api/v2/trace/{}", kept.trace), "id")
            .await
            .map_err(told)?;
        let apps: BTreeSet<&str> = trace.spans.iter().map(|span| span.app.as_str()).collect();
        let parents = trace
            .spans
            .iter()
            .filter(|span| span.parent.as_ref().is_none_or(|parent| !ours.contains(parent)))
            .count();
        let wanted = [
            "default/details",
            "default/productpage",
            "default/reviews",
            "istio-system/istio-ingressgateway",
        ];
        if wanted.iter().all(|app| apps.contains(app))
            && parents == 1
            && ours.contains(&kept.span)
            && ours == in_jaeger
            && ours == in_zipkin
        {
            Ok(ours.len())
        } else {
            Err(format!(
                "{} spans here ({apps:?}, {parents} without parent), {} in Jaeger, {} in Zipkin",
                ours.len(),
                in_jaeger.len(),
                in_zipkin.len()
            ))
        }
    })
    .await
    .with_context(|| place.logs());
    demo.stop(Signal::SIGINT).await?;
    let spans = found?;
    // Gateway; productpage in and twice out; details in; reviews in.
    ensure!(spans >= 6, "only {spans} spans");
    Ok(())
}

//! A mesh of one's own processes: `sightline up`, `run`, `gateway`, `down`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_testkit::{Process, binary, eventually, get};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::demo::Place;
use crate::process::{gone, is_alive};

const START: Duration = Duration::from_secs(90);

/// A mesh without workloads.
async fn up(place: &Place) -> Result<Process> {
    let mut mesh = Process::spawn("sightline up", place.up()?)?;
    mesh.wait_for_line(START, |line| line.starts_with("ready "))
        .await
        .with_context(|| place.logs())?;
    Ok(mesh)
}

/// Starts `sightline run` with a sample service behind it.
fn run(place: &Place, service: &str, version: &str) -> Result<Process> {
    let mut command = place.sightline("run")?;
    command
        .args(["--name", service, "--version", version, "--port", "9080", "--"])
        .arg(binary("sightline-shop")?)
        .args(["--service", service, "--version", version]);
    Process::spawn(&format!("sightline run {service} {version}"), command)
}

async fn joined(process: &mut Process) -> Result<()> {
    process
        .wait_for_line(START, |line| line.contains(" is in the mesh"))
        .await
        .map(drop)
}

/// `app` of every registered pod, with its number and whether it is ready.
async fn pods(place: &Place) -> Result<Vec<(String, String, bool)>> {
    let pods: Api<Pod> = Api::all(place.client().await?);
    Ok(pods
        .list(&ListParams::default())
        .await?
        .into_iter()
        .map(|pod| {
            let workload = pod
                .labels()
                .get("sightline.io/workload")
                .cloned()
                .unwrap_or_default();
            let number = pod
                .annotations()
                .get("sightline.io/workload-number")
                .cloned()
                .unwrap_or_default();
            let conditions = pod
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True");
            (workload, number, ready)
        })
        .collect())
}

async fn registered(place: &Place, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    eventually("the registrations", Duration::from_secs(20), async || {
        let pods = pods(place).await.map_err(|error| format!("{error:#}"))?;
        let found: BTreeSet<&str> = pods.iter().map(|(workload, ..)| workload.as_str()).collect();
        if found == expected {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    })
    .await
}

async fn create(place: &Place, kind: &str, object: serde_json::Value) -> Result<()> {
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", kind);
    let objects: Api<DynamicObject> =
        Api::namespaced_with(place.client().await?, "default", &ApiResource::from_gvk(&kind));
    let object: DynamicObject = serde_json::from_value(object)?;
    objects.create(&PostParams::default(), &object).await?;
    Ok(())
}

async fn route_to_the_page(place: &Place) -> Result<()> {
    create(
        place,
        "Gateway",
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "way-in" },
            "spec": { "selector": { "istio": "ingressgateway" }, "servers": [
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] },
            ] },
        }),
    )
    .await?;
    create(
        place,
        "VirtualService",
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "page" },
            "spec": { "hosts": ["*"], "gateways": ["way-in"], "http": [
                { "route": [{ "destination": { "host": "productpage", "port": { "number": 9080 } } }] },
            ] },
        }),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_processes_join_a_mesh_and_leave_it_without_a_trace() -> Result<()> {
    let place = Place::new()?;
    let mut mesh = up(&place).await?;
    assert!(mesh.output().contains("export KUBECONFIG="), "{}", mesh.output());

    // All at once: nobody's number is anybody else's.
    let services = [
        ("productpage", "v1"),
        ("details", "v1"),
        ("reviews", "v1"),
        ("reviews", "v2"),
        ("ratings", "v1"),
    ];
    let mut runs = Vec::new();
    for (service, version) in services {
        runs.push(run(&place, service, version)?);
    }
    for run in &mut runs {
        joined(run).await.with_context(|| place.logs())?;
    }
    let mut command = place.sightline("gateway")?;
    command
        .args(["--name", "istio-ingressgateway"])
        .args(["--listen", &format!("80={}", place.gateway())]);
    let mut gateway = Process::spawn("sightline gateway", command)?;
    gateway
        .wait_for_line(START, |line| line.contains("ready: gateway"))
        .await
        .with_context(|| place.logs())?;
    let all = [
        "productpage-v1",
        "details-v1",
        "reviews-v1",
        "reviews-v2",
        "ratings-v1",
        "istio-ingressgateway",
    ];
    registered(&place, &all).await?;
    let numbers: BTreeSet<String> = pods(&place)
        .await?
        .into_iter()
        .map(|(_, number, _)| number)
        .collect();
    assert_eq!(numbers.len(), all.len(), "{numbers:?}");

    route_to_the_page(&place).await?;
    let page = format!("http://{}/productpage", place.gateway());
    eventually("a whole page", Duration::from_secs(20), async || {
        let answer = get(&page).await.map_err(|error| format!("{error:#}"))?;
        let text = answer.text();
        if answer.status == 200
            && text.contains("reviews served by")
            && !text.contains("details are currently")
        {
            Ok(())
        } else {
            Err(format!("{} {text}", answer.status))
        }
    })
    .await
    .with_context(|| place.logs())?;

    // A name belongs to one; a command's exit code is passed on.
    let mut taken = run(&place, "details", "v1")?;
    taken
        .wait_for_line(Duration::from_secs(20), |line| {
            line.contains("details-v1 runs already")
        })
        .await?;
    assert_eq!(taken.wait(Duration::from_secs(20)).await?.code(), Some(69));
    let mut command = place.sightline("run")?;
    command.args([
        "--name",
        "job",
        "--",
        "sh",
        "-c",
        "test -n \"$http_proxy\" && exit 7",
    ]);
    let mut job = Process::spawn("job", command)?;
    assert_eq!(
        job.wait(Duration::from_secs(30)).await?.code(),
        Some(7),
        "{}",
        job.output()
    );
    registered(&place, &all).await?;

    // One is asked to end, one is killed with its children; both are taken away, what they needed with them.
    let client = place.client().await?;
    let ratings = runs.pop().context("ratings")?;
    ratings.signal(Signal::SIGTERM)?;
    let mut ratings = ratings;
    assert!(
        ratings.wait(Duration::from_secs(20)).await?.success(),
        "{}",
        ratings.output()
    );
    let killed = runs.pop().context("reviews v2")?;
    let children = crate::process::children(killed.pid());
    assert_eq!(children.len(), 2, "command and proxy: {children:?}");
    let at = Instant::now();
    killed.signal(Signal::SIGKILL)?;
    gone(&children, Duration::from_secs(2)).await?;
    registered(
        &place,
        &[
            "productpage-v1",
            "details-v1",
            "reviews-v1",
            "istio-ingressgateway",
        ],
    )
    .await?;
    assert!(at.elapsed() < Duration::from_secs(13), "took {:?}", at.elapsed());
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
    assert!(services.get_opt("ratings").await?.is_none() && accounts.get_opt("ratings").await?.is_none());
    assert!(services.get_opt("reviews").await?.is_some() && accounts.get_opt("reviews").await?.is_some());

    // The end of all.
    let alive: Vec<i32> = runs
        .iter()
        .chain([&gateway])
        .flat_map(|run| crate::process::children(run.pid()))
        .collect();
    assert!(!alive.is_empty() && alive.iter().all(|pid| is_alive(*pid)));
    let mut command = place.sightline("down")?;
    command.arg("--purge");
    let mut down = Process::spawn("sightline down", command)?;
    assert!(
        down.wait(Duration::from_secs(30)).await?.success(),
        "{}",
        down.output()
    );
    assert!(
        mesh.wait(Duration::from_secs(5)).await?.success(),
        "{}",
        mesh.output()
    );
    gone(&alive, Duration::from_secs(5)).await?;
    assert!(!place.data().exists(), "the data folder is still there");
    Ok(())
}

#[test]
fn commands_without_a_mesh_say_how_to_get_one() -> Result<()> {
    let place = Place::new()?;
    let check = |arguments: &[&str], code: i32, part: &str| -> Result<()> {
        let (name, rest) = arguments.split_first().context("no command")?;
        let mut command = place.sightline(name)?;
        command.args(rest);
        let ended = command.output()?;
        let (status, output) = (ended.status, String::from_utf8(ended.stderr)?);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {output}");
        assert!(output.contains(part), "{arguments:?}: {output} lacks {part}");
        Ok(())
    };
    check(
        &["run", "--name", "a", "--port", "9080", "--", "true"],
        69,
        "sightline up",
    )?;
    check(
        &["gateway", "--name", "a", "--listen", "127.0.0.1:8080"],
        69,
        "sightline up",
    )?;
    check(&["status"], 69, "sightline up")?;
    check(&["down"], 69, "sightline up")?;
    // Nothing is removed that is not a mesh's.
    check(&["down", "--purge"], 64, "nothing was removed")?;
    assert!(place.data().is_dir());
    check(
        &["run", "--name", "a", "--port", "9080:soap", "--", "true"],
        2,
        "known are http",
    )?;
    check(&["run", "--name", "A", "--", "true"], 2, "lower-case")?;
    check(&["gateway", "--name", "a", "--listen", "8080"], 2, "IP:PORT")?;
    check(
        &[
            "gateway",
            "--name",
            "a",
            "--listen",
            "127.0.0.1:8080",
            "--listen",
            "127.0.0.2:9000",
        ],
        64,
        "the same IP",
    )?;
    Ok(())
}

//! Beginnings and ends: nothing is left behind, nothing is taken down with it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_testkit::{Process, binary, eventually, get};
use nix::sys::signal::Signal;

use crate::demo::{Demo, Place};
use crate::process::{children, gone, is_alive, kill_hard};

/// Everything ends within this time, however the end comes.
const END: Duration = Duration::from_secs(2);

fn family(demo: &Demo<'_>) -> Vec<i32> {
    let children = children(demo.process.pid());
    assert!(
        children.len() >= 16,
        "control plane, console, 7 proxies, 6 services, load: {children:?}"
    );
    children
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_everything_in_time() -> Result<()> {
    let place = Place::new()?;
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        let demo = place.start(&[]).await?;
        let family = family(&demo);
        let asked = Instant::now();
        let status = demo.stop(signal).await?;
        assert!(status.success(), "{signal}: {status}");
        assert!(asked.elapsed() < END, "{signal}: took {:?}", asked.elapsed());
        assert!(
            !family.iter().any(|pid| is_alive(*pid)),
            "{signal} left processes behind"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_a_killed_supervisor() -> Result<()> {
    let place = Place::new()?;
    let mut demo = place.start(&[]).await?;
    let family = family(&demo);
    demo.process.signal(Signal::SIGKILL)?;
    gone(&family, END).await?;
    demo.process.wait(END).await?;
    // The same folder and ports serve again.
    let demo = place.start(&["--no-load"]).await?;
    demo.stop(Signal::SIGINT).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_with_its_owner_and_its_flag() -> Result<()> {
    let place = Place::new()?;
    let held = TcpListener::bind(place.gateway())?;
    let mut process = Process::spawn("sightline demo", place.command(&[])?)?;
    let status = process.wait(Duration::from_secs(10)).await?;
    let output = process.output();
    assert_eq!(status.code(), Some(69), "{output}");
    let owner = format!("process {}", std::process::id());
    for part in ["--gateway-address", &place.gateway().port().to_string(), &owner] {
        assert!(output.contains(part), "{output}\nlacks {part}");
    }
    drop(held);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_child_may_be_killed_and_comes_back_while_the_rest_goes_on() -> Result<()> {
    let place = Place::new()?;
    let demo = place.start(&["--no-load"]).await?;
    let page = format!("http://{}/productpage", place.gateway());
    for name in [
        "reviews-v1-proxy",
        "details-v1",
        "console",
        "istio-ingressgateway",
    ] {
        let others: Vec<i32> = family_without(&demo, name)?;
        let before = place.pid(name)?;
        kill_hard(before)?;
        demo.restarted(name, before).await?;
        eventually(
            &format!("a whole page after the end of {name}"),
            Duration::from_secs(20),
            async || {
                let answer = get(&page).await.map_err(|error| format!("{error:#}"))?;
                let text = answer.text();
                let whole = answer.status == 200 && !text.contains("unavailable");
                if whole {
                    Ok(())
                } else {
                    Err(format!("{} {text}", answer.status))
                }
            },
        )
        .await
        .with_context(|| place.logs())?;
        assert!(others.iter().all(|pid| is_alive(*pid)), "{name} took others down");
    }
    let mut status = std::process::Command::new(binary("sightline")?);
    status.arg("status").arg("--data").arg(place.data());
    let output = String::from_utf8(status.output()?.stdout)?;
    assert!(
        output.contains("reviews-v1-proxy") && output.contains(".log"),
        "{output}"
    );
    demo.stop(Signal::SIGINT).await?;
    Ok(())
}

fn family_without(demo: &Demo<'_>, name: &str) -> Result<Vec<i32>> {
    let left_out = demo.place.pid(name)?;
    Ok(children(demo.process.pid())
        .into_iter()
        .filter(|pid| *pid != left_out)
        .collect())
}

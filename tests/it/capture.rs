//! Captured traffic between pods: network namespaces joined by veth pairs, real sidecars under uid 1337, real rules,
//! mutual TLS. Every expectation is checked, and every one that fails is told.
//!
//! As root, with iptables and iproute2; `cargo build --bin sightline-proxy --bin sightline-controlplane` first.
//! `CAPTURE_HOLD=1` keeps everything up after a failure, to look at it.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "capture/expectations.rs"]
mod expectations;
#[path = "capture/init.rs"]
mod init;
#[path = "capture/lookups.rs"]
mod lookups;
#[path = "capture/mesh.rs"]
mod mesh;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("capture: test");
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    if let Err(error) = mesh_stories::pods::enter() {
        eprintln!("captured traffic cannot be tested here: {error:#}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // On the main thread: pods and processes end with the thread that started them.
    let results = match runtime.block_on(expectations::all()) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("the pods could not be set up: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let failed = results.iter().filter(|(_, outcome)| outcome.is_err()).count();
    for (name, outcome) in &results {
        match outcome {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => println!("test {name} ... FAILED\n  {error:#}"),
        }
    }
    println!(
        "test result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        if failed == 0 { "ok" } else { "FAILED" },
        results.len() - failed,
        start.elapsed().as_secs_f64()
    );
    if failed > 0 {
        if std::env::var_os("CAPTURE_HOLD").is_some() {
            std::thread::park();
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

//! The demo's steps in its mesh: the sample's configuration, its workloads, load.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mesh_model::address::port;

use crate::cluster::workload::Role;
use crate::cluster::world;
use crate::demo::options::Options;
use crate::demo::{ready, sample};
use crate::failure::Failure;
use crate::mesh::host::{Mesh, say};

/// Starts everything, says `ready`, and waits for the end of the time asked for, if any.
pub(crate) async fn demo(options: &Options, mesh: &Mesh<'_>) -> Result<(), Failure> {
    mesh.programs.check(&["sightline-shop", "sightline-loadgen"])?;
    let created = sample::apply(&mesh.client, options).await?;
    tracing::info!(created, "the sample's configuration is in place");
    list_addresses(options, mesh);
    say("starting the gateway and the shop");
    mesh.handle
        .start(sample::publisher(&mesh.programs, options))
        .await?;
    let world = world::live(&mesh.client).await?;
    let mut watched = Vec::new();
    for workload in sample::workloads(options.gateway_address) {
        let joined = mesh
            .place
            .join(&mesh.client, &mesh.handle, &mesh.programs, &workload)
            .await?;
        if let Role::Sidecar { .. } = workload.role {
            let name = format!("counters {}", workload.name);
            mesh.board.list(name, sample::counters(&joined.entry));
        }
        if let Some(application) = sample::application(&mesh.programs, &joined.entry, &world) {
            mesh.handle.start(application).await?;
        }
        watched.push((Arc::clone(&joined.entry), joined.ready.clone()));
    }
    let expected = ready::Expected {
        query: mesh.query()?,
        workloads: &watched,
        endpoints: mesh.endpoints.clone(),
        console: mesh.options.console_address,
        handle: mesh.handle.clone(),
    };
    ready::wait(&expected).await;
    if !options.no_load {
        let final_counts = mesh.place.folder.final_counts().into_os_string();
        let load = sample::load_generator(&mesh.programs, options, final_counts);
        mesh.handle.start(load).await?;
        if let Some((details, _)) = watched.iter().find(|(entry, _)| entry.workload.app == "details") {
            let auditor = sample::auditor(&mesh.programs, options, details);
            mesh.handle.start(auditor).await?;
        }
    }
    mesh.board.complete().await?;
    announce(options, mesh);
    match options.length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
    Ok(())
}

fn list_addresses(options: &Options, mesh: &Mesh<'_>) {
    mesh.board
        .list("gateway", format!("http://{}", options.gateway_address));
    let publisher = SocketAddr::new(options.publisher().ip(), port::APPLICATION_COUNTERS);
    let mut counters = vec![("publisher", publisher)];
    if !options.no_load {
        counters.push(("loadgen", options.load_generator()));
        counters.push(("auditor", options.auditor()));
    }
    for (name, address) in counters {
        mesh.board
            .list(format!("counters {name}"), format!("http://{address}/metrics"));
    }
}

fn announce(options: &Options, mesh: &Mesh<'_>) {
    let gateway = format!("http://{}", options.gateway_address);
    mesh.announce(&[("gateway", gateway.clone())]);
    say(&format!("shop      {gateway}/productpage"));
    say("Ctrl-C ends everything");
    if options.open {
        open(&format!("http://{}", mesh.options.console_address));
    }
}

/// Opens a page in the user's browser.
pub(crate) fn open(url: &str) {
    let opener: PathBuf = if cfg!(target_os = "macos") {
        "open".into()
    } else {
        "xdg-open".into()
    };
    if let Err(error) = std::process::Command::new(&opener).arg(url).spawn() {
        say(&format!("cannot open a browser ({error}); go to {url}"));
    }
}

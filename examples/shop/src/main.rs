//! The sample application: a bookshop in four services, one binary.
//!
//! `productpage` shows a page that it puts together from `details` and `reviews`; versions 2 and 3 of `reviews`
//! ask `ratings` for stars. Every call between them goes through the HTTP proxy named by `http_proxy`, which in a
//! mesh is the service's own sidecar. Each process counts the requests that it received and serves the count
//! outside the mesh, on port 15099, so that anyone can compare it with what the mesh says.

mod calls;
mod counters;
mod page;
mod service;
mod serving;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use crate::calls::Caller;
use crate::counters::Counters;
use crate::service::{Service, Shop};

/// One service of the sample bookshop.
#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Arguments {
    /// Which service to be.
    #[arg(long, value_enum)]
    service: Service,
    /// Version of the service; for reviews: v1 has no stars, v2 black stars, v3 red ones.
    #[arg(long, default_value = "v1")]
    version: String,
    /// Address to listen on.
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on.
    #[arg(long, env = "PORT", default_value_t = 9080)]
    port: u16,
    /// Port of the counters, on the same address.
    #[arg(long, env = "COUNTERS_PORT", default_value_t = 15099)]
    counters_port: u16,
    /// HTTP proxy for calls to the other services, `http://ADDRESS:PORT`.
    #[arg(long, env = "http_proxy")]
    http_proxy: Option<String>,
    /// Port that the other services listen on.
    #[arg(long, default_value_t = 9080)]
    peer_port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let arguments = Arguments::parse();
    let counters = Arc::new(Counters::new(arguments.service.name(), &arguments.version)?);
    let caller = Caller::new(arguments.http_proxy.as_deref(), arguments.peer_port)?;
    let shop = Arc::new(Shop::new(
        arguments.service,
        arguments.version,
        caller,
        Arc::clone(&counters),
    ));

    let application = listen(SocketAddr::new(arguments.host, arguments.port)).await?;
    let side = listen(SocketAddr::new(arguments.host, arguments.counters_port)).await?;
    tracing::info!(service = arguments.service.name(), address = %application.local_addr()?, "serving");

    let stop = serving::stop_signal()?;
    tokio::join!(
        serving::serve(application, stop.clone(), move |request| {
            let shop = Arc::clone(&shop);
            async move { shop.answer(request).await }
        }),
        serving::serve(side, stop, move |request| {
            let counters = Arc::clone(&counters);
            async move { counters.answer(request.uri().path()) }
        }),
    );
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; HOST and PORT choose another address"))
}

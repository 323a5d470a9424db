//! The sample application: a bookshop in a few small services, one binary.
//!
//! `productpage` shows a page that it puts together from `details` and `reviews`, asks `inventory` (gRPC) how many
//! copies are left, and notes each view in `journal` (TCP); versions 2 and 3 of `reviews` ask `ratings` for stars;
//! `details` asks a publisher that is outside the mesh. A fixed share of the calls fails or is slow. Every call between them goes through the HTTP proxy named by `http_proxy`, which in a
//! mesh is the service's own sidecar. Each process counts the requests that it received and serves the count
//! outside the mesh, on port 15099, so that anyone can compare it with what the mesh says.

mod calls;
mod counters;
mod inventory;
mod journal;
mod page;
mod service;
mod serving;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use crate::calls::Caller;
use crate::counters::Counters;
use crate::service::{Partners, Service, Shop};

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
    /// The inventory, `HOST:PORT`; none: the page does not say how many copies are left.
    #[arg(long, env = "INVENTORY")]
    inventory: Option<String>,
    /// Address of the journal, with its port; none: views are not noted.
    #[arg(long, env = "JOURNAL_HOST", requires = "journal_port")]
    journal_host: Option<IpAddr>,
    /// Port of the journal.
    #[arg(long, env = "JOURNAL_PORT")]
    journal_port: Option<String>,
    /// Host of the publisher's server; none: details have no ISBN.
    #[arg(long, env = "PUBLISHER")]
    publisher: Option<String>,
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
    let application = listen(SocketAddr::new(arguments.host, arguments.port)).await?;
    let side = listen(SocketAddr::new(arguments.host, arguments.counters_port)).await?;
    let stop = serving::stop_signal()?;
    tracing::info!(service = arguments.service.name(), address = %application.local_addr()?, "serving");
    let counted = Arc::clone(&counters);
    let metrics = serving::serve(side, stop.clone(), move |request| {
        let counters = Arc::clone(&counted);
        async move { counters.answer(request.uri().path()) }
    });
    match arguments.service {
        Service::Inventory => {
            let (served, ()) = tokio::join!(inventory::serve(application, stop, counters), metrics);
            served?;
        }
        Service::Journal => {
            tokio::join!(journal::serve(application, stop, counters), metrics);
        }
        _ => {
            let shop = Arc::new(shop(arguments, counters)?);
            let serving = serving::serve(application, stop, move |request| {
                let shop = Arc::clone(&shop);
                async move { shop.answer(request).await }
            });
            tokio::join!(serving, metrics);
        }
    }
    Ok(())
}

/// An HTTP service with what it needs.
fn shop(arguments: Arguments, counters: Arc<Counters>) -> Result<Shop> {
    let proxy = arguments.http_proxy.as_deref();
    let inventory = arguments
        .inventory
        .as_deref()
        .map(|authority| inventory::Client::new(authority, proxy))
        .transpose()?;
    let journal = arguments
        .journal_host
        // On a cluster, a variable of this name may hold something else (`tcp://...`).
        .zip(arguments.journal_port.and_then(|port| port.parse().ok()))
        .map(|(host, port)| SocketAddr::new(host, port).to_string());
    let partners = Partners {
        inventory,
        journal,
        publisher: arguments.publisher,
    };
    let caller = Caller::new(proxy, arguments.peer_port)?;
    Ok(Shop::new(
        arguments.service,
        arguments.version,
        caller,
        partners,
        counters,
    ))
}

async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; HOST and PORT choose another address"))
}

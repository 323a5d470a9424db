//! The embedded API server as a process of its own, for tests and for looking around.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Serves the Kubernetes REST protocol over SQLite.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:15080")]
    listen: SocketAddr,
    /// Folder for the database, keys, kubeconfig and token.
    #[arg(long)]
    data: PathBuf,
    /// Store Istio objects that a mesh's webhook would refuse.
    #[arg(long)]
    no_admission: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let mut config = mesh_apiserver::Config::new(arguments.listen, arguments.data);
    config.admission = !arguments.no_admission;
    let server = mesh_apiserver::Server::start(config).await?;
    println!(
        "ready https://{} {}",
        server.address(),
        server.kubeconfig_path().display()
    );
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    server.shutdown().await;
    Ok(())
}

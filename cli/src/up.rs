//! `sightline up`: a mesh for plain processes, without any.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::folder::Folder;
use crate::mesh::host::{self, say};
use crate::mesh::options::MeshOptions;

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  A mesh with its console at http://127.0.0.1:20001:
    sightline up
  Then, in other terminals, a service, another one, and a way in from outside:
    sightline run --name details --port 9080 -- ./details
    sightline run --name shop --version v2 --port 9081 -- npm start
    sightline gateway --name istio-ingressgateway --listen 127.0.0.1:8080
  kubectl and istioctl work on it:
    export KUBECONFIG=~/.local/share/sightline/mesh/kubeconfig
    kubectl get services
  Spans to a Jaeger, too, with a link from each trace:
    sightline up --otlp-endpoint http://127.0.0.1:4317 \\
      --link 'Jaeger:trace=http://127.0.0.1:16686/trace/{trace}'

`sightline status` shows what runs, `sightline down` ends it. The data folder keeps
configuration, history and addresses for the next start.";

/// Flags of `sightline up`.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    mesh: MeshOptions,
}

/// Runs until it is asked to end.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let data = options
        .mesh
        .data
        .clone()
        .unwrap_or_else(|| Folder::default_path("mesh"));
    host::run(&options.mesh, &data, Vec::new(), async |mesh| {
        mesh.answers().await?;
        mesh.board.complete().await?;
        mesh.announce(&[]);
        say("run your processes in the mesh with `sightline run --name NAME --port PORT -- COMMAND`");
        say("Ctrl-C or `sightline down` ends the mesh");
        std::future::pending().await
    })
}

//! `sightline demo`: a mesh of plain processes with a sample shop in it, and load.

mod options;
mod ready;
mod run;
mod sample;

use std::process::ExitCode;

pub(crate) use self::options::{EXAMPLES, Options};
pub(crate) use self::run::open;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::mesh::host;

/// Runs the demo until it is asked to end, and ends everything that it started.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let data = options
        .mesh
        .data
        .clone()
        .unwrap_or_else(|| Folder::default_path("demo"));
    host::run(&options.mesh, &data, options.wanted_ports(), async |mesh| {
        run::demo(options, mesh).await
    })
}

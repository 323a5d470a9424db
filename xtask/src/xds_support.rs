//! `cargo xtask xds-support`: writes the page of Envoy fields from the table in `mesh-xds`.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::root;

/// Writes `docs/xds-support.md`; a test of `mesh-xds` fails while it is stale.
pub(crate) fn run(repository: &Path) -> Result<()> {
    let made = root::cargo()
        .args(["run", "--quiet", "-p", "mesh-xds", "--example", "xds-support"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(made.status.success(), "the page could not be made");
    let path = repository.join("docs/xds-support.md");
    std::fs::write(&path, made.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

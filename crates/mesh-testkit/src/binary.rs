//! Binaries of other packages, which cargo does not build for a test by itself.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Path of a binary of this workspace, from the same build as the running test.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find the running test")?;
    // .../PROFILE/deps/test-hash
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .context("the test is not in a target folder")?;
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: run `cargo build` first, or `cargo xtask test`",
            path.display()
        );
    }
    Ok(path)
}

//! Notes the commit and its date, for `--version`.

use std::process::Command;

fn main() {
    let commit = git(&["log", "-1", "--format=%h %cs"]).unwrap_or_else(|| "unknown commit".to_owned());
    println!("cargo:rustc-env=SIGHTLINE_COMMIT={commit}");
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

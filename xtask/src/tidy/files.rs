//! Names and sizes of source files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff", "mod",
];

/// Production lines (before the first `#[cfg(test)]`) at which a file must be split.
const LINES: usize = 600;

/// Files that may be longer, each with its reason. The list must shrink or be argued for.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files that break a rule.
pub(super) fn problems() -> Result<Vec<String>> {
    let root = root::repository();
    let mut problems = Vec::new();
    for file in tracked(&root)? {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        problems.extend(name_problem(&file));
        // A file may have been deleted in the work tree only.
        if let Ok(text) = std::fs::read_to_string(root.join(&file)) {
            problems.extend(size_problem(&file, &text));
        }
    }
    Ok(problems)
}

fn name_problem(file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_string_lossy().to_lowercase();
    EMPTY_NAMES.contains(&stem.as_str()).then(|| {
        format!(
            "{}: name the file after what is inside (no {stem}.rs; modules are foo.rs plus foo/)",
            file.display()
        )
    })
}

fn size_problem(file: &Path, text: &str) -> Option<String> {
    let path = file.to_string_lossy();
    let is_test = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs");
    if is_test || LONG_FILES.iter().any(|(name, _)| *name == path) {
        return None;
    }
    let lines = text
        .lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
        .count();
    (lines > LINES).then(|| format!("{path}: {lines} production lines, split it by {LINES}"))
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("cannot start git, which lists the files that tidy reads")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(name_problem(Path::new("a/src/mod.rs")).is_some());
        assert!(name_problem(Path::new("a/src/utils.rs")).is_some());
        assert!(name_problem(Path::new("a/src/model.rs")).is_none());
    }

    #[test]
    fn sizes_leave_out_tests() {
        let long = "x\n".repeat(601);
        assert!(size_problem(Path::new("a/src/b.rs"), &long).is_some());
        assert!(size_problem(Path::new("a/tests/it/b.rs"), &long).is_none());
        let tested = format!("{}#[cfg(test)]\n{long}", "x\n".repeat(600));
        assert!(size_problem(Path::new("a/src/b.rs"), &tested).is_none());
    }
}

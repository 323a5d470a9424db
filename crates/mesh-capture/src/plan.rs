//! What has to be run so that the rules are there (or gone), whatever was there before.

use std::collections::BTreeSet;

use crate::rules::{Family, MARK, Table, tables};
use crate::settings::{Mode, Settings};

/// Begins the name of every chain of ours.
const OWN: &str = "ISTIO_";

/// What is there: the output of `iptables-save` and `ip6tables-save`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// IPv4.
    pub v4: String,
    /// IPv6.
    pub v6: String,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads.
    pub input: String,
    /// A failure with one of these in its message is none: what was wanted is so already.
    pub tolerates: &'static [&'static str],
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program)?;
        for argument in &self.arguments {
            write!(f, " {argument}")?;
        }
        if !self.input.is_empty() {
            write!(f, " <<EOF\n{}EOF", self.input)?;
        }
        Ok(())
    }
}

/// What puts the rules in force in place of any of ours that are there. Doing it twice is doing it once.
#[must_use]
pub fn plan(settings: &Settings, ipv6: bool, present: &Present) -> Vec<Step> {
    let tproxy = settings.mode == Mode::Tproxy;
    let mut steps = Vec::new();
    if ipv6 {
        // The sidecar calls the application from here; IPv4 has all of 127.0.0.0/8.
        steps.push(ip("-6 addr replace ::6/128 dev lo", &[]));
    }
    for (family, present) in families(ipv6, present) {
        if tproxy {
            // Some kernels take the same rule twice.
            let [rule, _] = without_routes(settings, family);
            steps.push(rule);
            let inet = inet(family);
            steps.push(ip(
                &format!(
                    "{inet} rule add fwmark {} lookup {}",
                    settings.tproxy_mark, settings.tproxy_table
                ),
                &[],
            ));
            steps.push(ip(
                &format!(
                    "{inet} route replace local default dev lo table {}",
                    settings.tproxy_table
                ),
                &[],
            ));
        } else if present.contains(":ISTIO_TPROXY ") {
            steps.extend(without_routes(settings, family));
        }
    }
    for (family, present) in families(ipv6, present) {
        steps.extend(restore(family, present, &tables(settings, family)));
    }
    steps
}

/// What takes the rules away again.
#[must_use]
pub fn removal(settings: &Settings, ipv6: bool, present: &Present) -> Vec<Step> {
    let mut steps = Vec::new();
    for (family, present) in families(ipv6, present) {
        steps.extend(restore(family, present, &[]));
        if present.contains(":ISTIO_TPROXY ") {
            steps.extend(without_routes(settings, family));
        }
    }
    if ipv6 {
        steps.push(ip(
            "-6 addr del ::6/128 dev lo",
            &["Cannot assign requested address", "address not found"],
        ));
    }
    steps
}

fn families(ipv6: bool, present: &Present) -> impl Iterator<Item = (Family, &str)> {
    [
        (Family::V4, present.v4.as_str()),
        (Family::V6, present.v6.as_str()),
    ]
    .into_iter()
    .filter(move |(family, _)| ipv6 || *family == Family::V4)
}

fn inet(family: Family) -> &'static str {
    match family {
        Family::V4 => "-f inet",
        Family::V6 => "-f inet6",
    }
}

fn ip(arguments: &str, tolerates: &'static [&'static str]) -> Step {
    Step {
        program: "ip",
        arguments: arguments.split(' ').map(str::to_owned).collect(),
        input: String::new(),
        tolerates,
    }
}

fn without_routes(settings: &Settings, family: Family) -> [Step; 2] {
    let inet = inet(family);
    [
        ip(
            &format!(
                "{inet} rule del fwmark {} lookup {}",
                settings.tproxy_mark, settings.tproxy_table
            ),
            &["No such file or directory"],
        ),
        ip(
            &format!(
                "{inet} route del local default dev lo table {}",
                settings.tproxy_table
            ),
            &["No such process"],
        ),
    ]
}

/// One input for all tables: what of ours is there goes, what is wanted comes, each table at once.
fn restore(family: Family, present: &str, wanted: &[Table]) -> Option<Step> {
    let mut input = String::new();
    for name in ["raw", "mangle", "nat"] {
        let rules = wanted
            .iter()
            .find(|t| t.name == name)
            .map_or(&[][..], |t| &t.rules);
        let there = Ours::in_table(present, name);
        let chains: BTreeSet<&str> = rules
            .iter()
            .map(|rule| rule.chain)
            .filter(|chain| chain.starts_with(OWN))
            .collect();
        if rules.is_empty() && there.chains.is_empty() && there.rules.is_empty() {
            continue;
        }
        input.push_str(&format!("*{name}\n"));
        // Naming a chain makes it, or empties it.
        for chain in chains.iter().chain(there.chains.difference(&chains)) {
            input.push_str(&format!(":{chain} - [0:0]\n"));
        }
        for rule in &there.rules {
            input.push_str(&format!("-D {rule}\n"));
        }
        for chain in there.chains.difference(&chains) {
            input.push_str(&format!("-X {chain}\n"));
        }
        for rule in rules {
            let place = if rule.first { "-I" } else { "-A" };
            input.push_str(&format!("{place} {} {}\n", rule.chain, rule.text));
        }
        input.push_str("COMMIT\n");
    }
    (!input.is_empty()).then(|| Step {
        program: match family {
            Family::V4 => "iptables-restore",
            Family::V6 => "ip6tables-restore",
        },
        arguments: vec!["--noflush".to_owned()],
        input,
        tolerates: &[],
    })
}

/// What of ours a table holds.
#[derive(Default)]
struct Ours<'a> {
    chains: BTreeSet<&'a str>,
    /// Rules in chains of the system, as they are saved.
    rules: Vec<&'a str>,
}

impl<'a> Ours<'a> {
    fn in_table(saved: &'a str, table: &str) -> Self {
        let mut ours = Self::default();
        let mut here = false;
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                here = name == table;
            } else if !here {
                continue;
            } else if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split(' ').next().unwrap_or_default();
                if name.starts_with(OWN) {
                    ours.chains.insert(name);
                }
            } else if let Some(rule) = line.strip_prefix("-A ")
                && !rule.starts_with(OWN)
                && (rule.contains(" -j ISTIO_") || rule.contains(MARK))
            {
                ours.rules.push(rule);
            }
        }
        ours
    }
}

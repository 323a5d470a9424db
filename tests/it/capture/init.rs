//! `sightline-proxy init` in a pod of its own.

use std::net::IpAddr;
use std::path::Path;

use anyhow::ensure;
use mesh_stories::pods::{Pod, input};

/// Twice is once; what is taken away is gone; another mode leaves nothing of the first.
pub(crate) fn rules_come_and_go(folder: &Path) -> anyhow::Result<()> {
    let bin = folder.join("bin");
    let pod = Pod::start(240, &bin.join("rtecho"), "10.244.0.1", folder)?;
    let init = |arguments: &[&str]| {
        let mut command = pod
            .namespace
            .command(&bin.join("sightline-proxy").display().to_string());
        command.arg("init").args(arguments);
        input(command, "")
    };
    let saved = || -> anyhow::Result<String> {
        let mut all = String::new();
        for program in ["iptables-save", "ip6tables-save"] {
            let output = pod.namespace.command(program).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // Comments have the time; empty tables come and stay as the kernel likes.
            for line in text
                .lines()
                .filter(|line| line.starts_with("-A ") || line.starts_with(":ISTIO"))
            {
                all.push_str(line);
                all.push('\n');
            }
        }
        Ok(all)
    };
    for arguments in [
        &["-c", "eth9", "--redirect-dns", "--capture-all-dns"][..],
        &["-m", "TPROXY", "--drop-invalid"],
        &[
            "-i",
            "10.0.0.0/8,fd00::/8",
            "-x",
            "10.1.0.0/16",
            "-k",
            "tap0",
            "-o",
            "22",
            "-b",
            "80",
        ],
    ] {
        init(arguments)?;
        let once = saved()?;
        ensure!(once.contains("ISTIO_OUTPUT"), "init {arguments:?} made no rules");
        ensure!(
            once.contains("::6/128"),
            "init {arguments:?} made no IPv6 rules:\n{once}"
        );
        init(arguments)?;
        let twice = saved()?;
        ensure!(
            once == twice,
            "init {arguments:?} twice is not once:\n{once}\nbut\n{twice}"
        );
    }
    let rules = pod.namespace.command("ip").args(["rule"]).output()?;
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    ensure!(
        !rules.contains("133"),
        "the routes of TPROXY stay in REDIRECT: {rules}"
    );
    init(&["-m", "TPROXY"])?;
    init(&["--clean-up"])?;
    ensure!(saved()?.is_empty(), "left behind:\n{}", saved()?);
    let rules = pod.namespace.command("ip").args(["rule"]).output()?;
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    ensure!(!rules.contains("133"), "left behind: {rules}");
    init(&["--clean-up"])?;
    ensure!(pod.addresses[0] == IpAddr::from([10, 244, 0, 240]), "another pod");
    Ok(())
}

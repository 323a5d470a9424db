//! `sightline-proxy init`: puts the capture rules of a pod, before its application starts, and takes them away.
//!
//! Flags and variables are those of Istio's init container. What is not said is as Istio injects it, so that no flag
//! at all captures everything but the sidecar's own ports.

use clap::Parser;
use mesh_capture::settings::{name_servers, names, owners, ports, ranges};
use mesh_capture::{Dns, Failure, Mode, Ports, Present, Ranges, Settings, plan, present, removal, run};

/// Captures the traffic of this network namespace for the sidecar.
#[derive(Debug, Clone, Parser)]
#[command(name = "sightline-proxy init", version)]
pub struct Arguments {
    /// Where the application's connections go.
    #[arg(
        short = 'p',
        long,
        env = "ENVOY_PORT",
        default_value_t = 15001,
        value_name = "PORT"
    )]
    pub envoy_port: u16,
    /// Where connections to the application go.
    #[arg(
        short = 'z',
        long,
        env = "INBOUND_CAPTURE_PORT",
        default_value_t = 15006,
        value_name = "PORT"
    )]
    pub inbound_capture_port: u16,
    /// Port of tunnels between proxies; never captured.
    #[arg(
        short = 'e',
        long,
        env = "INBOUND_TUNNEL_PORT",
        default_value_t = 15008,
        value_name = "PORT"
    )]
    pub inbound_tunnel_port: u16,
    /// Users whose traffic is not captured.
    #[arg(
        short = 'u',
        long,
        env = "PROXY_UID",
        default_value = "1337",
        value_name = "UID,..."
    )]
    pub proxy_uid: String,
    /// Groups whose traffic is not captured.
    #[arg(
        short = 'g',
        long,
        env = "PROXY_GID",
        default_value = "1337",
        value_name = "GID,..."
    )]
    pub proxy_gid: String,
    /// REDIRECT or TPROXY.
    #[arg(
        short = 'm',
        long,
        env = "ISTIO_INBOUND_INTERCEPTION_MODE",
        default_value = "REDIRECT",
        value_name = "MODE"
    )]
    pub istio_inbound_interception_mode: String,
    /// Mark of packets for the transparent socket.
    #[arg(
        short = 't',
        long,
        env = "ISTIO_INBOUND_TPROXY_MARK",
        default_value_t = 1337,
        value_name = "N"
    )]
    pub istio_inbound_tproxy_mark: u32,
    /// Routing table of marked packets.
    #[arg(
        short = 'r',
        long,
        env = "ISTIO_INBOUND_TPROXY_ROUTE_TABLE",
        default_value_t = 133,
        value_name = "N"
    )]
    pub istio_inbound_tproxy_route_table: u32,
    /// Ports of the application that are captured; * = all.
    #[arg(
        short = 'b',
        long,
        env = "ISTIO_INBOUND_PORTS",
        default_value = "*",
        value_name = "PORT,..."
    )]
    pub istio_inbound_ports: String,
    /// Ports of the application that are not captured, when all others are.
    #[arg(
        short = 'd',
        long,
        env = "ISTIO_LOCAL_EXCLUDE_PORTS",
        default_value = "15090,15021,15020",
        value_name = "PORT,..."
    )]
    pub istio_local_exclude_ports: String,
    /// Destinations that are captured; * = all.
    #[arg(
        short = 'i',
        long,
        env = "ISTIO_SERVICE_CIDR",
        default_value = "*",
        value_name = "CIDR,..."
    )]
    pub istio_service_cidr: String,
    /// Destinations that are not captured.
    #[arg(
        short = 'x',
        long,
        env = "ISTIO_SERVICE_EXCLUDE_CIDR",
        default_value = "",
        value_name = "CIDR,..."
    )]
    pub istio_service_exclude_cidr: String,
    /// Ports of destinations that are captured wherever they are.
    #[arg(
        short = 'q',
        long,
        env = "ISTIO_OUTBOUND_PORTS",
        default_value = "",
        value_name = "PORT,..."
    )]
    pub istio_outbound_ports: String,
    /// Ports of destinations that are not captured.
    #[arg(
        short = 'o',
        long,
        env = "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE",
        default_value = "",
        value_name = "PORT,..."
    )]
    pub istio_local_outbound_ports_exclude: String,
    /// Interfaces whose traffic is left alone.
    #[arg(
        short = 'c',
        long,
        env = "ISTIO_EXCLUDE_INTERFACES",
        default_value = "",
        value_name = "NAME,..."
    )]
    pub istio_exclude_interfaces: String,
    /// Interfaces of virtual machines in the pod: what comes from there is outbound.
    #[arg(
        short = 'k',
        long,
        visible_alias = "reroute-virtual-interfaces",
        env = "KUBE_VIRT_INTERFACES",
        default_value = "",
        value_name = "NAME,..."
    )]
    pub kube_virt_interfaces: String,
    /// Only processes of these groups are captured; * = all.
    #[arg(
        long,
        env = "ISTIO_OUTBOUND_OWNER_GROUPS",
        default_value = "*",
        value_name = "GROUP,..."
    )]
    pub owner_groups: String,
    /// Processes of these groups are not captured.
    #[arg(
        long,
        env = "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
        default_value = "",
        value_name = "GROUP,..."
    )]
    pub owner_groups_exclude: String,
    /// Lookups to the name servers of /etc/resolv.conf go to the sidecar's DNS proxy.
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub redirect_dns: String,
    /// With --redirect-dns: lookups to any name server.
    #[arg(long)]
    pub capture_all_dns: bool,
    /// Packets of no known connection are dropped instead of reset.
    #[arg(long, env = "INVALID_DROP", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub drop_invalid: String,
    /// IPv6 rules also where no interface has a global IPv6 address.
    #[arg(long, env = "ISTIO_DUAL_STACK", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub dual_stack: String,
    /// Prints what would be run, and runs nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Takes the rules away.
    #[arg(long, visible_alias = "cleanup-only")]
    pub clean_up: bool,
}

/// What is wrong with the arguments, one line each.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Arguments.
    #[error("{}", .0.join("\n"))]
    Arguments(Vec<String>),
    /// A program failed.
    #[error(transparent)]
    Run(#[from] Failure),
}

impl Arguments {
    /// The arguments as settings; all errors come together. `resolv_conf` names the name servers.
    pub fn settings(&self, resolv_conf: &str) -> Result<Settings, InitError> {
        let mut errors = Errors::default();
        let all: Ports = Ports::Only(Vec::new());
        let settings = Settings {
            outbound_port: self.envoy_port,
            inbound_port: self.inbound_capture_port,
            tunnel_port: self.inbound_tunnel_port,
            uids: errors.keep("--proxy-uid", owners(&self.proxy_uid)),
            gids: errors.keep("--proxy-gid", owners(&self.proxy_gid)),
            mode: errors.keep(
                "--istio-inbound-interception-mode",
                self.istio_inbound_interception_mode.parse::<Mode>(),
            ),
            tproxy_mark: self.istio_inbound_tproxy_mark,
            tproxy_table: self.istio_inbound_tproxy_route_table,
            inbound: errors.or("--istio-inbound-ports", self.istio_inbound_ports.parse(), all),
            inbound_excluded: errors.keep(
                "--istio-local-exclude-ports",
                ports(&self.istio_local_exclude_ports),
            ),
            outbound: errors.or(
                "--istio-service-cidr",
                self.istio_service_cidr.parse(),
                Ranges::Only(Vec::new()),
            ),
            outbound_excluded: errors.keep(
                "--istio-service-exclude-cidr",
                ranges(&self.istio_service_exclude_cidr),
            ),
            outbound_ports: errors.keep("--istio-outbound-ports", ports(&self.istio_outbound_ports)),
            outbound_excluded_ports: errors.keep(
                "--istio-local-outbound-ports-exclude",
                ports(&self.istio_local_outbound_ports_exclude),
            ),
            owner_groups: match self.owner_groups.trim() {
                "*" => Vec::new(),
                list => errors.keep("--owner-groups", names(list)),
            },
            owner_groups_excluded: errors.keep("--owner-groups-exclude", names(&self.owner_groups_exclude)),
            excluded_interfaces: errors.keep(
                "--istio-exclude-interfaces",
                names(&self.istio_exclude_interfaces),
            ),
            rerouted_interfaces: errors.keep("--kube-virt-interfaces", names(&self.kube_virt_interfaces)),
            dns: match (
                errors.keep("--redirect-dns", truth(&self.redirect_dns)),
                self.capture_all_dns,
            ) {
                (false, _) => Dns::Off,
                (true, true) => Dns::All,
                (true, false) => Dns::Servers(name_servers(resolv_conf)),
            },
            dns_port: mesh_model::address::port::DNS,
            drop_invalid: errors.keep("--drop-invalid", truth(&self.drop_invalid)),
        };
        errors.keep("--dual-stack", truth(&self.dual_stack));
        if settings.uids.is_empty() && settings.gids.is_empty() {
            errors.0.push(
                "--proxy-uid, --proxy-gid: one is needed, else the sidecar's own connections come back to it"
                    .into(),
            );
        }
        if errors.0.is_empty() {
            Ok(settings)
        } else {
            Err(InitError::Arguments(errors.0))
        }
    }

    /// Does what the arguments say; what is to be printed is answered.
    pub fn run(&self) -> Result<String, InitError> {
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let settings = self.settings(&resolv_conf)?;
        let ipv6 = mesh_capture::wants_ipv6() || truth(&self.dual_stack).unwrap_or_default();
        let there = if self.dry_run {
            Present::default()
        } else {
            present(ipv6)?
        };
        let steps = if self.clean_up {
            removal(&settings, ipv6, &there)
        } else {
            plan(&settings, ipv6, &there)
        };
        if self.dry_run {
            return Ok(steps.iter().map(|step| format!("{step}\n")).collect());
        }
        run(&steps)?;
        Ok(String::new())
    }
}

#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn or<T>(&mut self, flag: &str, parsed: Result<T, String>, instead: T) -> T {
        parsed.unwrap_or_else(|reason| {
            self.0.push(format!("{flag}: {reason}"));
            instead
        })
    }

    fn keep<T: Default>(&mut self, flag: &str, parsed: Result<T, String>) -> T {
        self.or(flag, parsed, T::default())
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "1" | "True" | "TRUE" | "t" | "T" => Ok(true),
        "" | "false" | "0" | "False" | "FALSE" | "f" | "F" => Ok(false),
        other => Err(format!("{other:?} is not true or false")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, String> {
        let all = std::iter::once("init").chain(arguments.iter().copied());
        Arguments::try_parse_from(all)
            .map_err(|e| e.to_string())?
            .settings("search x\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n")
            .map_err(|e| e.to_string())
    }

    #[test]
    fn no_flag_is_as_istio_injects_it() {
        assert_eq!(settings(&[]).unwrap(), Settings::default());
        let injected = [
            "-p",
            "15001",
            "-z",
            "15006",
            "-u",
            "1337",
            "-m",
            "REDIRECT",
            "-i",
            "*",
            "-x",
            "",
            "-b",
            "*",
            "-d",
            "15090,15021,15020",
        ];
        assert_eq!(settings(&injected).unwrap(), Settings::default());
    }

    #[test]
    fn flags_are_istios() {
        let made = settings(&[
            "-m",
            "TPROXY",
            "-b",
            "80,90",
            "-i",
            "10.0.0.0/8",
            "-x",
            "10.1.2.3,fd00::/8",
            "-o",
            "3306",
            "-q",
            "25",
            "-c",
            "eth1",
            "-k",
            "tap0",
            "--redirect-dns",
        ])
        .unwrap();
        assert_eq!(made.mode, Mode::Tproxy);
        assert_eq!(made.inbound, Ports::Only(vec![80, 90]));
        assert_eq!(made.outbound, "10.0.0.0/8".parse().unwrap());
        assert_eq!(made.outbound_excluded.len(), 2);
        assert_eq!(
            (made.outbound_excluded_ports, made.outbound_ports),
            (vec![3306], vec![25])
        );
        assert_eq!(made.excluded_interfaces, ["eth1"]);
        assert_eq!(made.rerouted_interfaces, ["tap0"]);
        let servers = ["10.96.0.10", "fe80::1"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(made.dns, Dns::Servers(servers));
    }

    #[test]
    fn all_errors_come_together() {
        let text = settings(&[
            "-m",
            "NONE",
            "-b",
            "http",
            "-i",
            "10/8/8",
            "-c",
            "a;b",
            "-u",
            "root",
            "-g",
            "",
            "--redirect-dns=maybe",
        ])
        .expect_err("bad");
        for part in [
            "--istio-inbound-interception-mode: give REDIRECT or TPROXY",
            "--istio-inbound-ports: \"http\" is not a port",
            "--istio-service-cidr: \"10/8/8\"",
            "--istio-exclude-interfaces: \"a;b\"",
            "--proxy-uid: \"root\"",
            "one is needed",
            "--redirect-dns: \"maybe\"",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}

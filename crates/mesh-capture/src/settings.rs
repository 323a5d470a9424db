//! What is captured, and how it is written on a command line.

use std::net::IpAddr;

use ipnet::IpNet;

/// What is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the application's connections go.
    pub outbound_port: u16,
    /// Where connections to the application go.
    pub inbound_port: u16,
    /// Port of tunnels between proxies; never captured.
    pub tunnel_port: u16,
    /// Users whose traffic is not captured: the sidecar's own.
    pub uids: Vec<u32>,
    /// Groups whose traffic is not captured.
    pub gids: Vec<u32>,
    /// How connections to the application are captured.
    pub mode: Mode,
    /// Mark of packets that go to a transparent socket.
    pub tproxy_mark: u32,
    /// Routing table of marked packets.
    pub tproxy_table: u32,
    /// Ports of the application that are captured.
    pub inbound: Ports,
    /// Ports of the application that are not, when all others are.
    pub inbound_excluded: Vec<u16>,
    /// Destinations that are captured.
    pub outbound: Ranges,
    /// Destinations that are not.
    pub outbound_excluded: Vec<IpNet>,
    /// Ports of destinations that are captured wherever they are.
    pub outbound_ports: Vec<u16>,
    /// Ports of destinations that are not captured.
    pub outbound_excluded_ports: Vec<u16>,
    /// Only processes of these groups are captured; empty = all.
    pub owner_groups: Vec<String>,
    /// Processes of these groups are not captured.
    pub owner_groups_excluded: Vec<String>,
    /// Interfaces whose traffic is left alone.
    pub excluded_interfaces: Vec<String>,
    /// Interfaces (of virtual machines in the pod) whose traffic is outbound, although it comes in.
    pub rerouted_interfaces: Vec<String>,
    /// Which name lookups are captured.
    pub dns: Dns,
    /// Where they go.
    pub dns_port: u16,
    /// Packets that belong to no known connection are dropped instead of reset.
    pub drop_invalid: bool,
}

/// How connections to the application are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The destination is rewritten; the sidecar asks the kernel for the original one.
    #[default]
    Redirect,
    /// Packets are handed to a transparent socket; addresses stay.
    Tproxy,
}

/// A choice of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// `*`
    All,
    /// These; none if empty.
    Only(Vec<u16>),
}

/// A choice of destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// `*`
    All,
    /// These; none if empty.
    Only(Vec<IpNet>),
}

/// Which name lookups are captured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Dns {
    /// None.
    #[default]
    Off,
    /// Those to these servers.
    Servers(Vec<IpAddr>),
    /// All to port 53.
    All,
}

impl Default for Settings {
    /// As Istio injects it: everything but the sidecar's own ports.
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            tunnel_port: 15008,
            uids: vec![1337],
            gids: vec![1337],
            mode: Mode::Redirect,
            tproxy_mark: 1337,
            tproxy_table: 133,
            inbound: Ports::All,
            inbound_excluded: vec![15090, 15021, 15020],
            outbound: Ranges::All,
            outbound_excluded: Vec::new(),
            outbound_ports: Vec::new(),
            outbound_excluded_ports: Vec::new(),
            owner_groups: Vec::new(),
            owner_groups_excluded: Vec::new(),
            excluded_interfaces: Vec::new(),
            rerouted_interfaces: Vec::new(),
            dns: Dns::Off,
            dns_port: 15053,
            drop_invalid: false,
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "REDIRECT" => Ok(Self::Redirect),
            "TPROXY" => Ok(Self::Tproxy),
            _ => Err("give REDIRECT or TPROXY".to_owned()),
        }
    }
}

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "*" => Ok(Self::All),
            list => ports(list).map(Self::Only),
        }
    }
}

impl std::str::FromStr for Ranges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "*" => Ok(Self::All),
            list => ranges(list).map(Self::Only),
        }
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `15090,15021`.
pub fn ports(text: &str) -> Result<Vec<u16>, String> {
    items(text)
        .map(|item| match item.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!(
                "{item:?} is not a port; give numbers from 1 to 65535, separated by commas"
            )),
        })
        .collect()
}

/// `10.0.0.0/8,2001:db8::/32`; an address alone is itself.
pub fn ranges(text: &str) -> Result<Vec<IpNet>, String> {
    items(text)
        .map(|item| {
            item.parse::<IpNet>()
                .map(|range| range.trunc())
                .or_else(|_| item.parse::<IpAddr>().map(Into::into))
                .map_err(|_| format!("{item:?} is not an address range; give for example 10.0.0.0/8"))
        })
        .collect()
}

/// `1337,1338`.
pub fn owners(text: &str) -> Result<Vec<u32>, String> {
    items(text)
        .map(|item| {
            item.parse()
                .map_err(|_| format!("{item:?} is not a numeric user or group id"))
        })
        .collect()
}

/// Names of interfaces or groups: no blanks, nothing that a rule could be made of.
pub fn names(text: &str) -> Result<Vec<String>, String> {
    items(text)
        .map(|item| {
            let fits = item
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'@' | b':'))
                && !item.starts_with('-');
            if fits {
                Ok(item.to_owned())
            } else {
                Err(format!(
                    "{item:?} is not a name: use letters, digits and . _ - + @ :"
                ))
            }
        })
        .collect()
}

/// Name servers of a `resolv.conf`.
#[must_use]
pub fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next() != Some("nameserver") {
                return None;
            }
            let address = words.next()?;
            // A zone only says which interface; rules have addresses.
            address.split('%').next()?.parse().ok()
        })
        .collect()
}

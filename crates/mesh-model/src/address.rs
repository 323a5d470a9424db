//! Address plan of a mesh of plain processes (explicit ports, interception mode NONE).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port numbers that Istio reserves and that users know.
pub mod port {
    /// Proxy admin (loopback or the sidecar's own address).
    pub const ADMIN: u16 = 15000;
    /// Outbound: HTTP proxy port of a plain process, capture port of a pod.
    pub const OUTBOUND: u16 = 15001;
    /// Inbound capture.
    pub const INBOUND: u16 = 15006;
    /// Discovery, CA and telemetry of the control plane (TLS).
    pub const DISCOVERY: u16 = 15012;
    /// Control plane health and metrics.
    pub const CONTROL_PLANE_METRICS: u16 = 15014;
    /// Query API of the control plane, for console and CLI.
    pub const QUERY: u16 = 15019;
    /// Agent: health and merged metrics.
    pub const AGENT: u16 = 15020;
    /// Readiness.
    pub const READINESS: u16 = 15021;
    /// Captured name lookups.
    pub const DNS: u16 = 15053;
    /// Embedded Kubernetes API.
    pub const API_SERVER: u16 = 15080;
    /// Proxy Prometheus.
    pub const PROMETHEUS: u16 = 15090;
    /// Counters of sample applications and load generator, outside the mesh.
    pub const APPLICATION_COUNTERS: u16 = 15099;
    /// Console.
    pub const CONSOLE: u16 = 20001;
}

/// The /16 (or larger) block from which workloads get their /24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressBase(u32);

impl AddressBase {
    /// 127.64.0.0.
    pub const DEFAULT: Self = Self(0x7f40_0000);

    /// Parses `a.b.0.0/16` or `a.b.0.0`. Only loopback blocks are taken.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (ip, bits) = text.split_once('/').unwrap_or((text, "16"));
        let ip: Ipv4Addr = ip
            .parse()
            .map_err(|_| format!("address base {text:?} is not an IPv4 block"))?;
        if bits != "16" {
            return Err(format!("address base {text:?} must be a /16"));
        }
        if !ip.is_loopback() || u32::from(ip) & 0xffff != 0 {
            return Err(format!(
                "address base {text:?} must be a loopback block that ends in .0.0"
            ));
        }
        Ok(Self(u32::from(ip)))
    }

    /// Addresses of workload `number` (1..=255); the plan is in [`WorkloadAddresses`].
    #[must_use]
    pub fn workload(self, number: u8) -> WorkloadAddresses {
        WorkloadAddresses(self.0 | (u32::from(number) << 8))
    }
}

impl std::fmt::Display for AddressBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", Ipv4Addr::from(self.0))
    }
}

/// One workload's /24: `.1` application, `.2` sidecar inbound and its own ports, `.3` outbound HTTP proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadAddresses(u32);

impl WorkloadAddresses {
    /// Where the application listens.
    #[must_use]
    pub fn application(self) -> IpAddr {
        self.host(1)
    }
    /// Where the sidecar listens for peers; the address in EndpointSlices.
    #[must_use]
    pub fn inbound(self) -> IpAddr {
        self.host(2)
    }
    /// The application's HTTP proxy, `.3:15001`.
    #[must_use]
    pub fn outbound(self) -> SocketAddr {
        SocketAddr::new(self.host(3), port::OUTBOUND)
    }
    /// Where the sidecar listens for the application's calls of the TCP service with this number
    /// ([`tcp_numbers`]), on the service's own port.
    #[must_use]
    pub fn tcp(self, number: u8) -> IpAddr {
        self.host(number)
    }
    /// The workload whose /24 has this address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) if ip.is_loopback() => Some(Self(u32::from(ip) & 0xffff_ff00)),
            _ => None,
        }
    }
    fn host(self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.0 | u32::from(last)))
    }
}

/// First and last number of a TCP service.
const TCP_NUMBERS: std::ops::RangeInclusive<u8> = 16..=254;

/// Which address each TCP service has in every workload's /24: a number from a hash of its host, the next free one
/// where two meet. The oldest comes first and keeps its number, so that a new service moves no other. Services that
/// find no free number have none.
#[must_use]
pub fn tcp_numbers<'a>(hosts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, u8> {
    let (first, last) = TCP_NUMBERS.into_inner();
    let room = u32::from(last - first) + 1;
    let mut taken = BTreeSet::new();
    let mut numbers = BTreeMap::new();
    for host in hosts {
        if numbers.contains_key(host) {
            continue;
        }
        // FNV-1a: the same everywhere and for ever.
        let hash = host.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let free = (0..room)
            .filter_map(|step| u8::try_from((hash % room + step) % room).ok())
            .map(|offset| first + offset)
            .find(|number| !taken.contains(number));
        if let Some(number) = free {
            taken.insert(number);
            numbers.insert(host, number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_new_tcp_service_moves_no_other() {
        let hosts: Vec<String> = (0..239)
            .map(|n| format!("s{n}.default.svc.cluster.local"))
            .collect();
        let all = tcp_numbers(hosts.iter().map(String::as_str));
        assert_eq!(all.values().collect::<BTreeSet<_>>().len(), 239);
        assert!(all.values().all(|n| TCP_NUMBERS.contains(n)));
        for some in [1, 20, 238] {
            let fewer = tcp_numbers(hosts.iter().take(some).map(String::as_str));
            assert!(
                fewer.iter().all(|(host, number)| all.get(host) == Some(number)),
                "{some}"
            );
        }
        let over = tcp_numbers(hosts.iter().map(String::as_str).chain(["late"]));
        assert_eq!(over.get("late"), None);
    }

    #[test]
    fn addresses_of_a_workload() {
        let workload = AddressBase::DEFAULT.workload(3);
        assert_eq!(workload.tcp(16).to_string(), "127.64.3.16");
        assert_eq!(
            WorkloadAddresses::of("127.64.3.3".parse().unwrap()),
            Some(workload)
        );
        assert_eq!(WorkloadAddresses::of("10.0.0.1".parse().unwrap()), None);
    }
}

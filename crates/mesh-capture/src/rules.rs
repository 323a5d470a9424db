//! Settings to rules, in Istio's order: the order is the meaning.

use ipnet::IpNet;

use crate::settings::{Dns, Mode, Ports, Ranges, Settings};

/// An address family: each has rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1/32",
            Self::V6 => "::1/128",
        }
    }

    /// Where the sidecar calls the application from.
    fn inbound_source(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.6/32",
            Self::V6 => "::6/128",
        }
    }

    fn has(self, range: &IpNet) -> bool {
        matches!((self, range), (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_)))
    }
}

/// The rules of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `nat`, `mangle` or `raw`.
    pub name: &'static str,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A rule at the end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Chain; the ones of our own begin with `ISTIO_`.
    pub chain: &'static str,
    /// The rule is put in front of those that others made.
    pub first: bool,
    /// Matches and target.
    pub text: String,
}

pub(crate) const PREROUTING: &str = "PREROUTING";
pub(crate) const OUTPUT: &str = "OUTPUT";
const INBOUND: &str = "ISTIO_INBOUND";
const IN_REDIRECT: &str = "ISTIO_IN_REDIRECT";
const OUT: &str = "ISTIO_OUTPUT";
const REDIRECT: &str = "ISTIO_REDIRECT";
const OUT_DNS: &str = "ISTIO_OUTPUT_DNS";
const DIVERT: &str = "ISTIO_DIVERT";
const TPROXY: &str = "ISTIO_TPROXY";

/// By this comment a rule of ours in a chain of the system is found again, when it does not jump to a chain of ours.
pub(crate) const MARK: &str = "-m comment --comment istio-capture";

/// The rules of one address family, without empty tables.
#[must_use]
pub fn tables(settings: &Settings, family: Family) -> Vec<Table> {
    let mut made = Maker {
        settings,
        family,
        nat: Vec::new(),
        mangle: Vec::new(),
        raw: Vec::new(),
    };
    made.excluded_interfaces();
    made.inbound();
    made.outbound();
    made.udp_lookups();
    [("raw", made.raw), ("mangle", made.mangle), ("nat", made.nat)]
        .into_iter()
        .filter(|(_, rules)| !rules.is_empty())
        .map(|(name, rules)| Table { name, rules })
        .collect()
}

struct Maker<'a> {
    settings: &'a Settings,
    family: Family,
    nat: Vec<Rule>,
    mangle: Vec<Rule>,
    raw: Vec<Rule>,
}

fn rule(chain: &'static str, text: impl Into<String>) -> Rule {
    Rule {
        chain,
        first: false,
        text: text.into(),
    }
}

impl Maker<'_> {
    fn excluded_interfaces(&mut self) {
        for interface in &self.settings.excluded_interfaces {
            let (from, to) = (
                format!("-i {interface} {MARK} -j RETURN"),
                format!("-o {interface} {MARK} -j RETURN"),
            );
            if self.settings.mode == Mode::Tproxy {
                self.mangle.push(rule(PREROUTING, from.clone()));
                self.mangle.push(rule(OUTPUT, to.clone()));
            }
            self.nat.push(rule(PREROUTING, from));
            self.nat.push(rule(OUTPUT, to));
        }
        if self.settings.drop_invalid {
            let text = format!("-m conntrack --ctstate INVALID {MARK} -j DROP");
            self.mangle.push(rule(PREROUTING, text));
        }
    }

    fn inbound(&mut self) {
        let settings = self.settings;
        let tproxy = settings.mode == Mode::Tproxy;
        self.nat.push(rule(
            IN_REDIRECT,
            format!("-p tcp -j REDIRECT --to-ports {}", settings.inbound_port),
        ));
        let captured = match &settings.inbound {
            Ports::Only(ports) if ports.is_empty() => return,
            captured => captured,
        };
        if tproxy {
            self.transparent_chains();
        }
        let mut rules = vec![
            rule(PREROUTING, format!("-p tcp -j {INBOUND}")),
            rule(
                INBOUND,
                format!("-p tcp -m tcp --dport {} -j RETURN", settings.tunnel_port),
            ),
        ];
        match captured {
            Ports::All => {
                for port in &settings.inbound_excluded {
                    rules.push(rule(INBOUND, format!("-p tcp -m tcp --dport {port} -j RETURN")));
                }
                rules.extend(capture_inbound("-p tcp", tproxy));
            }
            Ports::Only(ports) => {
                for port in ports {
                    rules.extend(capture_inbound(&format!("-p tcp -m tcp --dport {port}"), tproxy));
                }
            }
        }
        if tproxy {
            self.mangle.extend(rules);
        } else {
            self.nat.extend(rules);
        }
    }

    /// Marks, and which packets they are put on.
    fn transparent_chains(&mut self) {
        let mark = self.settings.tproxy_mark;
        let outbound_mark = mark.wrapping_add(1);
        let (loopback, source) = (self.family.loopback(), self.family.inbound_source());
        let rules = &mut self.mangle;
        // What the sidecar sends in a client's name comes back here: the mark has to be found again.
        rules.push(rule(
            PREROUTING,
            format!("-p tcp -m mark --mark {mark} {MARK} -j CONNMARK --save-mark"),
        ));
        rules.push(rule(
            OUTPUT,
            format!("-o lo -p tcp -m mark --mark {mark} {MARK} -j RETURN"),
        ));
        let uids = self.settings.uids.iter().map(|id| format!("--uid-owner {id}"));
        let gids = self.settings.gids.iter().map(|id| format!("--gid-owner {id}"));
        for owner in uids.chain(gids) {
            // The sidecar's own call to the own pod is inbound traffic.
            rules.push(rule(
                OUTPUT,
                format!(
                    "! -d {loopback} -o lo -p tcp -m owner {owner} {MARK} -j MARK --set-mark {outbound_mark}"
                ),
            ));
        }
        rules.push(rule(
            OUTPUT,
            format!("-p tcp -m connmark --mark {mark} {MARK} -j CONNMARK --restore-mark"),
        ));
        rules.push(rule(DIVERT, format!("-j MARK --set-mark {mark}")));
        rules.push(rule(DIVERT, "-j ACCEPT"));
        rules.push(rule(
            TPROXY,
            format!(
                "! -d {loopback} -p tcp -j TPROXY --on-port {} --tproxy-mark {mark}/0xffffffff",
                self.settings.inbound_port
            ),
        ));
        rules.push(rule(INBOUND, format!("-p tcp -m mark --mark {mark} -j RETURN")));
        rules.push(rule(INBOUND, format!("-s {source} -i lo -p tcp -j RETURN")));
        rules.push(rule(
            INBOUND,
            format!("-i lo -p tcp -m mark ! --mark {outbound_mark} -j RETURN"),
        ));
    }

    fn outbound(&mut self) {
        let settings = self.settings;
        let (loopback, source) = (self.family.loopback(), self.family.inbound_source());
        for interface in &settings.rerouted_interfaces {
            self.rerouted(interface);
        }
        self.nat.push(rule(
            REDIRECT,
            format!("-p tcp -j REDIRECT --to-ports {}", settings.outbound_port),
        ));
        self.nat.push(rule(OUTPUT, format!("-j {OUT}")));
        let mut put = |text: String| self.nat.push(rule(OUT, text));
        for port in &settings.outbound_excluded_ports {
            put(format!("-p tcp -m tcp --dport {port} -j RETURN"));
        }
        put(format!("-s {source} -o lo -j RETURN"));
        let dns = settings.dns != Dns::Off;
        // A call of the sidecar to its own pod is one of a peer.
        let not_tunnel = if dns {
            format!("-m multiport ! --dports 53,{}", settings.tunnel_port)
        } else {
            format!("-m tcp ! --dport {}", settings.tunnel_port)
        };
        let loopback_captured = matches!(&settings.outbound, Ranges::Only(ranges)
            if ranges.iter().any(|r| self.family.has(r) && r.addr().is_loopback()));
        let uids = settings.uids.iter().map(|id| ("--uid-owner", id));
        let gids = settings.gids.iter().map(|id| ("--gid-owner", id));
        for (owner, id) in uids.chain(gids) {
            put(format!(
                "! -d {loopback} -o lo -p tcp {not_tunnel} -m owner {owner} {id} -j {IN_REDIRECT}"
            ));
            if !loopback_captured {
                // What the application calls at its own address stays in the pod; a name server may be there.
                let but_dns = if dns { "-p tcp -m tcp ! --dport 53 " } else { "" };
                put(format!("-o lo {but_dns}-m owner ! {owner} {id} -j RETURN"));
            }
            put(format!("-m owner {owner} {id} -j RETURN"));
        }
        if !settings.owner_groups.is_empty() {
            let none_of: String = settings
                .owner_groups
                .iter()
                .map(|group| format!("-m owner ! --gid-owner {group} "))
                .collect();
            put(format!("{none_of}-j RETURN"));
        }
        for group in &settings.owner_groups_excluded {
            put(format!("-m owner --gid-owner {group} -j RETURN"));
        }
        for server in servers(&settings.dns, self.family, "-d") {
            put(format!(
                "{server}-p tcp -m tcp --dport 53 -j REDIRECT --to-ports {}",
                settings.dns_port
            ));
        }
        put(format!("-d {loopback} -j RETURN"));
        for range in settings.outbound_excluded.iter().filter(|r| self.family.has(r)) {
            put(format!("-d {range} -j RETURN"));
        }
        for port in &settings.outbound_ports {
            put(format!("-p tcp -m tcp --dport {port} -j {REDIRECT}"));
        }
        match &settings.outbound {
            Ranges::All => put(format!("-j {REDIRECT}")),
            Ranges::Only(ranges) => {
                for range in ranges.iter().filter(|r| self.family.has(r)) {
                    put(format!("-d {range} -j {REDIRECT}"));
                }
            }
        }
    }

    /// What comes from a virtual machine in the pod is outbound.
    fn rerouted(&mut self, interface: &str) {
        let ranges: Vec<String> = match &self.settings.outbound {
            Ranges::All => vec![String::new()],
            Ranges::Only(ranges) => {
                let own = ranges.iter().filter(|r| self.family.has(r));
                own.map(|r| format!("-d {r} ")).collect()
            }
        };
        // In front of each other: what is put first is tried last, and nothing from there is inbound.
        self.nat.push(Rule {
            chain: PREROUTING,
            first: true,
            text: format!("-i {interface} {MARK} -j RETURN"),
        });
        for range in ranges {
            self.nat.push(Rule {
                chain: PREROUTING,
                first: true,
                text: format!("{range}-i {interface} -p tcp -j {REDIRECT}"),
            });
        }
        for range in self
            .settings
            .outbound_excluded
            .iter()
            .filter(|r| self.family.has(r))
        {
            self.nat.push(Rule {
                chain: PREROUTING,
                first: true,
                text: format!("-d {range} -i {interface} {MARK} -j RETURN"),
            });
        }
    }

    /// Lookups by UDP. Query and forwarded query can have the same ports at both ends: separate zones keep the
    /// kernel from taking one for the other.
    fn udp_lookups(&mut self) {
        let settings = self.settings;
        if settings.dns == Dns::Off {
            return;
        }
        self.nat.push(rule(OUTPUT, format!("-p udp -j {OUT_DNS}")));
        self.raw.push(rule(OUTPUT, format!("-p udp -j {OUT_DNS}")));
        self.raw.push(rule(PREROUTING, format!("-p udp -j {INBOUND}")));
        let uids = settings.uids.iter().map(|id| format!("--uid-owner {id}"));
        let gids = settings.gids.iter().map(|id| format!("--gid-owner {id}"));
        for owner in uids.chain(gids) {
            self.nat.push(rule(
                OUT_DNS,
                format!("-p udp -m udp --dport 53 -m owner {owner} -j RETURN"),
            ));
            self.raw.push(rule(
                OUT_DNS,
                format!("-p udp -m udp --dport 53 -m owner {owner} -j CT --zone 1"),
            ));
            self.raw.push(rule(
                OUT_DNS,
                format!(
                    "-p udp -m udp --sport {} -m owner {owner} -j CT --zone 2",
                    settings.dns_port
                ),
            ));
        }
        for server in servers(&settings.dns, self.family, "-d") {
            self.nat.push(rule(
                OUT_DNS,
                format!(
                    "{server}-p udp -m udp --dport 53 -j REDIRECT --to-ports {}",
                    settings.dns_port
                ),
            ));
            self.raw.push(rule(
                OUT_DNS,
                format!("{server}-p udp -m udp --dport 53 -j CT --zone 2"),
            ));
        }
        for server in servers(&settings.dns, self.family, "-s") {
            self.raw.push(rule(
                INBOUND,
                format!("{server}-p udp -m udp --sport 53 -j CT --zone 1"),
            ));
        }
    }
}

fn capture_inbound(what: &str, tproxy: bool) -> Vec<Rule> {
    if tproxy {
        vec![
            rule(
                INBOUND,
                format!("{what} -m conntrack --ctstate RELATED,ESTABLISHED -j {DIVERT}"),
            ),
            rule(INBOUND, format!("{what} -j {TPROXY}")),
        ]
    } else {
        vec![rule(INBOUND, format!("{what} -j {IN_REDIRECT}"))]
    }
}

/// What the rules for lookups begin with, one for each name server of the family.
fn servers(dns: &Dns, family: Family, side: &str) -> Vec<String> {
    match dns {
        Dns::Off => Vec::new(),
        Dns::All => vec![String::new()],
        Dns::Servers(list) => list
            .iter()
            .map(|ip| IpNet::from(*ip))
            .filter(|range| family.has(range))
            .map(|range| format!("{side} {range} "))
            .collect(),
    }
}

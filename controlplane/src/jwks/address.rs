//! Where the control plane may go on behalf of a configuration: public addresses, and what the operator lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What may be fetched from besides public addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Addresses.
    Range(Range),
    /// A host, whatever its addresses.
    Host(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    base: IpAddr,
    bits: u32,
}

impl Allowed {
    /// Reads the values of `--jwks-allow`: hosts, addresses and ranges.
    pub(crate) fn parse(texts: &[String]) -> anyhow::Result<Self> {
        let rules = texts.iter().map(|text| rule(text).ok_or(text));
        let rules: Result<Vec<Rule>, &String> = rules.collect();
        match rules {
            Ok(rules) => Ok(Self(rules)),
            Err(text) => anyhow::bail!(
                "--jwks-allow {text:?} is no host, address or range; write for example 10.0.0.0/8 or login.shop.svc"
            ),
        }
    }

    /// Whether this address of this host may be connected to.
    pub(super) fn admits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self.0.iter().any(|rule| match rule {
                Rule::Range(range) => range.contains(address),
                Rule::Host(name) => name.eq_ignore_ascii_case(host),
            })
    }
}

fn rule(text: &str) -> Option<Rule> {
    if let Ok(range) = text.parse() {
        return Some(Rule::Range(range));
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    // What ends in a number is an address that was written wrongly.
    let last = text.rsplit('.').next().unwrap_or_default();
    let good = !text.is_empty() && text.bytes().all(name) && last.parse::<u64>().is_err();
    good.then(|| Rule::Host(text.to_owned()))
}

impl FromStr for Range {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u32>().map_err(|_| ())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| ())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { base, bits }).ok_or(())
    }
}

impl Range {
    fn contains(self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, all: u32| self.bits == 0 || (a ^ b) >> (all - self.bits) == 0;
        match (self.base, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// Whether everybody may reach it: not this machine, its network, a cloud's metadata service, or nothing at all.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // Only what is given out to the world, without the ways to wrap an IPv4 address in it.
    (0x2000..0x4000).contains(&first)
        && first != 0x2002
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
}

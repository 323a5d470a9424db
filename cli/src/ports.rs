//! Ports that are taken: by whom, and how to get out of the way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use crate::failure::Failure;

/// An address that something of ours will listen on.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Who will listen.
    pub(crate) who: String,
    /// Where.
    pub(crate) address: SocketAddr,
    /// The flag that moves it.
    pub(crate) flag: &'static str,
}

impl Wanted {
    /// Who wants what, and how to move it.
    pub(crate) fn new(who: &str, address: SocketAddr, flag: &'static str) -> Self {
        Self {
            who: who.to_owned(),
            address,
            flag,
        }
    }
}

/// Fails with every address that is not free, its owner, and the flag that moves it.
pub(crate) fn check(wanted: &[Wanted]) -> Result<(), Failure> {
    let problems: Vec<String> = wanted.iter().filter_map(problem).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::unavailable(problems.join("\n  ")))
    }
}

fn problem(wanted: &Wanted) -> Option<String> {
    // The socket is closed at once; nobody else starts ours between here and its owner's start.
    let error = TcpListener::bind(wanted.address).err()?;
    let Wanted { who, address, flag } = wanted;
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return Some(format!(
            "{who} cannot listen on {address} ({error}); {flag} moves it"
        ));
    }
    let owner = owner(*address).unwrap_or_else(|| "another process".to_owned());
    Some(format!(
        "port {} on {} is in use by {owner}; {who} wants it: stop that process, or move {who} with {flag}",
        address.port(),
        address.ip()
    ))
}

/// `NAME (process N)` of who listens, as far as /proc may be read.
fn owner(address: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let link = format!("socket:[{}]", listener_inode(&table, address)?);
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        if holds(&entry.path(), &link) {
            let command = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", command.trim()));
        }
    }
    None
}

fn holds(process: &Path, link: &str) -> bool {
    std::fs::read_dir(process.join("fd")).is_ok_and(|descriptors| {
        descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path()).is_ok_and(|target| target == Path::new(link))
        })
    })
}

/// Reads /proc/net/tcp: local address in hexadecimal (the IP in host order), state 0A listens, column 10 the inode.
fn listener_inode(table: &str, address: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let local = |ip: Ipv4Addr| format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let candidates = [local(ip), local(Ipv4Addr::UNSPECIFIED)];
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(3) == Some(&"0A");
        let matches = columns
            .get(1)
            .is_some_and(|local| candidates.iter().any(|candidate| candidate == local));
        if listens && matches {
            columns.get(9)?.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_taken_port_names_its_owner_and_the_flag() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let wanted = Wanted {
            who: "the gateway".to_owned(),
            address,
            flag: "--gateway-address",
        };
        let text = check(std::slice::from_ref(&wanted)).unwrap_err().chain();
        for part in [
            address.port().to_string(),
            format!("process {}", std::process::id()),
            wanted.flag.to_owned(),
        ] {
            assert!(text.contains(&part), "{text} lacks {part}");
        }
        drop(held);
        check(std::slice::from_ref(&wanted)).unwrap();
    }
}

//! Addresses that no other test and no running mesh uses.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Blocks that are handed out: below lie the default block of the demo and what people use by hand.
const BLOCKS: std::ops::RangeInclusive<u8> = 100..=250;

/// A /16 of loopback addresses that belongs to this value while it lives, on the whole machine.
#[derive(Debug)]
pub struct AddressBlock {
    second: u8,
    _lock: Flock<File>,
}

impl AddressBlock {
    /// Takes a block.
    pub fn take() -> Result<Self> {
        for second in BLOCKS {
            let path = std::env::temp_dir().join(format!("sightline-test-127.{second}.lock"));
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return Ok(Self { second, _lock: lock });
            }
        }
        bail!("every block of loopback addresses is taken by another test")
    }

    /// As `--address-base` takes it.
    #[must_use]
    pub fn base(&self) -> String {
        format!("127.{}.0.0/16", self.second)
    }

    /// An address of the block.
    #[must_use]
    pub fn ip(&self, third: u8, fourth: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.second, third, fourth))
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    listener.local_addr().context("no local address")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn blocks_are_exclusive() {
        let (one, two) = (AddressBlock::take().unwrap(), AddressBlock::take().unwrap());
        assert_ne!(one.base(), two.base());
    }
}

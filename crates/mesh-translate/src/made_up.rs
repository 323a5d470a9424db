//! Addresses for ServiceEntries that have none (Istio's automatic allocation): the sidecar's DNS proxy answers them, and
//! by them a captured connection tells which host it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::registry::{Registry, Source};

/// The first address of 240.240.0.0/16, which nobody uses.
const FIRST: u32 = 0xf0f0_0000;
/// Addresses of the block, without its first and last.
const ROOM: u32 = 0xfffe;

/// By host: a number from a hash of it, the next free one where two meet. The oldest comes first and keeps its address,
/// so that a new entry moves no other.
pub(crate) fn addresses(registry: &Registry) -> BTreeMap<String, Ipv4Addr> {
    let mut taken = BTreeSet::new();
    let mut made = BTreeMap::new();
    let without = registry.services.iter().filter(|s| {
        !s.kubernetes && s.vips.is_empty() && !s.host.starts_with('*') && s.source != Source::Original
    });
    for service in without {
        let hash = service.host.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let free = (0..ROOM)
            .map(|step| 1 + (hash % ROOM + step) % ROOM)
            .find(|offset| !taken.contains(offset));
        if let Some(offset) = free {
            taken.insert(offset);
            made.insert(service.host.clone(), Ipv4Addr::from(FIRST | offset));
        }
    }
    made
}

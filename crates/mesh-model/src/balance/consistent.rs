//! Consistent hashing as Envoy does it: xxHash64, ring and Maglev tables. Proxies that see the same endpoints choose the
//! same one for a key, whichever of the two programs they are.

use super::ring;

/// Largest ring, as in Envoy.
const RING_MAX: u64 = 8 * 1024 * 1024;
/// Largest Maglev table that Envoy takes.
const MAGLEV_MAX: u64 = 5_000_011;

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

fn merge(hash: u64, lane: u64) -> u64 {
    (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4)
}

/// xxHash64 (the published algorithm) of `bytes`.
#[must_use]
pub fn xx_hash(bytes: &[u8], seed: u64) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut hash = if blocks.is_empty() {
        seed.wrapping_add(P5)
    } else {
        let mut lanes = [
            seed.wrapping_add(P1).wrapping_add(P2),
            seed.wrapping_add(P2),
            seed,
            seed.wrapping_sub(P1),
        ];
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let [a, b, c, d] = lanes;
        let sum = a
            .rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18));
        lanes.into_iter().fold(sum, merge)
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(P2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(P3);
    hash ^ (hash >> 32)
}

/// Which endpoint serves a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// Points on a ring with the endpoint that begins there, sorted.
    Ring(Vec<(u64, u32)>),
    /// One endpoint for each remainder.
    Maglev(Vec<u32>),
}

impl Table {
    /// Position of the endpoint for a hash; `None` when there is none.
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<u32> {
        match self {
            Self::Ring(points) => ring(points, hash),
            Self::Maglev(slots) => {
                let at = hash.checked_rem(slots.len() as u64)?;
                slots.get(usize::try_from(at).ok()?).copied()
            }
        }
    }
}

/// An endpoint of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member<'a> {
    /// Its address as text (`10.0.0.1:80`).
    pub key: &'a str,
    /// Its weight.
    pub weight: u32,
}

#[expect(clippy::cast_precision_loss, reason = "weights are small")]
fn shares(members: &[Member<'_>]) -> Vec<f64> {
    let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
    members
        .iter()
        .map(|m| f64::from(m.weight) / total.max(1) as f64)
        .collect()
}

/// The ring of these endpoints: points in proportion to their weights, at least `minimum` in all.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ring has at most eight million points"
)]
pub fn ring_table(members: &[Member<'_>], minimum: u64) -> Table {
    let shares = shares(members);
    let smallest = shares.iter().copied().filter(|s| *s > 0.0).fold(1.0, f64::min);
    // Every endpoint gets whole points: the smallest share decides how fine the ring is.
    let scale = ((smallest * minimum as f64).ceil() / smallest).min(RING_MAX as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let (mut current, mut target) = (0.0, 0.0);
    let mut text = String::new();
    for (position, (member, share)) in members.iter().zip(&shares).enumerate() {
        let Ok(position) = u32::try_from(position) else {
            break;
        };
        target += scale * share;
        let mut number = 0_u64;
        while current < target {
            text.clear();
            text.push_str(member.key);
            text.push('_');
            text.push_str(&number.to_string());
            points.push((xx_hash(text.as_bytes(), 0), position));
            number += 1;
            current += 1.0;
        }
    }
    points.sort_unstable();
    Table::Ring(points)
}

/// The Maglev table of these endpoints, with slots in proportion to their weights.
#[must_use]
pub fn maglev_table(members: &[Member<'_>], size: u64) -> Table {
    struct Entry {
        offset: u64,
        skip: u64,
        next: u64,
        share: f64,
        target: f64,
    }
    let size = size.clamp(2, MAGLEV_MAX);
    let shares = shares(members);
    let largest = shares.iter().copied().fold(0.0, f64::max);
    let mut entries: Vec<Entry> = members
        .iter()
        .zip(&shares)
        .map(|(member, share)| Entry {
            offset: xx_hash(member.key.as_bytes(), 0) % size,
            skip: xx_hash(member.key.as_bytes(), 1) % (size - 1) + 1,
            next: 0,
            share: *share,
            target: 0.0,
        })
        .collect();
    let mut slots: Vec<Option<u32>> = vec![None; usize::try_from(size).unwrap_or(0)];
    let mut left = if largest > 0.0 { slots.len() } else { 0 };
    let mut turn = 1.0;
    while left > 0 {
        for (position, entry) in entries.iter_mut().enumerate() {
            // Lighter endpoints wait until it is their turn again.
            if left == 0 || turn * entry.share < entry.target {
                continue;
            }
            entry.target += largest;
            while left > 0 {
                let at = (entry.offset + entry.skip * entry.next) % size;
                entry.next += 1;
                let slot = usize::try_from(at).ok().and_then(|at| slots.get_mut(at));
                if let Some(slot @ None) = slot {
                    *slot = u32::try_from(position).ok();
                    left -= 1;
                    break;
                }
            }
        }
        turn += 1.0;
    }
    Table::Maglev(slots.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        // Test vectors of the published algorithm.
        for (text, seed, expected) in [
            ("", 0, 0xef46_db37_51d8_e999),
            ("a", 0, 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0, 0x44bc_2cf5_ad77_0999),
            (
                "Nobody inspects the spammish repetition",
                0,
                0xfbce_a83c_8a37_8bf1,
            ),
        ] {
            assert_eq!(xx_hash(text.as_bytes(), seed), expected, "{text}");
        }
    }

    fn counts(table: &Table, n: usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        for key in 0..100_000_u64 {
            let at = table.pick(xx_hash(&key.to_le_bytes(), 0)).unwrap_or(u32::MAX);
            if let Some(count) = counts.get_mut(at as usize) {
                *count += 1;
            }
        }
        counts
    }

    fn members<'a>(keys: &'a [&str], weights: &[u32]) -> Vec<Member<'a>> {
        let pairs = keys.iter().zip(weights);
        pairs
            .map(|(key, weight)| Member { key, weight: *weight })
            .collect()
    }

    const KEYS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

    #[track_caller]
    fn check(table: &Table, weights: &[u32], tolerance: usize) {
        let total: u32 = weights.iter().sum();
        for (count, weight) in counts(table, weights.len()).into_iter().zip(weights) {
            let share = 100_000 * *weight as usize / total as usize;
            assert!(count.abs_diff(share) <= tolerance, "{count} instead of {share}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        for weights in [[1, 1, 1], [1, 2, 5]] {
            let members = members(&KEYS, &weights);
            check(&ring_table(&members, 4096), &weights, 4_000);
            check(&maglev_table(&members, 65_537), &weights, 1_000);
        }
        for empty in [ring_table(&[], 1024), maglev_table(&[], 65_537)] {
            assert_eq!(empty.pick(7), None);
        }
        let Table::Ring(points) = ring_table(&members(&KEYS, &[1, 1, 1]), 1024) else {
            return;
        };
        assert_eq!(points.len(), 1026, "a whole number of points each");
    }

    #[test]
    fn losing_an_endpoint_moves_its_keys() {
        let all = members(&KEYS, &[1, 1, 1]);
        for (before, after, most) in [
            (ring_table(&all, 1026), ring_table(&all[..2], 684), 500),
            // As many points each before and after; Maglev moves a few others in any case.
            (maglev_table(&all, 65_537), maglev_table(&all[..2], 65_537), 5_000),
        ] {
            let moved = (0..100_000_u64).filter(|key| {
                let hash = xx_hash(&key.to_le_bytes(), 0);
                let (a, b) = (before.pick(hash), after.pick(hash));
                a != Some(2) && a != b
            });
            assert!(moved.count() <= most);
        }
    }
}

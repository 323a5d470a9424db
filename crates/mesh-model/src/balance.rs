//! Choosing an endpoint. Chance comes in as a number.

pub mod consistent;

/// Position drawn in proportion to `weights`; `draw` is any number, uniform over its range. `None` when all
/// weights are 0.
#[must_use]
pub fn weighted(weights: impl Iterator<Item = u32> + Clone, draw: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    if total == 0 {
        return None;
    }
    let mut rest = draw % total;
    for (position, weight) in weights.enumerate() {
        match rest.checked_sub(u64::from(weight)) {
            Some(less) => rest = less,
            None => return Some(position),
        }
    }
    None
}

/// Two distinct-as-possible positions below `count` from one draw: the candidates of power-of-two choices.
#[must_use]
pub fn two_choices(count: usize, draw: u64) -> Option<(usize, usize)> {
    if count == 0 {
        return None;
    }
    let n = count as u64;
    // Both halves of the draw are independent; the second skips the first, so that two are really compared.
    let (high, low) = (draw >> 32, draw & 0xffff_ffff);
    let first = high % n;
    let second = if n == 1 {
        first
    } else {
        (first + 1 + low % (n - 1)) % n
    };
    Some((usize::try_from(first).ok()?, usize::try_from(second).ok()?))
}

/// Smooth weighted round robin over `current` (one counter per endpoint, all 0 at the start): the position whose
/// turn it is. Equal weights give plain round robin.
pub fn round_robin(current: &mut [i64], weights: impl Iterator<Item = u32>) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, i64)> = None;
    for (position, (counter, weight)) in current.iter_mut().zip(weights).enumerate() {
        *counter += i64::from(weight);
        total += i64::from(weight);
        if best.is_none_or(|(_, most)| *counter > most) {
            best = Some((position, *counter));
        }
    }
    let (position, _) = best?;
    if let Some(counter) = current.get_mut(position) {
        *counter -= total;
    }
    Some(position)
}

/// Endpoints of one priority, as the choice of a priority sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PriorityHealth {
    /// All endpoints.
    pub all: u32,
    /// Those that may be used.
    pub healthy: u32,
}

/// Which priority serves a request, and whether its unhealthy endpoints take part (panic).
///
/// A priority takes `healthy / all × 1.4` of the traffic, at most all of it; what is left spills to the next. When the
/// healthy share of everything is below `panic_threshold_percent`, health is ignored. `draw` is uniform.
#[must_use]
pub fn priority(levels: &[PriorityHealth], panic_threshold_percent: u32, draw: u64) -> Option<(usize, bool)> {
    let mut left = 100_u64;
    let mut loads = [0_u64; 16];
    let mut sum = 0_u64;
    for (level, load) in levels.iter().zip(loads.iter_mut()) {
        let capacity = u64::from(level.healthy) * 140 / u64::from(level.all.max(1));
        *load = capacity.min(left);
        left -= *load;
        sum += *load;
    }
    let all: u64 = levels.iter().map(|l| u64::from(l.all)).sum();
    let healthy: u64 = levels.iter().map(|l| u64::from(l.healthy)).sum();
    if all == 0 {
        return None;
    }
    if healthy * 100 < u64::from(panic_threshold_percent) * all {
        let counts = levels.iter().map(|l| l.all);
        return weighted(counts, draw).map(|level| (level, true));
    }
    if sum == 0 {
        return None;
    }
    let mut rest = draw % sum;
    for (position, load) in loads.iter().enumerate() {
        match rest.checked_sub(*load) {
            Some(less) => rest = less,
            None => return Some((position, false)),
        }
    }
    None
}

/// Position on a hash ring of `points` (sorted by hash): the first at or after `hash`, wrapping round.
#[must_use]
pub fn ring(points: &[(u64, u32)], hash: u64) -> Option<u32> {
    let at = points.partition_point(|(point, _)| *point < hash);
    points
        .get(at)
        .or_else(|| points.first())
        .map(|(_, endpoint)| *endpoint)
}

/// A stable, well-mixed hash of bytes (FNV-1a with a final avalanche): the same on every proxy and in every version.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_hold_exactly_over_all_draws() {
        let weights = [3, 0, 7];
        let mut counts = [0; 3];
        for draw in 0..1000 {
            if let Some(at) = weighted(weights.iter().copied(), draw) {
                counts[at] += 1;
            }
        }
        assert_eq!(counts, [300, 0, 700]);
        assert_eq!(weighted([0, 0].into_iter(), 5), None);
    }

    #[test]
    fn two_choices_differ_when_they_can() {
        assert_eq!(two_choices(0, 1), None);
        assert_eq!(two_choices(1, 1 << 40), Some((0, 0)));
        for draw in 0..1000_u64 {
            let draw = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (a, b) = two_choices(3, draw).unwrap_or_default();
            assert!(a != b && a < 3 && b < 3);
        }
    }

    #[test]
    fn round_robin_is_fair_and_smooth() {
        let mut state = vec![0; 3];
        let turns: Vec<_> = (0..6)
            .filter_map(|_| round_robin(&mut state, [1, 1, 1].into_iter()))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
        let mut state = vec![0; 2];
        let turns: Vec<_> = (0..4)
            .filter_map(|_| round_robin(&mut state, [3, 1].into_iter()))
            .collect();
        assert_eq!(turns, [0, 0, 1, 0]);
    }

    #[test]
    fn priorities_spill_below_71_percent() {
        let level = |healthy, all| PriorityHealth { all, healthy };
        let share = |levels: &[PriorityHealth], panic| {
            let mut counts = [0; 2];
            for draw in 0..100 {
                if let Some((at, _)) = priority(levels, panic, draw) {
                    counts[at] += 1;
                }
            }
            counts
        };
        assert_eq!(share(&[level(10, 10), level(10, 10)], 0), [100, 0]);
        assert_eq!(share(&[level(5, 10), level(10, 10)], 0), [70, 30]);
        assert_eq!(share(&[level(0, 10), level(10, 10)], 0), [0, 100]);
        assert_eq!(share(&[level(0, 10), level(0, 10)], 0), [0, 0]);
        assert_eq!(priority(&[level(1, 10)], 50, 0), Some((0, true)));
        assert_eq!(priority(&[], 0, 0), None);
    }
}

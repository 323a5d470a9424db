//! Rows of a heat map: durations in equal steps of their logarithm.

/// Rows of a heat map: two for each doubling, from a microsecond to some hours.
pub(crate) const ROWS: usize = 70;
const FIRST: u64 = 20;

/// Row of a duration.
pub(crate) fn heat_row(duration_ns: u64) -> usize {
    let exponent = u64::from(duration_ns.max(1).ilog2());
    // Beyond the square root of two of its power.
    let upper = u128::from(duration_ns).pow(2) >= 1_u128 << (2 * exponent + 1);
    let row = (2 * exponent + u64::from(upper)).saturating_sub(FIRST);
    usize::try_from(row).unwrap_or(ROWS).min(ROWS - 1)
}

/// Least duration of a row.
pub(crate) fn heat_bound(row: usize) -> u64 {
    let doubled = FIRST + row as u64;
    let power = 1_u64 << (doubled / 2);
    if doubled.is_multiple_of(2) {
        power
    } else {
        // The least whole number whose square is twice the power's.
        let twice = u128::from(power).pow(2) * 2;
        let root = twice.isqrt();
        u64::try_from(if root * root < twice { root + 1 } else { root }).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{heat_bound, heat_row};

    #[test]
    fn every_duration_is_in_the_row_of_its_bounds() {
        for row in 1..60 {
            let bound = heat_bound(row);
            assert_eq!((heat_row(bound), heat_row(bound - 1)), (row, row - 1), "{bound}");
        }
        assert_eq!((heat_row(0), heat_row(u64::MAX)), (0, 69));
    }
}

//! Which sequences of an epoch have been committed (pure).

use std::collections::BTreeSet;

/// Early sequences that are remembered one by one; beyond this, missing ones are taken as never coming.
pub const MAX_BEYOND: usize = 1024;

/// What one start of a proxy has delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Every sequence up to this one is committed.
    pub through: u64,
    /// Later ones that are committed too.
    pub beyond: BTreeSet<u64>,
    /// When the newest batch was cut, Unix milliseconds.
    pub cut_at_ms: u64,
    /// Whether the epoch said goodbye.
    pub finished: bool,
}

impl Progress {
    /// Whether this sequence is committed.
    #[must_use]
    pub fn has(&self, sequence: u64) -> bool {
        sequence <= self.through || self.beyond.contains(&sequence)
    }

    /// Marks a sequence as committed; `false` if it was already.
    pub fn commit(&mut self, sequence: u64, cut_at_ms: u64, last: bool) -> bool {
        if self.has(sequence) {
            return false;
        }
        self.beyond.insert(sequence);
        self.cut_at_ms = self.cut_at_ms.max(cut_at_ms);
        self.finished |= last;
        if self.beyond.len() > MAX_BEYOND {
            self.through = self.beyond.pop_first().unwrap_or(self.through);
        }
        while self
            .beyond
            .first()
            .is_some_and(|first| *first == self.through + 1)
        {
            self.through += 1;
            self.beyond.pop_first();
        }
        true
    }

    /// [`Progress::beyond`] as text.
    #[must_use]
    pub fn beyond_text(&self) -> String {
        let list: Vec<String> = self.beyond.iter().map(u64::to_string).collect();
        list.join(",")
    }

    /// Reads [`Progress::beyond_text`].
    #[must_use]
    pub fn parse_beyond(text: &str) -> BTreeSet<u64> {
        text.split(',').filter_map(|n| n.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BEYOND, Progress};

    #[track_caller]
    fn check(sequences: &[u64], through: u64, beyond: &str, refused: usize) {
        let mut progress = Progress::default();
        let news = sequences
            .iter()
            .filter(|s| progress.commit(**s, 0, false))
            .count();
        assert_eq!(sequences.len() - news, refused);
        assert_eq!(
            (progress.through, progress.beyond_text().as_str()),
            (through, beyond)
        );
        assert_eq!(Progress::parse_beyond(beyond), progress.beyond);
    }

    #[test]
    fn sequences_in_any_order_count_once() {
        check(&[1, 2, 3], 3, "", 0);
        check(&[1, 1, 2, 1], 2, "", 2);
        check(&[2, 4, 1], 2, "4", 0);
        check(&[4, 2, 3, 1], 4, "", 0);
        check(&[5, 5], 0, "5", 1);
    }

    #[test]
    fn a_sequence_that_never_comes_does_not_grow_the_set() {
        let mut progress = Progress::default();
        for sequence in 2..=(MAX_BEYOND as u64 + 2) {
            assert!(progress.commit(sequence, 0, false));
        }
        assert_eq!(
            (progress.through, progress.beyond.len()),
            (MAX_BEYOND as u64 + 2, 0)
        );
        assert!(!progress.commit(1, 0, false));
    }
}

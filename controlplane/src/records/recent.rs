//! Remembers what was seen lately, in bounded memory (pure).

use std::collections::HashSet;
use std::hash::Hash;

/// The last things, between one and two times as many as asked for.
#[derive(Debug)]
pub(super) struct Recent<T> {
    most: usize,
    young: HashSet<T>,
    old: HashSet<T>,
}

impl<T: Hash + Eq> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            young: HashSet::new(),
            old: HashSet::new(),
        }
    }

    /// Remembers; answers whether it was new.
    pub(super) fn insert(&mut self, item: T) -> bool {
        if self.young.contains(&item) || self.old.contains(&item) {
            return false;
        }
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(item)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn only_old_things_are_forgotten() {
        let mut recent = Recent::new(2);
        for (item, new) in [
            (1, true),
            (1, false),
            (2, true),
            (3, true),
            (1, false),
            (4, true),
            (5, true),
            (3, false),
            (1, true),
        ] {
            assert_eq!(recent.insert(item), new, "{item}");
        }
    }
}

//! Distinct texts, one after another: one allocation for all, and a search looks through them in one go.

use std::collections::HashMap;

use memchr::memmem::Finder;

use crate::block::{Input, damaged, put};
use crate::history::Error;

/// Texts by place.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    all: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Adds one; answers its place.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        self.all.push_str(text);
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        u32::try_from(self.ends.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text at a place.
    pub(crate) fn get(&self, place: usize) -> &str {
        let start = place
            .checked_sub(1)
            .map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(place).copied());
        range
            .and_then(|(start, end)| self.all.get(start as usize..end as usize))
            .unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|place| self.get(place))
    }

    /// All of them, one after another, with the end of each.
    pub(crate) fn whole(&self) -> (&str, &[u32]) {
        (&self.all, &self.ends)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.ends.len() as u64);
        let mut before = 0;
        for end in &self.ends {
            put(out, u64::from(end - before));
            before = *end;
        }
        out.extend_from_slice(self.all.as_bytes());
    }

    pub(crate) fn read(input: &mut Input<'_>) -> Result<Self, Error> {
        let count = input.length()?;
        let mut ends = Vec::with_capacity(count);
        let mut end = 0_u64;
        for _ in 0..count {
            end = end.saturating_add(input.number()?);
            ends.push(u32::try_from(end).map_err(|_| damaged("length"))?);
        }
        let bytes = input.bytes(usize::try_from(end).unwrap_or(usize::MAX))?;
        let all = std::str::from_utf8(bytes).map_err(|_| damaged("text"))?;
        Ok(Self {
            all: all.to_owned(),
            ends,
        })
    }
}

/// Gives each distinct text its place.
#[derive(Debug, Default)]
pub(crate) struct Places<'t> {
    places: HashMap<&'t str, u32>,
    pub(crate) texts: Texts,
}

impl<'t> Places<'t> {
    pub(crate) fn place(&mut self, text: &'t str) -> u32 {
        let texts = &mut self.texts;
        *self.places.entry(text).or_insert_with(|| texts.push(text))
    }
}

/// Marks the parts of `all` (each with its end) in which something is found.
pub(crate) fn mark(finder: &Finder<'_>, all: &[u8], ends: &[u32], marks: &mut [bool]) {
    let length = finder.needle().len();
    let (mut at, mut place) = (0, 0);
    while let Some(found) = all.get(at..).and_then(|rest| finder.find(rest)) {
        let start = at + found;
        while ends.get(place).is_some_and(|end| *end as usize <= start) {
            place += 1;
        }
        let Some(end) = ends.get(place).map(|end| *end as usize) else {
            break;
        };
        // What goes over an end is in no text.
        at = start + 1;
        if start + length <= end {
            if let Some(mark) = marks.get_mut(place) {
                *mark = true;
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use memchr::memmem::Finder;

    use super::{Places, Texts, mark};

    #[track_caller]
    fn check(texts: &[&str], needle: &str, wanted: &[usize]) {
        let mut all = Texts::default();
        for text in texts {
            all.push(text);
        }
        let mut marks = vec![false; all.len()];
        let (whole, ends) = all.whole();
        mark(&Finder::new(needle), whole.as_bytes(), ends, &mut marks);
        let found: Vec<usize> = (0..marks.len()).filter(|place| marks[*place]).collect();
        assert_eq!(found, wanted, "{needle} in {texts:?}");
    }

    #[test]
    fn a_part_is_found_in_its_text_only() {
        check(&["abc", "xabcx", "", "ab", "c", "abcabc"], "abc", &[0, 1, 5]);
        check(&["a", "b"], "ab", &[]);
        check(&["", "", "a"], "a", &[2]);
        check(&["aab", "aab"], "ab", &[0, 1]);
        check(&["a", "aa", "a"], "aa", &[1]);
        check(&[], "a", &[]);
    }

    #[test]
    fn equal_texts_have_one_place() {
        let mut places = Places::default();
        let found: Vec<u32> = ["a", "", "a", "é", ""].map(|text| places.place(text)).into();
        assert_eq!(found, [0, 1, 0, 2, 1]);
        let texts: Vec<&str> = places.texts.iter().collect();
        assert_eq!(texts, ["a", "", "é"]);
        assert_eq!(places.texts.get(3), "");
    }
}

//! How well a few letters fit a name. Pure.

/// At a word's start: `rv` means `reviews-virtualservice`.
const AT_START: i32 = 10;
/// Right after the letter before.
const IN_A_ROW: i32 = 6;
/// A whole prefix of the name.
const PREFIX: i32 = 20;

/// Points for letters that occur in this order; `None` if they do not. Nothing typed fits everything.
pub fn score(typed: &str, name: &str) -> Option<i32> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let typed: Vec<char> = typed
        .to_lowercase()
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    if typed.is_empty() {
        return Some(0);
    }
    // Each start is tried: the first occurrence of a letter is often not the best.
    let best = name
        .iter()
        .enumerate()
        .filter(|(_, letter)| Some(*letter) == typed.first())
        .filter_map(|(start, _)| from(&typed, &name, start))
        .max()?;
    let length = i32::try_from(name.len().min(100)).unwrap_or(100);
    Some(best - length / 4)
}

fn from(typed: &[char], name: &[char], start: usize) -> Option<i32> {
    let mut points = 0;
    let mut at = start;
    let mut last: Option<usize> = None;
    for letter in typed {
        let found = at + name.get(at..)?.iter().position(|other| other == letter)?;
        let begins = found == 0
            || name
                .get(found - 1)
                .is_some_and(|before| !before.is_alphanumeric());
        if begins {
            points += AT_START;
        }
        if last.is_some_and(|last| last + 1 == found) {
            points += IN_A_ROW;
        }
        points += 1;
        last = Some(found);
        at = found + 1;
    }
    if start == 0 && name.starts_with(typed) {
        points += PREFIX;
    }
    Some(points)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::score;

    #[test]
    fn better_fits_have_more_points() {
        for (typed, better, worse) in [
            ("rev", "reviews", "productpage-reviews"),
            ("rv1", "reviews-v1", "ratings-service-v1"),
            ("grap", "Graph", "geography-app"),
            ("pp", "product-page", "apple"),
            ("reviews", "reviews", "reviews-v2"),
        ] {
            let (a, b) = (
                score(typed, better).unwrap(),
                score(typed, worse).unwrap_or(i32::MIN),
            );
            assert!(a > b, "{typed}: {better} {a}, {worse} {b}");
        }
    }

    #[test]
    fn letters_must_occur_in_order() {
        assert_eq!(score("vr", "reviews"), None);
        assert_eq!(score("x", "reviews"), None);
        assert_eq!(score("", "reviews"), Some(0));
        assert!(score("拓扑", "拓扑图").is_some());
    }
}

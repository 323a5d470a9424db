//! Which cases pass, which must, and why the others do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::compare::Difference;
use super::outcome::Outcome;

/// Result of one case.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Case.
    pub id: String,
    /// Whether requests were to be sent (else only admission is asked).
    pub sends: bool,
    /// Why it does not pass; empty if it does.
    pub reasons: Vec<Reason>,
}

/// Why a case does not pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The control plane says that it does not honour a field.
    NotBuilt(String),
    /// The configuration did not come into force.
    NotInForce(String),
    /// A field differs.
    Differs(Difference),
    /// The case could not be played.
    Broken(String),
}

impl Verdict {
    /// Whether everything named was reproduced.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Reasons of a played case, the most telling first.
#[must_use]
pub fn reasons(outcome: &Outcome, differences: Vec<Difference>) -> Vec<Reason> {
    if differences.is_empty() {
        return Vec::new();
    }
    let mut reasons: Vec<Reason> = outcome.problems.iter().cloned().map(Reason::NotBuilt).collect();
    reasons.extend(outcome.late.iter().cloned().map(Reason::NotInForce));
    reasons.extend(differences.into_iter().map(Reason::Differs));
    reasons
}

/// Ids of a list: one a line, `#` starts a remark.
#[must_use]
pub fn read_list(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The list's text, sorted.
#[must_use]
pub fn write_list(ids: &BTreeSet<String>) -> String {
    let mut text = String::from("# Cases that must pass, one a line. OBSERVED_WRITE=1 rewrites this list.\n");
    for id in ids {
        text.push_str(id);
        text.push('\n');
    }
    text
}

/// A report: how many pass, then the others grouped by their first reason.
#[must_use]
pub fn report(verdicts: &[Verdict]) -> String {
    let count = |sends: bool| {
        let all = verdicts.iter().filter(|verdict| verdict.sends == sends);
        let passing = all.clone().filter(|verdict| verdict.passes()).count();
        (passing, all.count())
    };
    let (sending, all_sending) = count(true);
    let (refused, all_refused) = count(false);
    let mut text = format!(
        "sending cases: {sending} of {all_sending} pass; admission cases: {refused} of {all_refused} pass\n"
    );
    let mut groups = BTreeMap::<String, Vec<&Verdict>>::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.passes()) {
        let group = verdict.reasons.first().map(group).unwrap_or_default();
        groups.entry(group).or_default().push(verdict);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, verdicts)| std::cmp::Reverse(verdicts.len()));
    for (group, verdicts) in groups {
        let _ = writeln!(text, "\n{} × {group}", verdicts.len());
        for verdict in verdicts {
            let _ = writeln!(text, "  {}", line(verdict));
        }
    }
    text
}

fn group(reason: &Reason) -> String {
    match reason {
        Reason::NotBuilt(field) => {
            let field = field.split(':').next().unwrap_or_default();
            format!("not built yet: {field}")
        }
        Reason::NotInForce(_) => "not in force in time".to_owned(),
        Reason::Broken(_) => "could not be played".to_owned(),
        Reason::Differs(difference) => {
            let field = difference
                .field
                .trim_start_matches(|letter: char| letter.is_ascii_digit());
            format!("differs: {}", field.trim_start_matches('.'))
        }
    }
}

/// All that is known of a failing case, on one line.
#[must_use]
pub fn line(verdict: &Verdict) -> String {
    let mut text = verdict.id.clone();
    const SHOWN: usize = 4;
    for reason in verdict.reasons.iter().take(SHOWN) {
        let _ = match reason {
            Reason::NotBuilt(field) => write!(text, " | not built yet: {field}"),
            Reason::NotInForce(what) => write!(text, " | not in force: {what}"),
            Reason::Broken(what) => write!(text, " | {what}"),
            Reason::Differs(Difference { field, expected, got }) => {
                write!(
                    text,
                    " | {field}: expected {} got {}",
                    short(expected),
                    short(got)
                )
            }
        };
    }
    if verdict.reasons.len() > SHOWN {
        let _ = write!(text, " | and {} more", verdict.reasons.len() - SHOWN);
    }
    text
}

fn short(value: &serde_json::Value) -> String {
    const LONGEST: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let ids = read_list("# all\nb\n\na # why\n");
        assert_eq!(ids.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read_list(&write_list(&ids)), ids);
    }

    #[test]
    fn a_case_without_differences_passes_whatever_else_was_said() {
        let outcome = Outcome {
            problems: vec!["spec.http[0].mirror: not honoured".to_owned()],
            ..Outcome::default()
        };
        assert_eq!(reasons(&outcome, Vec::new()), []);
    }
}

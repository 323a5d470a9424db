use crate::text::history::Words;

/// English.
pub const WORDS: Words = Words {
    title: "Changes of the configuration",
    created: "created",
    updated: "changed",
    deleted: "deleted",
    seen: "seen",
    change: "Change",
    somebody: "unknown",
    through: |manager| format!("through {manager}"),
    present: "present",
    against_before: "Against the version before",
    against_present: "Against the present version",
    revert: "Revert to this version",
    reverting: "Reverting…",
    reverted: |name| format!("{name} is back at this version"),
    recreate: "Create again",
    none: "No change is recorded in this time",
    none_hint: "Choose a longer time, or another object. Edits here and with kubectl are recorded from the first start on.",
    gap: "Versions before this one may have been missed: the control plane was not running.",
    proxies_run: |count| format!("{count} proxies"),
    all_objects: "All objects",
    older: "Older changes",
    same: "Nothing differs",
    choose: "Choose a change to see what it did.",
};

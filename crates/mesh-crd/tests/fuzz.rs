//! The fuzz targets of what people write, each on some thousand mutations of good inputs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/src/objects.rs"]
mod objects;

#[test]
fn promises_hold_for_mutated_inputs() {
    for target in objects::TARGETS {
        mutate::play(target, 2000);
    }
}

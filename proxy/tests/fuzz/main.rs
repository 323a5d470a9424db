//! The fuzz targets of what comes over the network, each on some thousand mutations of good inputs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/src/wire.rs"]
mod wire;

/// In time that a default run has; the targets themselves run for as long as one likes.
const INPUTS: usize = 3000;

#[test]
fn promises_hold_for_mutated_inputs() {
    let running: Vec<_> = wire::TARGETS
        .iter()
        .map(|target| (target.name, std::thread::spawn(|| mutate::play(target, INPUTS))))
        .collect();
    let broken: Vec<_> = running
        .into_iter()
        .filter_map(|(name, thread)| thread.join().err().map(|_| name))
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

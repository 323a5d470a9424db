//! Build, checks, demo, tests and benchmarks of this repository.

fn main() {}

//! The data plane: sidecar and gateway.

fn main() {}

//! The sightline command: run the mesh, the demo, and look into both.

fn main() {}

//! The console pages.
fn main() {}

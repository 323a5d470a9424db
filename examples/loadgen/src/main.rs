//! A load generator that counts what it sent and what came back.

fn main() {}

//! The console's backend: sign-in, static files, edits with the user's identity, queries.

fn main() {}

//! The sample application: a bookshop in four services.

fn main() {}

//! HTTP messages as bytes: compact header store, strict HTTP/1 parsing and framing.

pub mod authority;
pub mod chunked;
pub mod fields;
mod framing;
pub mod head;
pub mod write;

#[cfg(test)]
mod tests;

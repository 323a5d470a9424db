//! World and proxy to configuration snapshot: merging, precedence, scoping.

//! Envoy's bootstrap file: the documented subset that a proxy runs on.

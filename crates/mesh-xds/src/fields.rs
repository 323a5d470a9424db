//! The table that says, for each Envoy field: honoured, ignored with the reason, or refused.

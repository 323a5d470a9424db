//! Envoy v3 discovery messages to the model and back.

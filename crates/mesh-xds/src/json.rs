//! JSON of Envoy messages, through descriptors that are loaded for the call and freed after it.

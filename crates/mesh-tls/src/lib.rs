//! SPIFFE identities, rustls configurations, peer verification, rotation.

//! Watches, pushes configuration, signs certificates, gathers telemetry, answers queries.

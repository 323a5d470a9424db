//! Choosing an endpoint. Chance comes in as a number.

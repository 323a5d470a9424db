//! History: traits and the SQLite store.

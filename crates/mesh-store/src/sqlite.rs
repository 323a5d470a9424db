//! The history in one SQLite file, by its first name.

use std::path::Path;

use crate::engine::SqlStore;
use crate::history::{Error, Limits};

/// Opens a [`SqlStore`] on SQLite.
#[derive(Debug, Clone, Copy)]
pub struct SqliteHistory;

impl SqliteHistory {
    /// [`SqlStore::sqlite`].
    pub async fn open(folder: &Path, limits: Limits) -> Result<SqlStore, Error> {
        SqlStore::sqlite(folder, limits).await
    }
}

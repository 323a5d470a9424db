//! Opening the store: where it is, what it may take.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::engine::SqlStore;
use crate::history::{Error, History, Limits};
use crate::records::{Records, Revisions};

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Database {
    /// One file in the data folder.
    #[default]
    Sqlite,
    /// A Postgres database, by its URL.
    Postgres(String),
}

/// Says what a database can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a database: write `sqlite`, or `postgres://USER:PASSWORD@HOST:PORT/NAME`")]
pub struct NotADatabase(String);

impl FromStr for Database {
    type Err = NotADatabase;

    /// Reads `sqlite` or a `postgres://` (`postgresql://`) URL.
    fn from_str(text: &str) -> Result<Self, NotADatabase> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(NotADatabase(text.to_owned()))
    }
}

/// How to open a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Where the data is.
    pub database: Database,
    /// The data folder (SQLite's file and the copies made before migrations).
    pub folder: PathBuf,
    /// How long things are kept, and the one byte limit over everything.
    pub limits: Limits,
}

impl StoreOptions {
    /// SQLite in `folder` with the default limits.
    #[must_use]
    pub fn sqlite(folder: &Path) -> Self {
        Self {
            database: Database::Sqlite,
            folder: folder.to_owned(),
            limits: Limits::default(),
        }
    }
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    /// What proxies reported.
    pub history: Arc<dyn History>,
    /// Kept requests and spans.
    pub records: Arc<dyn Records>,
    /// Configuration revisions.
    pub revisions: Arc<dyn Revisions>,
}

/// Opens (or makes) the store. Data of a later version is refused and left untouched; other trouble leaves a store
/// that keeps trying: see [`History::failure`].
pub async fn open(options: &StoreOptions) -> Result<Store, Error> {
    let store = Arc::new(match &options.database {
        Database::Sqlite => SqlStore::sqlite(&options.folder, options.limits).await?,
        Database::Postgres(url) => SqlStore::postgres(url, options.limits).await?,
    });
    Ok(Store {
        history: Arc::clone(&store) as Arc<dyn History>,
        records: Arc::clone(&store) as Arc<dyn Records>,
        revisions: store,
    })
}

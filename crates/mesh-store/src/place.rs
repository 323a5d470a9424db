//! Where a store is: opening, versions of the format, size, backup.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::history::Error;
use crate::link::{Connection, Link, Readers};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the data is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Folder of the file.
    Sqlite(PathBuf),
    /// Server and database.
    Postgres(Box<postgres::Server>),
}

impl Place {
    /// Refuses data of a later version before anything is opened.
    pub(crate) fn check_format(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(folder) => sqlite::check_format(folder),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Opens it for writing, at the present format.
    pub(crate) async fn open(&self) -> Result<Connection, Error> {
        match self {
            Self::Sqlite(folder) => sqlite::open(folder).await.map(Connection::Sqlite),
            Self::Postgres(server) => postgres::open(server).await.map(Connection::Postgres),
        }
    }

    /// Opens it for reading.
    pub(crate) async fn readers(&self) -> Result<Readers, Error> {
        match self {
            Self::Sqlite(folder) => sqlite::readers(folder).await.map(Readers::Sqlite),
            Self::Postgres(server) => Ok(Readers::Postgres(postgres::readers(server))),
        }
    }

    /// Tells one file from its replacement.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        match self {
            Self::Sqlite(folder) => sqlite::identity(folder),
            Self::Postgres(_) => None,
        }
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite(folder) => sqlite::database(folder).display().to_string(),
            Self::Postgres(server) => server.shown.clone(),
        }
    }

    /// Copies everything into a new file at `to`.
    pub(crate) async fn backup(&self, to: &Path) -> Result<(), Error> {
        match self {
            Self::Sqlite(folder) => sqlite::backup(folder, to).await,
            Self::Postgres(server) => Err(Error::Unavailable(format!(
                "{} is backed up by the tools of its server: use pg_dump",
                server.shown
            ))),
        }
    }
}

/// Bytes in use: SQLite's pages that hold something; of Postgres what is stored (room that its server has yet to
/// reuse is not ours).
pub(crate) async fn bytes_in_use(link: &mut Link<'_>) -> Result<u64, Error> {
    match link {
        Link::Sqlite(connection) => sqlite::bytes_in_use(connection).await,
        Link::Postgres(_) => {
            let stored = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM tally";
            let waiting = "SELECT CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) FROM journal";
            Ok(link.number(stored, &[]).await? + link.number(waiting, &[]).await?)
        }
    }
}

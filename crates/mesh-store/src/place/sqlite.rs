//! The file: format version, migrations with a backup, connections.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, SqlitePool};

use crate::history::Error;
use crate::link::unavailable;

/// Scripts in order; the format version is their number.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../../migrations/sqlite/0001_history.sql"),
    include_str!("../../../../migrations/sqlite/0002_records.sql"),
    include_str!("../../../../migrations/sqlite/0003_text.sql"),
];

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const CACHE_KIB: &str = "-1024";
/// Pages of a transaction that fit are written once.
const WRITER_CACHE_KIB: &str = "-4096";

pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("history.db")
}

fn format_file(folder: &Path) -> PathBuf {
    folder.join("format")
}

fn supported() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Refuses a folder of a later version, by its `format` file, before anything in it is opened.
pub(super) fn check_format(folder: &Path) -> Result<(), Error> {
    let Ok(text) = std::fs::read_to_string(format_file(folder)) else {
        return Ok(());
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > supported() => Err(Error::Newer {
            path: folder.to_owned(),
            found,
            supported: supported(),
        }),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Unavailable(format!(
            "{} does not hold a format number; restore it from a backup or remove the folder",
            format_file(folder).display()
        ))),
    }
}

/// Opens the file for writing, at the present format.
pub(super) async fn open(folder: &Path) -> Result<SqliteConnection, Error> {
    check_format(folder)?;
    let failed = |e: std::io::Error| Error::Unavailable(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let options = options(folder)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .pragma("cache_size", WRITER_CACHE_KIB);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(unavailable)?;
    migrate(&mut connection, folder, MIGRATIONS).await?;
    probe(&mut connection).await?;
    let text = format!("{}\n", supported());
    if std::fs::read_to_string(format_file(folder)).ok().as_ref() != Some(&text) {
        std::fs::write(format_file(folder), text).map_err(failed)?;
    }
    Ok(connection)
}

/// Writes without changing anything: a file that can only be read is not open for recording.
async fn probe(connection: &mut SqliteConnection) -> Result<(), Error> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(unavailable)?;
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {}", supported())))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)
}

/// Opens a pool of readers.
pub(super) async fn readers(folder: &Path) -> Result<SqlitePool, Error> {
    SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_with(options(folder).read_only(true))
        .await
        .map_err(unavailable)
}

fn options(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database(folder))
        // Survives the end of the process at any moment; a power cut may take the last commits.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE_KIB)
        .pragma("journal_size_limit", "4194304")
}

/// Brings the file to the format of `migrations`; an older one is copied beside it first.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    folder: &Path,
    migrations: &[&'static str],
) -> Result<(), Error> {
    let found: u32 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
    let wanted = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > wanted {
        return Err(Error::Newer {
            path: folder.to_owned(),
            found,
            supported: wanted,
        });
    }
    if found == wanted {
        return Ok(());
    }
    if found > 0 {
        let copy = folder.join(format!("history.before-format-{wanted}.db"));
        if !copy.exists() {
            sqlx::query("VACUUM INTO ?")
                .bind(copy.to_string_lossy().into_owned())
                .execute(&mut *connection)
                .await
                .map_err(unavailable)?;
        }
    }
    for (script, version) in migrations.iter().zip(1_u32..).skip(found as usize) {
        let mut transaction = connection.begin().await.map_err(unavailable)?;
        sqlx::raw_sql(*script)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {version}")))
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
    }
    Ok(())
}

/// Copies the database into a new file.
pub(super) async fn backup(folder: &Path, to: &Path) -> Result<(), Error> {
    if to.exists() {
        return Err(Error::Unavailable(format!(
            "{} is there already; name a file that is not",
            to.display()
        )));
    }
    if !database(folder).is_file() {
        return Err(Error::Unavailable(format!(
            "{} is not there: nothing has been recorded in this folder",
            database(folder).display()
        )));
    }
    let mut connection = SqliteConnection::connect_with(&options(folder).create_if_missing(false))
        .await
        .map_err(unavailable)?;
    sqlx::query("VACUUM INTO ?")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .map_err(unavailable)?;
    connection.close().await.map_err(unavailable)
}

/// Bytes of all pages that hold something.
pub(super) async fn bytes_in_use(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let mut values = [0_i64; 3];
    for (value, sql) in
        values
            .iter_mut()
            .zip(["PRAGMA page_count", "PRAGMA freelist_count", "PRAGMA page_size"])
    {
        *value = sqlx::query_scalar(sql)
            .fetch_one(&mut *connection)
            .await
            .map_err(unavailable)?;
    }
    let [pages, free, size] = values;
    Ok((pages - free).saturating_mul(size).max(0).cast_unsigned())
}

/// Tells one file from its replacement.
pub(super) fn identity(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(database(folder)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sqlx::{Connection, SqliteConnection};

    use super::{MIGRATIONS, check_format, database, migrate, open};
    use crate::history::Error;

    #[tokio::test]
    async fn an_older_file_is_migrated_after_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path()).await.unwrap();
        let mut more = MIGRATIONS.to_vec();
        more.push("CREATE TABLE later (x INTEGER)");
        migrate(&mut connection, folder.path(), &more).await.unwrap();
        let copy = folder
            .path()
            .join(format!("history.before-format-{}.db", more.len()));
        let url = format!("sqlite://{}", copy.display());
        let mut copy = SqliteConnection::connect(&url).await.unwrap();
        let version: u32 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut copy)
            .await
            .unwrap();
        assert_eq!(version as usize, MIGRATIONS.len());
        // This build does not know the format of the other one.
        connection.close().await.unwrap();
        assert!(matches!(open(folder.path()).await, Err(Error::Newer { .. })));
    }

    #[test]
    fn a_newer_folder_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("format"), "9999\n").unwrap();
        let error = check_format(folder.path()).unwrap_err();
        assert!(error.to_string().contains("format 9999"), "{error}");
        assert!(!database(folder.path()).exists());
    }
}

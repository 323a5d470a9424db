//! Objects and their revisions in SQLite: one writer, many readers, one increasing revision counter.
//!
//! Every write adds a row; the row's number is the object's `resourceVersion`. A watch replays rows after a
//! revision and then follows the broadcast of new ones, so the table is object store and event log in one.

mod transaction;
mod writes;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection, Row};
use tokio::sync::{Mutex, broadcast};

pub(crate) use self::transaction::Transaction;
pub(crate) use self::writes::{Author, Write};

/// How many changes a slow watcher may be behind before it has to read them from the table again.
const BROADCAST: usize = 4096;

/// Where an object lives: its storage resource (`group/plural`), namespace (empty for cluster scope) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) resource: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One revision of one object, as watchers see it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    pub(crate) resource: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) deleted: bool,
    pub(crate) object: Arc<Value>,
    /// The state before, if the object existed.
    pub(crate) previous: Option<Arc<Value>>,
}

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the API server's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored body is not JSON.
    #[error("a stored object is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// History up to this revision is compacted.
    #[error("too old resource version: {asked} ({oldest})")]
    Compacted {
        /// The revision asked for.
        asked: i64,
        /// The oldest one that can be served.
        oldest: i64,
    },
}

/// What a page of a list covers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Range {
    /// Only this namespace; all when absent.
    pub(crate) namespace: Option<String>,
    /// Only this name.
    pub(crate) name: Option<String>,
    /// The state at this revision; the newest when absent.
    pub(crate) at: Option<i64>,
    /// Only objects after this (namespace, name).
    pub(crate) after: Option<(String, String)>,
}

/// The database behind the server.
pub(crate) struct Store {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    revision: AtomicI64,
    floor: AtomicI64,
    changes: broadcast::Sender<Arc<Change>>,
    last: parking_lot::Mutex<HashMap<Arc<str>, i64>>,
    /// The uids that objects name as owners.
    owners: parking_lot::Mutex<HashSet<String>>,
}

impl Store {
    /// Opens or creates the database file.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let mut writer = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(include_str!("store/schema.sql"))
            .execute(&mut writer)
            .await?;
        let newest: i64 = sqlx::query("SELECT COALESCE(MAX(rv), 0) FROM revision")
            .fetch_one(&mut writer)
            .await?
            .try_get(0)?;
        let floor: i64 = sqlx::query("SELECT COALESCE(MAX(value), 0) FROM meta WHERE key = 'floor'")
            .fetch_one(&mut writer)
            .await?
            .try_get(0)?;
        let owners_of_all = owners_of_all(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers,
            revision: AtomicI64::new(newest.max(floor)),
            floor: AtomicI64::new(floor),
            changes: broadcast::channel(BROADCAST).0,
            last: parking_lot::Mutex::default(),
            owners: parking_lot::Mutex::new(owners_of_all),
        })
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The revision of the last write to a resource since the start; before any, that of the start.
    pub(crate) fn last_write(&self, resource: &str) -> i64 {
        self.last.lock().get(resource).copied().unwrap_or(1)
    }

    /// The oldest revision that a watch can start from.
    pub(crate) fn floor(&self) -> i64 {
        self.floor.load(Ordering::Acquire)
    }

    /// New changes, from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// The newest state of one object.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let row = sqlx::query(GET)
            .bind(key.resource)
            .bind(&key.namespace)
            .bind(&key.name)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| body(&row)).transpose()
    }

    /// A view of one moment for lists: its revision and its objects belong together.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        let mut connection = self.readers.begin().await?;
        let newest: i64 = sqlx::query("SELECT COALESCE(MAX(rv), 0) FROM revision")
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;
        Ok(Snapshot {
            store: self,
            connection,
            revision: newest.max(self.floor()),
        })
    }

    /// Up to `batch` changes of a resource after a revision, oldest first.
    pub(crate) async fn changes_after(
        &self,
        resource: &str,
        namespace: Option<&str>,
        after: i64,
        batch: i64,
    ) -> Result<Vec<Change>, StoreError> {
        if after < self.floor() {
            return Err(StoreError::Compacted {
                asked: after,
                oldest: self.floor(),
            });
        }
        let rows = sqlx::query(CHANGES)
            .bind(resource)
            .bind(namespace)
            .bind(after)
            .bind(batch)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let previous: Option<String> = row.try_get("previous")?;
                Ok(Change {
                    revision: row.try_get("rv")?,
                    resource: Arc::from(row.try_get::<String, _>("resource")?),
                    namespace: Arc::from(row.try_get::<String, _>("namespace")?),
                    deleted: row.try_get::<i64, _>("deleted")? != 0,
                    object: Arc::new(body(row)?),
                    previous: previous
                        .map(|text| serde_json::from_str(&text))
                        .transpose()?
                        .map(Arc::new),
                })
            })
            .collect()
    }

    /// Starts the one write transaction; others wait.
    pub(crate) async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        self.begin_for(None).await
    }

    /// The same, on behalf of an author, whose writes are recorded.
    pub(crate) async fn begin_for(&self, author: Option<Author>) -> Result<Transaction<'_>, StoreError> {
        let mut writer = self.writer.lock().await;
        // A transaction whose future was dropped half way left its work open: it never happened.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *writer).await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *writer).await?;
        let newest: i64 = sqlx::query("SELECT COALESCE(MAX(rv), 0) FROM revision")
            .fetch_one(&mut *writer)
            .await?
            .try_get(0)?;
        let next = self.revision().max(newest) + 1;
        Ok(Transaction {
            store: self,
            writer,
            next,
            changes: Vec::new(),
            author,
        })
    }

    /// Forgets owners that no object names any more.
    pub(crate) async fn forget_owners(&self) -> Result<(), StoreError> {
        // As a transaction, so that nothing half done is seen.
        let mut tx = self.begin().await?;
        let named = owners_of_all(&mut tx.writer).await?;
        *self.owners.lock() = named;
        tx.rollback().await
    }

    /// Forgets history before `revision`, keeping what lists of newer revisions need.
    pub(crate) async fn compact(&self, revision: i64) -> Result<(), StoreError> {
        let revision = revision.min(self.revision());
        if revision <= self.floor() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES ('floor', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1",
        )
        .bind(revision)
        .execute(&mut *tx.writer)
        .await?;
        sqlx::query(COMPACT)
            .bind(revision)
            .execute(&mut *tx.writer)
            .await?;
        tx.commit().await?;
        self.floor.store(revision, Ordering::Release);
        Ok(())
    }

    /// The revision that was the newest at a time (milliseconds since 1970) or when `keep` fewer were written.
    pub(crate) async fn compaction_point(&self, written_before: i64, keep: i64) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT COALESCE(MAX(rv), 0) FROM revision WHERE written < ?1")
            .bind(written_before)
            .fetch_one(&self.readers)
            .await?;
        let by_age: i64 = row.try_get(0)?;
        Ok(by_age.max(self.revision() - keep))
    }

    /// Closes both sides.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        let _ = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *writer)
            .await;
    }
}

const OWNED: &str = "SELECT body FROM revision
 WHERE current = 1 AND deleted = 0 AND instr(body, '\"ownerReferences\"') > 0";
const DEPENDENTS: &str = "SELECT resource, namespace, name, body FROM revision
 WHERE current = 1 AND deleted = 0 AND instr(body, '\"ownerReferences\"') > 0 AND instr(body, ?1) > 0
 ORDER BY resource, namespace, name";
const GET: &str = "SELECT body FROM revision
 WHERE resource = ?1 AND namespace = ?2 AND name = ?3 AND current = 1 AND deleted = 0";
const LIST_CURRENT: &str = "SELECT namespace, name, body FROM revision
 WHERE resource = ?1 AND current = 1 AND deleted = 0 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
   AND (namespace, name) > (?4, ?5) AND rv <= ?7 ORDER BY namespace, name LIMIT ?6";
const COUNT_CURRENT: &str = "SELECT COUNT(*) FROM revision
 WHERE resource = ?1 AND current = 1 AND deleted = 0 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
   AND (namespace, name) > (?4, ?5) AND ?6 = 0 AND rv <= ?7";
const LIST_AT: &str = "SELECT namespace, name, body FROM revision r
 WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
   AND (namespace, name) > (?4, ?5) AND rv <= ?7 AND deleted = 0
   AND NOT EXISTS (SELECT 1 FROM revision n WHERE n.resource = r.resource AND n.namespace = r.namespace
                   AND n.name = r.name AND n.rv > r.rv AND n.rv <= ?7)
 ORDER BY namespace, name LIMIT ?6";
const COUNT_AT: &str = "SELECT COUNT(*) FROM revision r
 WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
   AND (namespace, name) > (?4, ?5) AND ?6 = 0 AND rv <= ?7 AND deleted = 0
   AND NOT EXISTS (SELECT 1 FROM revision n WHERE n.resource = r.resource AND n.namespace = r.namespace
                   AND n.name = r.name AND n.rv > r.rv AND n.rv <= ?7)";
const CHANGES: &str = "SELECT r.rv, r.resource, r.namespace, r.deleted, r.body,
   (SELECT p.body FROM revision p WHERE p.resource = r.resource AND p.namespace = r.namespace AND p.name = r.name
     AND p.rv < r.rv AND p.deleted = 0
     AND p.rv = (SELECT MAX(q.rv) FROM revision q WHERE q.resource = r.resource AND q.namespace = r.namespace
                 AND q.name = r.name AND q.rv < r.rv)) AS previous
 FROM revision r WHERE r.resource = ?1 AND (?2 IS NULL OR r.namespace = ?2) AND r.rv > ?3 ORDER BY r.rv LIMIT ?4";
const COMPACT: &str =
    "DELETE FROM revision WHERE rv IN (SELECT r.rv FROM revision r WHERE r.rv <= ?1 AND (r.deleted = 1
 OR EXISTS (SELECT 1 FROM revision n WHERE n.resource = r.resource AND n.namespace = r.namespace
            AND n.name = r.name AND n.rv > r.rv AND n.rv <= ?1)))";

/// A consistent view for lists.
pub(crate) struct Snapshot<'a> {
    store: &'a Store,
    connection: sqlx::Transaction<'static, sqlx::Sqlite>,
    /// The newest revision that this view contains.
    pub(crate) revision: i64,
}

impl Snapshot<'_> {
    /// A batch of objects in order of namespace and name. Fewer than `batch` means there are no more.
    pub(crate) async fn list(
        &mut self,
        resource: &str,
        range: &Range,
        batch: i64,
    ) -> Result<Vec<(String, String, Value)>, StoreError> {
        let sql = if self.at_past(range)? {
            LIST_AT
        } else {
            LIST_CURRENT
        };
        let (after_namespace, after_name) = range.after.clone().unwrap_or_default();
        let rows = sqlx::query(sql)
            .bind(resource)
            .bind(range.namespace.as_deref())
            .bind(range.name.as_deref())
            .bind(after_namespace)
            .bind(after_name)
            .bind(batch)
            .bind(range.at.unwrap_or(i64::MAX))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("namespace")?, row.try_get("name")?, body(row)?)))
            .collect()
    }

    /// How many objects a list has after the range's start.
    pub(crate) async fn count(&mut self, resource: &str, range: &Range) -> Result<i64, StoreError> {
        let sql = if self.at_past(range)? {
            COUNT_AT
        } else {
            COUNT_CURRENT
        };
        let (after_namespace, after_name) = range.after.clone().unwrap_or_default();
        let row = sqlx::query(sql)
            .bind(resource)
            .bind(range.namespace.as_deref())
            .bind(range.name.as_deref())
            .bind(after_namespace)
            .bind(after_name)
            .bind(0)
            .bind(range.at.unwrap_or(i64::MAX))
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    fn at_past(&self, range: &Range) -> Result<bool, StoreError> {
        let Some(asked) = range.at else { return Ok(false) };
        let oldest = self.store.floor();
        if asked < oldest {
            return Err(StoreError::Compacted { asked, oldest });
        }
        Ok(asked < self.revision)
    }
}

/// The uids that objects name as owners.
async fn owners_of_all(connection: &mut SqliteConnection) -> Result<HashSet<String>, StoreError> {
    let mut found = HashSet::new();
    for row in sqlx::query(OWNED).fetch_all(connection).await? {
        found.extend(owners(&body(&row)?).map(str::to_owned));
    }
    Ok(found)
}

/// The uids of an object's owners.
fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let list = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|reference| reference.get("uid").and_then(Value::as_str))
}

fn body(row: &SqliteRow) -> Result<Value, StoreError> {
    Ok(serde_json::from_str(row.try_get("body")?)?)
}

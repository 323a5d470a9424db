//! Who wrote what: one row for each write that a client asked for.

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{Key, Store, StoreError};

/// How many rows are kept.
pub(crate) const KEPT: i64 = 20_000;

/// Kinds whose writes are a heartbeat, not a change that anyone asks about.
const UNRECORDED: &[&str] = &["/events", "coordination.k8s.io/leases"];

/// On whose behalf a transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    /// The authenticated user.
    pub(crate) user: String,
    /// `create`, `update`, `patch`, `apply`, `delete` or `deletecollection`.
    pub(crate) verb: &'static str,
    /// The field manager.
    pub(crate) manager: String,
    /// `status`, or empty.
    pub(crate) subresource: String,
}

/// One recorded write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) revision: i64,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) author: Author,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Whether the object is gone since.
    pub(crate) gone: bool,
}

/// Records one write inside its own transaction.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    author: &Author,
    key: &Key,
    object: &Value,
    (revision, gone): (i64, bool),
) -> Result<(), StoreError> {
    if UNRECORDED.contains(&key.resource) {
        return Ok(());
    }
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    sqlx::query(
        "INSERT INTO write (rv, at, user, verb, manager, subresource, api_version, kind, namespace, name, uid, gone)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(revision)
    .bind(jiff::Timestamp::now().as_millisecond())
    .bind(&author.user)
    .bind(author.verb)
    .bind(&author.manager)
    .bind(&author.subresource)
    .bind(text("/apiVersion"))
    .bind(text("/kind"))
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(text("/metadata/uid"))
    .bind(gone)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Up to `limit` recorded writes after a revision, oldest first.
    pub(crate) async fn writes_after(&self, after: i64, limit: i64) -> Result<Vec<Write>, StoreError> {
        let rows = sqlx::query("SELECT * FROM write WHERE rv > ?1 ORDER BY rv LIMIT ?2")
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let verb: String = row.try_get("verb")?;
                Ok(Write {
                    revision: row.try_get("rv")?,
                    at: row.try_get("at")?,
                    author: Author {
                        user: row.try_get("user")?,
                        verb: known_verb(&verb),
                        manager: row.try_get("manager")?,
                        subresource: row.try_get("subresource")?,
                    },
                    api_version: row.try_get("api_version")?,
                    kind: row.try_get("kind")?,
                    namespace: row.try_get("namespace")?,
                    name: row.try_get("name")?,
                    uid: row.try_get("uid")?,
                    gone: row.try_get::<i64, _>("gone")? != 0,
                })
            })
            .collect()
    }

    /// Forgets all but the newest recorded writes.
    pub(crate) async fn forget_writes(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "DELETE FROM write WHERE rv <= (SELECT rv FROM write ORDER BY rv DESC LIMIT 1 OFFSET ?1)",
        )
        .bind(KEPT)
        .execute(&mut *tx.writer)
        .await?;
        tx.commit().await
    }
}

fn known_verb(text: &str) -> &'static str {
    ["create", "update", "patch", "apply", "delete", "deletecollection"]
        .into_iter()
        .find(|verb| *verb == text)
        .unwrap_or("unknown")
}

//! The one write at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::MutexGuard;

use super::{Author, Change, DEPENDENTS, GET, Key, LIST_CURRENT, Store, StoreError, body, writes};

/// An open write transaction: reads see its own writes; dropping it undoes them.
pub(crate) struct Transaction<'a> {
    pub(super) store: &'a Store,
    pub(super) writer: MutexGuard<'a, SqliteConnection>,
    pub(super) next: i64,
    pub(super) changes: Vec<Change>,
    /// On whose behalf; the server's own work has none.
    pub(super) author: Option<Author>,
}

impl Transaction<'_> {
    /// The newest state of one object.
    pub(crate) async fn get(&mut self, key: &Key) -> Result<Option<Value>, StoreError> {
        let row = sqlx::query(GET)
            .bind(key.resource)
            .bind(&key.namespace)
            .bind(&key.name)
            .fetch_optional(&mut *self.writer)
            .await?;
        row.map(|row| body(&row)).transpose()
    }

    /// All newest objects of a resource, in a namespace or everywhere.
    pub(crate) async fn list(
        &mut self,
        resource: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, StoreError> {
        let rows = sqlx::query(LIST_CURRENT)
            .bind(resource)
            .bind(namespace)
            .bind(None::<&str>)
            .bind("")
            .bind("")
            .bind(-1)
            .bind(i64::MAX)
            .fetch_all(&mut *self.writer)
            .await?;
        rows.iter().map(body).collect()
    }

    /// Whether any object named this uid as its owner; a few that no longer do may be among them.
    pub(crate) fn owns(&self, uid: &str) -> bool {
        self.store.owners.lock().contains(uid)
    }

    /// The objects that name a uid as an owner.
    pub(crate) async fn dependents(&mut self, uid: &str) -> Result<Vec<(Key, Value)>, StoreError> {
        let rows = sqlx::query(DEPENDENTS)
            .bind(uid)
            .fetch_all(&mut *self.writer)
            .await?;
        let mut found = Vec::new();
        for row in rows {
            let resource: String = row.try_get("resource")?;
            let object = body(&row)?;
            let Some(resource) = crate::dependents::storage(&resource) else {
                continue;
            };
            if super::owners(&object).any(|owner| owner == uid) {
                let key = Key {
                    resource: resource.storage,
                    namespace: row.try_get("namespace")?,
                    name: row.try_get("name")?,
                };
                found.push((key, object));
            }
        }
        Ok(found)
    }

    /// Writes an object's new state and returns it with its resourceVersion.
    pub(crate) async fn put(&mut self, key: &Key, object: Value) -> Result<Value, StoreError> {
        self.write(key, object, false).await
    }

    /// Removes an object; `object` is its last state.
    pub(crate) async fn remove(&mut self, key: &Key, object: Value) -> Result<Value, StoreError> {
        self.write(key, object, true).await
    }

    async fn write(&mut self, key: &Key, mut object: Value, deleted: bool) -> Result<Value, StoreError> {
        let previous = self.get(key).await?;
        let revision = self.next;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), Value::String(revision.to_string()));
        }
        sqlx::query("UPDATE revision SET current = 0 WHERE resource = ?1 AND namespace = ?2 AND name = ?3 AND current = 1")
            .bind(key.resource)
            .bind(&key.namespace)
            .bind(&key.name)
            .execute(&mut *self.writer)
            .await?;
        sqlx::query(
            "INSERT INTO revision (rv, resource, namespace, name, deleted, current, written, body)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7)",
        )
        .bind(revision)
        .bind(key.resource)
        .bind(&key.namespace)
        .bind(&key.name)
        .bind(deleted)
        .bind(jiff::Timestamp::now().as_millisecond())
        .bind(object.to_string())
        .execute(&mut *self.writer)
        .await?;
        if let Some(author) = &self.author {
            writes::record(&mut self.writer, author, key, &object, (revision, deleted)).await?;
        }
        if !deleted {
            let owners = super::owners(&object).map(str::to_owned);
            self.store.owners.lock().extend(owners);
        }
        self.next += 1;
        self.changes.push(Change {
            revision,
            resource: Arc::from(key.resource),
            namespace: Arc::from(key.namespace.as_str()),
            deleted,
            object: Arc::new(object.clone()),
            previous: previous.map(Arc::new),
        });
        Ok(object)
    }

    /// Makes the writes durable and tells the watchers.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        if let Err(error) = sqlx::raw_sql("COMMIT").execute(&mut *self.writer).await {
            let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *self.writer).await;
            return Err(error.into());
        }
        self.store.revision.store(self.next - 1, Ordering::Release);
        for change in self.changes {
            self.store
                .last
                .lock()
                .insert(Arc::clone(&change.resource), change.revision);
            // No receiver is no error: nobody watches.
            let _ = self.store.changes.send(Arc::new(change));
        }
        Ok(())
    }

    /// Undoes everything (a dry run).
    pub(crate) async fn rollback(mut self) -> Result<(), StoreError> {
        sqlx::raw_sql("ROLLBACK").execute(&mut *self.writer).await?;
        Ok(())
    }
}

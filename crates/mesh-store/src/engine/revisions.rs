//! Revisions of configuration objects.

use super::tally::{Family, ROW};
use crate::history::Error;
use crate::link::{Connection, Link, Lock, Row, Value};
use crate::records::{Change, Revision, RevisionQuery};

/// Most revisions in one answer.
const MOST: usize = 1000;

/// Records a state; answers whether it was new.
pub(super) async fn record(connection: &mut Connection, revision: &Revision) -> Result<bool, Error> {
    let mut transaction = connection.begin(&[Lock::Revisions]).await?;
    let mut link = transaction.link();
    let new = link
        .execute(
            "INSERT INTO revision (at_ms, kind, namespace, name, uid, resource_version, generation, change, \
             username, manager, yaml, gap) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (uid, resource_version, change) DO NOTHING",
            &[
                Value::from(revision.at_ms),
                Value::from(&revision.kind),
                Value::from(&revision.namespace),
                Value::from(&revision.name),
                Value::from(&revision.uid),
                Value::from(&revision.resource_version),
                Value::Int(revision.generation),
                Value::from(revision.change.as_str()),
                Value::from(&revision.user),
                Value::from(&revision.manager),
                Value::from(&revision.yaml),
                Value::Bool(revision.gap),
            ],
        )
        .await?
        > 0;
    if new {
        // Characters, as the database counts them when the row goes.
        let bytes = revision.yaml.chars().count() as u64 + ROW * 4;
        Family::Revisions.change(&mut link, bytes, 0).await?;
    }
    transaction.commit().await?;
    Ok(new)
}

/// Newest first.
pub(super) async fn list(
    link: &mut Link<'_>,
    query: &RevisionQuery,
    limit: usize,
) -> Result<Vec<Revision>, Error> {
    let flag = |field: &Option<String>| Value::Int(i64::from(field.is_some()));
    let end = |value: u64| Value::from(if value == 0 { u64::MAX >> 1 } else { value });
    let rows = link
        .rows(
            "SELECT id, at_ms, kind, namespace, name, uid, resource_version, generation, change, username, manager, \
             yaml, gap FROM revision WHERE ($1 = 0 OR kind = $2) AND ($3 = 0 OR namespace = $4) \
             AND ($5 = 0 OR name = $6) AND at_ms >= $7 AND at_ms < $8 AND id < $9 ORDER BY id DESC LIMIT $10",
            &[
                flag(&query.kind),
                Value::from(query.kind.as_deref().unwrap_or_default()),
                flag(&query.namespace),
                Value::from(query.namespace.as_deref().unwrap_or_default()),
                flag(&query.name),
                Value::from(query.name.as_deref().unwrap_or_default()),
                Value::from(query.from_ms),
                end(query.to_ms),
                end(query.before),
                Value::from(limit.min(MOST) as u64),
            ],
        )
        .await?;
    rows.iter().map(revision).collect()
}

fn revision(row: &Row) -> Result<Revision, Error> {
    let text = |column: usize| row.text(column).map(str::to_owned);
    Ok(Revision {
        id: row.number(0)?,
        at_ms: row.number(1)?,
        kind: text(2)?,
        namespace: text(3)?,
        name: text(4)?,
        uid: text(5)?,
        resource_version: text(6)?,
        generation: row.int(7)?,
        change: Change::parse(row.text(8)?)
            .ok_or_else(|| Error::Damaged("what happened to an object".into()))?,
        user: text(9)?,
        manager: text(10)?,
        yaml: text(11)?,
        gap: row.boolean(12)?,
    })
}

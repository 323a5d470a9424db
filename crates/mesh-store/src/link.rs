//! One way to talk to SQLite and to Postgres.
//!
//! Both understand the same statements here: `$1` for parameters, `ON CONFLICT ... DO UPDATE`, 64-bit integers, texts
//! and bytes. What differs (opening, locks, sizes) is in [`crate::place`].

use sqlx::postgres::{PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqlSafeStr};

use crate::history::Error;

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(i64),
    Float(f64),
    Text(&'v str),
    Blob(&'v [u8]),
    Bool(bool),
}

impl From<u64> for Value<'_> {
    /// Databases have signed integers only; sizes and times stay far below the sign.
    fn from(value: u64) -> Self {
        Self::Int(value.cast_signed())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(value)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Self::Text(value)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Blob(value)
    }
}

impl<'v> From<&'v Vec<u8>> for Value<'v> {
    fn from(value: &'v Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

/// A row of an answer; columns by place.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($self:ident, $column:ident, $kind:ty) => {
        match $self {
            Self::Sqlite(row) => row.try_get::<$kind, _>($column),
            Self::Postgres(row) => row.try_get::<$kind, _>($column),
        }
        .map_err(unavailable)
    };
}

impl Row {
    pub(crate) fn int(&self, column: usize) -> Result<i64, Error> {
        column!(self, column, i64)
    }

    pub(crate) fn number(&self, column: usize) -> Result<u64, Error> {
        self.int(column).map(i64::cast_unsigned)
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, Error> {
        column!(self, column, &str)
    }

    pub(crate) fn blob(&self, column: usize) -> Result<&[u8], Error> {
        column!(self, column, &[u8])
    }

    pub(crate) fn blob_or_none(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        column!(self, column, Option<&[u8]>)
    }

    pub(crate) fn boolean(&self, column: usize) -> Result<bool, Error> {
        column!(self, column, bool)
    }
}

/// A connection in use.
pub(crate) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

macro_rules! query {
    ($sql:expr, $values:expr, $text:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match *value {
                Value::Int(value) => query.bind(value),
                Value::Float(value) => query.bind(value),
                Value::Text(value) => query.bind($text(value)),
                Value::Blob(value) => query.bind(value.to_vec()),
                Value::Bool(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Postgres has no zero character in texts.
fn without_zero(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Link<'_> {
    /// Changes something; answers how many rows.
    pub(crate) async fn execute(&mut self, sql: impl SqlSafeStr, values: &[Value<'_>]) -> Result<u64, Error> {
        match self {
            Self::Sqlite(c) => {
                let query = query!(sql, values, str::to_owned);
                query.execute(&mut **c).await.map(|done| done.rows_affected())
            }
            Self::Postgres(c) => {
                let query = query!(sql, values, without_zero);
                query.execute(&mut **c).await.map(|done| done.rows_affected())
            }
        }
        .map_err(unavailable)
    }

    /// All rows of an answer; the statement bounds their number.
    pub(crate) async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(c) => {
                let rows = query!(sql, values, str::to_owned).fetch_all(&mut **c).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(c) => {
                let rows = query!(sql, values, without_zero).fetch_all(&mut **c).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        }
        .map_err(unavailable)
    }

    /// The first row of an answer.
    pub(crate) async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The number in the first column of the first row; 0 if there is none.
    pub(crate) async fn number(&mut self, sql: impl SqlSafeStr, values: &[Value<'_>]) -> Result<u64, Error> {
        self.row(sql, values).await?.map_or(Ok(0), |row| row.number(0))
    }

    /// Several statements without parameters.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(c) => c.execute(sqlx::raw_sql(sql)).await.map(drop),
            Self::Postgres(c) => c.execute(sqlx::raw_sql(sql)).await.map(drop),
        }
        .map_err(unavailable)
    }
}

/// What a transaction changes; Postgres takes an advisory lock for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Journal and progress: ids of journal rows become visible in their order.
    Journal = 1,
    /// Blocks, segments, and everything that removes.
    Fold = 2,
    /// Kept requests and spans.
    Records = 3,
    /// Revisions.
    Revisions = 4,
    /// The tables themselves.
    Schema = 5,
}

/// Base of the advisory locks ("SIGH").
const LOCKS: i64 = 0x5349_4748_0000;

/// A connection that writes.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// Begins a transaction that writes.
    pub(crate) async fn begin(&mut self, locks: &[Lock]) -> Result<Transaction<'_>, Error> {
        match self {
            Self::Sqlite(c) => c
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map(Transaction::Sqlite)
                .map_err(unavailable),
            Self::Postgres(c) => {
                let mut transaction = c.begin().await.map(Transaction::Postgres).map_err(unavailable)?;
                for lock in locks {
                    let lock = Value::Int(LOCKS + *lock as i64);
                    let sql = "SELECT pg_advisory_xact_lock($1) IS NULL";
                    transaction.link().execute(sql, &[lock]).await?;
                }
                Ok(transaction)
            }
        }
    }

    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(c) => Link::Sqlite(c),
            Self::Postgres(c) => Link::Postgres(c),
        }
    }

    pub(crate) async fn close(self) {
        let _ = match self {
            Self::Sqlite(c) => c.close().await,
            Self::Postgres(c) => c.close().await,
        };
    }
}

/// An open transaction; dropped, it changes nothing.
pub(crate) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
}

impl Transaction<'_> {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(t) => Link::Sqlite(t),
            Self::Postgres(t) => Link::Postgres(t),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(t) => t.commit().await,
            Self::Postgres(t) => t.commit().await,
        }
        .map_err(unavailable)
    }
}

/// A few connections that read.
#[derive(Debug, Clone)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// One consistent view of everything.
    pub(crate) async fn view(&self) -> Result<Transaction<'static>, Error> {
        match self {
            Self::Sqlite(pool) => pool.begin().await.map(Transaction::Sqlite),
            Self::Postgres(pool) => pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .await
                .map(Transaction::Postgres),
        }
        .map_err(unavailable)
    }
}

/// A statement that was put together here, of constants only.
pub(crate) fn built(sql: String) -> impl SqlSafeStr {
    AssertSqlSafe(sql)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
pub(crate) fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(match &error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    })
}

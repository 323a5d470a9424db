//! The Postgres server: format version, migrations, connections.

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::time::timeout;

use super::CONNECT;
use crate::history::Error;
use crate::link::{Connection, Lock, Transaction, Value, unavailable};

/// Scripts in order; the format version is their number.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../../migrations/postgres/0001_store.sql"),
    include_str!("../../../../migrations/postgres/0002_text.sql"),
];

/// A statement that takes longer has no one who waits for it.
const STATEMENT_TIMEOUT: &str = "60s";

/// A database of a server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    options: PgConnectOptions,
    /// Without the password.
    pub(crate) shown: String,
}

impl Server {
    /// Reads a `postgres://` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(|e| {
            Error::Unavailable(format!(
                "the database's URL cannot be read: {e}; write postgres://USER:PASSWORD@HOST:PORT/NAME"
            ))
        })?;
        let options = options.application_name("sightline-controlplane").options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT),
            ("client_min_messages", "warning"),
        ]);
        let shown = format!(
            "postgres://{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        Ok(Self { options, shown })
    }
}

/// Connects and brings the tables to the present format.
pub(super) async fn open(server: &Server) -> Result<PgConnection, Error> {
    let connected = timeout(CONNECT, PgConnection::connect_with(&server.options)).await;
    let connection = connected
        .map_err(|_| Error::Unavailable("it did not accept the connection in time".into()))
        .and_then(|connected| connected.map_err(unavailable))
        .map_err(|error| match error {
            Error::Unavailable(reason) => Error::Unavailable(format!("{}: {reason}", server.shown)),
            other => other,
        })?;
    let mut connection = Connection::Postgres(connection);
    migrate(&mut connection, server, MIGRATIONS).await?;
    match connection {
        Connection::Postgres(connection) => Ok(connection),
        Connection::Sqlite(_) => Err(Error::Unavailable("not a Postgres connection".into())),
    }
}

/// A pool that connects when it is asked.
pub(super) fn readers(server: &Server) -> PgPool {
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(CONNECT)
        .connect_lazy_with(server.options.clone())
}

/// Brings the tables to the format of `migrations`; all of it happens, or nothing.
async fn migrate(
    connection: &mut Connection,
    server: &Server,
    migrations: &[&'static str],
) -> Result<(), Error> {
    let wanted = u64::try_from(migrations.len()).unwrap_or(u64::MAX);
    let mut transaction = connection.begin(&[Lock::Schema]).await?;
    let found = found(&mut transaction).await?;
    if found > wanted {
        return Err(Error::Newer {
            path: PathBuf::from(&server.shown),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            supported: u32::try_from(wanted).unwrap_or(u32::MAX),
        });
    }
    if found == wanted {
        return Ok(());
    }
    let mut link = transaction.link();
    if found == 0 {
        link.script("CREATE TABLE sightline_format (version BIGINT NOT NULL)")
            .await?;
        link.script("INSERT INTO sightline_format VALUES (0)").await?;
    }
    for script in migrations
        .iter()
        .skip(usize::try_from(found).unwrap_or(usize::MAX))
    {
        link.script(script).await?;
    }
    link.execute("UPDATE sightline_format SET version = $1", &[Value::from(wanted)])
        .await?;
    transaction.commit().await
}

async fn found(transaction: &mut Transaction<'_>) -> Result<u64, Error> {
    let mut link = transaction.link();
    let there = "SELECT COUNT(*) FROM pg_tables WHERE tablename = 'sightline_format' \
                 AND schemaname = ANY (current_schemas(false))";
    if link.number(there, &[]).await? == 0 {
        return Ok(0);
    }
    link.number("SELECT version FROM sightline_format", &[]).await
}

//! `sightline backup`: a copy of a mesh's data while it runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::failure::{Code, Failure, Tried};
use crate::folder::{self, Folder};
use crate::mesh::host::say;

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  A copy of configuration, history and keys, while the mesh runs:
    sightline backup /srv/backup/mesh-monday
  A mesh from the copy:
    sightline up --data /srv/backup/mesh-monday

The copy holds keys and tokens: it is readable by its owner only. A history in
PostgreSQL is not in it; use pg_dump.";

/// Databases, by their path in the data folder.
const DATABASES: &[&str] = &["objects.db", "controlplane/history.db"];

/// Files that belong to them.
const FILES: &[&str] = &[
    "format",
    "controlplane/format",
    "ca.crt",
    "ca.key",
    "sa.key",
    "token",
];

/// Flags of `sightline backup`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A folder that is not there yet.
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Copies the databases as they are at one moment each, and the files beside them.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = match &options.data {
        Some(data) => Folder::at(data),
        None => Folder::running(None)?,
    };
    let to = &options.to;
    if to.exists() {
        return Err(Failure::new(
            Code::Configuration,
            format!("{} is there already; name a new folder", to.display()),
        ));
    }
    let Some(objects) = DATABASES
        .first()
        .map(|name| folder.path().join(name))
        .filter(|file| file.is_file())
    else {
        return Err(Failure::new(
            Code::Configuration,
            format!("{} is not the data folder of a mesh", folder.path().display()),
        ));
    };
    tracing::debug!("backing up {}", objects.display());
    folder::make(&to.join("controlplane")).tried(|| format!("cannot make {}", to.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .tried(|| "cannot start a runtime".to_owned())?;
    for name in DATABASES {
        let (from, copy) = (folder.path().join(name), to.join(name));
        if from.is_file() {
            say(&format!("copying {name}"));
            runtime.block_on(copy_database(&from, &copy))?;
        }
    }
    for name in FILES {
        let from = folder.path().join(name);
        if from.is_file() {
            std::fs::copy(&from, to.join(name)).tried(|| format!("cannot copy {}", from.display()))?;
        }
    }
    say(&format!("the copy is {}", to.display()));
    Ok(ExitCode::SUCCESS)
}

/// SQLite copies what one reader sees; writers go on meanwhile.
async fn copy_database(from: &Path, to: &Path) -> Result<(), Failure> {
    let what = || format!("cannot copy the database {}", from.display());
    let mut connection: SqliteConnection = SqliteConnectOptions::new()
        .filename(from)
        .read_only(true)
        .connect()
        .await
        .tried(what)?;
    sqlx::query("VACUUM INTO ?")
        .bind(to.display().to_string())
        .execute(&mut connection)
        .await
        .tried(what)?;
    connection.close().await.tried(what)
}

//! The history in one SQLite file.
//!
//! One task owns the writing connection; readers use a small pool of their own. When the disk is full, the file
//! locked, damaged or gone, nothing is recorded until opening it succeeds again; whoever appends gets an error
//! and keeps its batch.

mod file;
mod fold;
mod journal;
mod read;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mesh_model::edge::Batch;
use sqlx::SqlitePool;
use tokio::sync::{RwLock, mpsc, oneshot, watch};

use crate::history::{Appended, Error, Gap, History, Limits, Resolution, Usage, Visit};

/// Batches that may wait for the writer.
const QUEUE: usize = 256;

/// History in `<folder>/history.db`.
#[derive(Debug, Clone)]
pub struct SqliteHistory {
    commands: mpsc::Sender<writer::Command>,
    shared: Arc<Shared>,
}

/// What writer and readers share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    limits: Limits,
    /// `None` while the file cannot be used.
    readers: RwLock<Option<SqlitePool>>,
    failure: watch::Sender<Option<String>>,
}

impl SqliteHistory {
    /// Opens (or makes) the history in `folder`. Data of a later version is refused and left untouched; any
    /// other trouble leaves a history that does not record and keeps trying: see [`History::failure`].
    pub async fn open(folder: &Path, limits: Limits) -> Result<Self, Error> {
        file::check_format(folder)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            limits,
            readers: RwLock::new(None),
            failure: watch::Sender::new(None),
        });
        let (commands, queue) = mpsc::channel(QUEUE);
        let mut writer = writer::Writer::new(Arc::clone(&shared));
        match writer.open().await {
            Err(error @ Error::Newer { .. }) => return Err(error),
            Err(error) => writer.failed(&error).await,
            Ok(()) => {}
        }
        tokio::spawn(writer.run(queue));
        Ok(Self { commands, shared })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> writer::Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|_| Error::Busy)?;
        answer
            .await
            .map_err(|_| Error::Unavailable("the writer has ended".into()))?
    }

    async fn readers(&self) -> Result<SqlitePool, Error> {
        self.shared.readers.read().await.clone().ok_or_else(|| {
            let reason = self.shared.failure.borrow().clone();
            Error::Unavailable(reason.unwrap_or_else(|| "the file is not open".into()))
        })
    }
}

#[async_trait::async_trait]
impl History for SqliteHistory {
    async fn append(&self, batch: &Batch, last: bool) -> Result<Appended, Error> {
        let append = writer::Append {
            proxy: batch.proxy.clone(),
            epoch: batch.epoch,
            sequence: batch.sequence,
            cut_at_ms: batch.cut_at_ms,
            last,
            payload: journal::encode(&batch.windows),
        };
        self.ask(|reply| writer::Command::Append(append, reply)).await
    }

    async fn fold(&self, now: u64) -> Result<(), Error> {
        self.ask(|reply| writer::Command::Fold(now, reply)).await
    }

    async fn read(
        &self,
        from: u64,
        to: u64,
        step: Resolution,
        visit: Visit<'_>,
    ) -> Result<(u64, u64), Error> {
        read::series(&self.readers().await?, from, to, step, visit).await
    }

    async fn gaps(&self, from: u64, to: u64) -> Result<Vec<Gap>, Error> {
        read::gaps(&self.readers().await?, from, to).await
    }

    async fn usage(&self) -> Result<Usage, Error> {
        let pool = self.readers().await?;
        let mut connection = pool.acquire().await.map_err(unavailable)?;
        Ok(Usage {
            bytes: file::bytes_in_use(&mut connection).await?,
            limit: self.shared.limits.bytes,
        })
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.borrow().clone()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(match &error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    })
}

/// SQLite has signed integers only; order does not matter where this is used.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}

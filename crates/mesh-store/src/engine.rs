//! The store over a database, SQLite or Postgres: one code for both.
//!
//! One task owns the writing connection; readers use a small pool of their own. When the disk is full, the file
//! locked, damaged or gone, or the server away, nothing is recorded until opening it succeeds again; whoever appends
//! gets an error and keeps its batch.

mod append;
mod expire;
mod fold;
mod hourly;
mod journal;
mod keep;
mod read;
mod revisions;
mod search;
mod tally;
mod traces;
mod writer;

use std::path::Path;
use std::sync::Arc;

use mesh_model::edge::Batch;
use mesh_model::record::{KeptRequest, Span, TraceId};
use tokio::sync::{RwLock, mpsc, oneshot, watch};

use crate::history::{Appended, Error, Gap, History, Limits, Resolution, Usage, Visit, Wanted};
use crate::link::{Readers, Transaction};
use crate::place::{self, Place, postgres};
use crate::records::{
    Facets, HeatMap, Records, RequestPage, RequestQuery, Revision, RevisionQuery, Revisions, TraceQuery,
    TraceSummary,
};
use writer::Command;

/// Commands that may wait for the writer.
const QUEUE: usize = 256;

/// History, records and revisions in one database.
#[derive(Debug, Clone)]
pub struct SqlStore {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What writer and readers share.
#[derive(Debug)]
struct Shared {
    place: Place,
    limits: Limits,
    /// `None` while the database cannot be used.
    readers: RwLock<Option<Readers>>,
    failure: watch::Sender<Option<String>>,
}

impl SqlStore {
    /// Opens (or makes) the store in `<folder>/history.db`. Data of a later version is refused and left untouched;
    /// any other trouble leaves a store that does not record and keeps trying: see [`History::failure`].
    pub async fn sqlite(folder: &Path, limits: Limits) -> Result<Self, Error> {
        Self::open(Place::Sqlite(folder.to_owned()), limits).await
    }

    /// Opens (or makes) the store in a Postgres database; the same holds.
    pub async fn postgres(url: &str, limits: Limits) -> Result<Self, Error> {
        Self::open(Place::Postgres(Box::new(postgres::Server::parse(url)?)), limits).await
    }

    async fn open(place: Place, limits: Limits) -> Result<Self, Error> {
        place.check_format()?;
        let shared = Arc::new(Shared {
            place,
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
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|_| Error::Busy)?;
        answer
            .await
            .map_err(|_| Error::Unavailable("the writer has ended".into()))?
    }

    async fn view(&self) -> Result<Transaction<'static>, Error> {
        let readers = self.shared.readers.read().await.clone().ok_or_else(|| {
            let reason = self.shared.failure.borrow().clone();
            Error::Unavailable(reason.unwrap_or_else(|| "the database is not open".into()))
        })?;
        readers.view().await
    }
}

#[async_trait::async_trait]
impl History for SqlStore {
    async fn append(&self, batch: &Batch, last: bool) -> Result<Appended, Error> {
        let append = append::Append {
            proxy: batch.proxy.clone(),
            epoch: batch.epoch,
            sequence: batch.sequence,
            cut_at_ms: batch.cut_at_ms,
            last,
            payload: journal::encode(&batch.windows),
        };
        self.ask(|reply| Command::Append(append, reply)).await
    }

    async fn fold(&self, now: u64) -> Result<(), Error> {
        self.ask(|reply| Command::Fold(now, reply)).await
    }

    async fn read(
        &self,
        from: u64,
        to: u64,
        step: Resolution,
        visit: Visit<'_>,
    ) -> Result<(u64, u64), Error> {
        read::series(
            &mut self.view().await?,
            (from, to),
            step,
            read::Group::Each,
            None,
            visit,
        )
        .await
    }

    async fn sums(
        &self,
        from: u64,
        to: u64,
        step: Resolution,
        wanted: Wanted<'_>,
        visit: Visit<'_>,
    ) -> Result<(u64, u64), Error> {
        let mut view = self.view().await?;
        read::series(
            &mut view,
            (from, to),
            step,
            read::Group::Whole,
            Some(wanted),
            visit,
        )
        .await
    }

    async fn gaps(&self, from: u64, to: u64) -> Result<Vec<Gap>, Error> {
        read::gaps(&mut self.view().await?.link(), from, to).await
    }

    async fn usage(&self) -> Result<Usage, Error> {
        Ok(Usage {
            bytes: place::bytes_in_use(&mut self.view().await?.link()).await?,
            limit: self.shared.limits.bytes,
        })
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.borrow().clone()
    }

    async fn backup(&self, to: &Path) -> Result<(), Error> {
        self.shared.place.backup(to).await
    }
}

#[async_trait::async_trait]
impl Records for SqlStore {
    async fn keep(&self, requests: &[KeptRequest], spans: &[Span]) -> Result<(), Error> {
        if requests.is_empty() && spans.is_empty() {
            return Ok(());
        }
        let keep = keep::Keep {
            requests: requests.to_vec(),
            spans: spans.to_vec(),
        };
        self.ask(|reply| Command::Keep(keep, reply)).await
    }

    async fn requests(
        &self,
        query: &RequestQuery,
        limit: usize,
        after: Option<&str>,
    ) -> Result<RequestPage, Error> {
        search::page(&mut self.view().await?, query, limit, after).await
    }

    async fn facets(&self, query: &RequestQuery) -> Result<Facets, Error> {
        search::facets(&mut self.view().await?, query).await
    }

    async fn heat_map(&self, query: &RequestQuery, columns: u32) -> Result<HeatMap, Error> {
        search::heat_map(&mut self.view().await?, query, columns).await
    }

    async fn trace(&self, id: TraceId) -> Result<Vec<Span>, Error> {
        traces::trace(&mut self.view().await?.link(), id).await
    }

    async fn traces(&self, query: &TraceQuery, limit: usize) -> Result<Vec<TraceSummary>, Error> {
        traces::traces(&mut self.view().await?.link(), query, limit).await
    }
}

#[async_trait::async_trait]
impl Revisions for SqlStore {
    async fn record(&self, revision: &Revision) -> Result<bool, Error> {
        let revision = Box::new(revision.clone());
        self.ask(|reply| Command::Record(revision, reply)).await
    }

    async fn revisions(&self, query: &RevisionQuery, limit: usize) -> Result<Vec<Revision>, Error> {
        revisions::list(&mut self.view().await?.link(), query, limit).await
    }
}

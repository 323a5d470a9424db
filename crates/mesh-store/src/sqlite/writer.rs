//! The one task that writes: commits what waits in one transaction, folds, opens the file again after a failure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Shared, file, fold, signed, unavailable};
use crate::history::{Appended, Error, Gap};
use crate::progress::Progress;

/// Batches committed in one transaction.
const GROUP: usize = 64;
/// Time between attempts to open a file that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Time between looks at whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Append(Append, oneshot::Sender<Result<Appended, Error>>),
    Fold(u64, oneshot::Sender<Result<(), Error>>),
}

pub(super) struct Append {
    pub(super) proxy: String,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) cut_at_ms: u64,
    pub(super) last: bool,
    pub(super) payload: Vec<u8>,
}

/// By proxy and epoch.
type Known = HashMap<String, BTreeMap<u64, Progress>>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    open: Option<Open>,
    known: Known,
    failed_at: Option<Instant>,
}

struct Open {
    connection: SqliteConnection,
    identity: Option<(u64, u64)>,
    looked: Instant,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: None,
            known: Known::new(),
            failed_at: None,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut waiting = None;
        loop {
            let command = match waiting.take() {
                Some(command) => command,
                None => tokio::select! {
                    command = queue.recv() => match command {
                        Some(command) => command,
                        None => break,
                    },
                    // Recovers also when nobody sends.
                    () = tokio::time::sleep(RETRY), if self.open.is_none() => {
                        let _ = self.ready().await;
                        continue;
                    }
                },
            };
            match command {
                Command::Fold(now, reply) => {
                    let outcome = self.fold(now).await;
                    let _ = reply.send(self.note(outcome).await);
                }
                Command::Append(append, reply) => {
                    let mut group = vec![(append, reply)];
                    while group.len() < GROUP {
                        match queue.try_recv() {
                            Ok(Command::Append(append, reply)) => group.push((append, reply)),
                            Ok(other) => {
                                waiting = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group).await;
                }
            }
        }
        if let Some(open) = self.open.take() {
            let _ = open.connection.close().await;
        }
    }

    /// Opens the file and reads what has been committed so far.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        let mut connection = file::open(&self.shared.folder).await?;
        self.known = known(&mut connection).await?;
        *self.shared.readers.write().await = Some(file::readers(&self.shared.folder).await?);
        self.open = Some(Open {
            connection,
            identity: file::identity(&self.shared.folder),
            looked: Instant::now(),
        });
        self.failed_at = None;
        self.shared.failure.send_replace(None);
        Ok(())
    }

    pub(super) async fn failed(&mut self, error: &Error) {
        // The bare reason: whoever reads it wraps it into an error of their own.
        let reason = match error {
            Error::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        if self.shared.failure.borrow().as_ref() != Some(&reason) {
            tracing::error!("{error}; proxies keep what they counted until it works again");
        }
        self.shared.failure.send_replace(Some(reason));
        self.failed_at = Some(Instant::now());
        self.open = None;
        *self.shared.readers.write().await = None;
    }

    async fn note<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match &outcome {
            Err(error) => self.failed(error).await,
            Ok(_) if self.shared.failure.borrow().is_some() => {
                self.shared.failure.send_replace(None);
            }
            Ok(_) => {}
        }
        outcome
    }

    /// Looks, now and then, whether the open file is still the one in the folder.
    fn was_replaced(&mut self) -> bool {
        let Some(open) = self.open.as_mut().filter(|open| open.looked.elapsed() >= LOOK) else {
            return false;
        };
        open.looked = Instant::now();
        file::identity(&self.shared.folder) != open.identity
    }

    /// The connection, opened again if it failed a while ago or the file was replaced.
    async fn ready(&mut self) -> Result<&mut SqliteConnection, Error> {
        if self.was_replaced() {
            let path = file::database(&self.shared.folder);
            let error = Error::Unavailable(format!("{} was removed or replaced", path.display()));
            self.failed(&error).await;
            self.failed_at = None;
        }
        if self.open.is_none() {
            if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
                let reason = self.shared.failure.borrow().clone();
                return Err(Error::Unavailable(reason.unwrap_or_default()));
            }
            if let Err(error) = self.open().await {
                self.failed(&error).await;
                return Err(error);
            }
        }
        self.open
            .as_mut()
            .map(|open| &mut open.connection)
            .ok_or_else(|| Error::Unavailable("the file is not open".into()))
    }

    async fn append(&mut self, group: Vec<(Append, oneshot::Sender<Result<Appended, Error>>)>) {
        // The pure part first: what is new, and what the table of progress becomes.
        if let Err(error) = self.ready().await {
            for (_, reply) in group {
                let _ = reply.send(Err(error.clone()));
            }
            return;
        }
        let mut known = self
            .known
            .clone_touched(group.iter().map(|(append, _)| append.proxy.as_str()));
        let outcomes: Vec<Appended> = group
            .iter()
            .map(|(append, _)| commit(&mut known, append))
            .collect();
        let written = match self.ready().await {
            Ok(connection) => write(connection, &group, &outcomes, &known).await,
            Err(error) => Err(error),
        };
        match self.note(written).await {
            Ok(()) => {
                self.known.extend(known);
                for ((_, reply), outcome) in group.into_iter().zip(outcomes) {
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for (_, reply) in group {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn fold(&mut self, now: u64) -> Result<(), Error> {
        let limits = self.shared.limits;
        let connection = self.ready().await?;
        fold::journal(connection, now, &limits).await?;
        fold::expire(connection, now, &limits).await?;
        self.known = known(self.ready().await?).await?;
        Ok(())
    }
}

trait CloneTouched {
    fn clone_touched<'n>(&self, names: impl Iterator<Item = &'n str>) -> Self;
}

impl CloneTouched for Known {
    fn clone_touched<'n>(&self, names: impl Iterator<Item = &'n str>) -> Self {
        names
            .map(|name| (name.to_owned(), self.get(name).cloned().unwrap_or_default()))
            .collect()
    }
}

fn commit(known: &mut Known, append: &Append) -> Appended {
    let epochs = known.entry(append.proxy.clone()).or_default();
    let gap = match epochs.last_key_value() {
        Some((epoch, before)) if *epoch < append.epoch && !before.finished => Some(Gap {
            proxy: append.proxy.clone(),
            from_ms: before.cut_at_ms,
            to_ms: append.cut_at_ms,
            reason: "the process ended without a goodbye; up to one flush interval is missing".into(),
        }),
        _ => None,
    };
    let progress = epochs.entry(append.epoch).or_default();
    if progress.commit(append.sequence, append.cut_at_ms, append.last) {
        Appended::New(gap)
    } else {
        Appended::Duplicate
    }
}

async fn write(
    connection: &mut SqliteConnection,
    group: &[(Append, oneshot::Sender<Result<Appended, Error>>)],
    outcomes: &[Appended],
    known: &Known,
) -> Result<(), Error> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(unavailable)?;
    for ((append, _), outcome) in group.iter().zip(outcomes) {
        let Appended::New(gap) = outcome else {
            continue;
        };
        sqlx::query("INSERT INTO journal (payload) VALUES (?)")
            .bind(&append.payload)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        if let Some(gap) = gap {
            sqlx::query("INSERT OR REPLACE INTO gap (proxy, from_ms, to_ms, reason) VALUES (?, ?, ?, ?)")
                .bind(&gap.proxy)
                .bind(signed(gap.from_ms))
                .bind(signed(gap.to_ms))
                .bind(&gap.reason)
                .execute(&mut *transaction)
                .await
                .map_err(unavailable)?;
        }
        let progress = known
            .get(&append.proxy)
            .and_then(|epochs| epochs.get(&append.epoch));
        let Some(progress) = progress else {
            continue;
        };
        sqlx::query(
            "INSERT OR REPLACE INTO progress (proxy, epoch, through, beyond, cut_at_ms, finished) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&append.proxy)
        .bind(signed(append.epoch))
        .bind(signed(progress.through))
        .bind(progress.beyond_text())
        .bind(signed(progress.cut_at_ms))
        .bind(progress.finished)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    }
    transaction.commit().await.map_err(unavailable)
}

async fn known(connection: &mut SqliteConnection) -> Result<Known, Error> {
    let rows = sqlx::query("SELECT proxy, epoch, through, beyond, cut_at_ms, finished FROM progress")
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    let mut known = Known::new();
    for row in rows {
        let number = |column: &str| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
        let progress = Progress {
            through: number("through").map_err(unavailable)?,
            beyond: Progress::parse_beyond(row.try_get("beyond").map_err(unavailable)?),
            cut_at_ms: number("cut_at_ms").map_err(unavailable)?,
            finished: row.try_get("finished").map_err(unavailable)?,
        };
        let proxy: String = row.try_get("proxy").map_err(unavailable)?;
        let epoch = number("epoch").map_err(unavailable)?;
        known.entry(proxy).or_default().insert(epoch, progress);
    }
    Ok(known)
}

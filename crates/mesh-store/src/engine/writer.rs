//! The one task that writes: commits what waits in one transaction, folds, opens the database again after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::append::{self, Append};
use super::keep::{self, Keep};
use super::{Shared, expire, fold, revisions};
use crate::history::{Appended, Error};
use crate::link::Connection;
use crate::records::Revision;

/// Batches committed in one transaction.
const GROUP: usize = 64;
/// Time between attempts to open a database that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Time between looks at whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time that a command may take: a server that went away without a word must not stop the queue.
const LONGEST: Duration = Duration::from_secs(60);

type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(super) enum Command {
    Append(Append, Reply<Appended>),
    Fold(u64, Reply<()>),
    Keep(Keep, Reply<()>),
    Record(Box<Revision>, Reply<bool>),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    open: Option<Open>,
    failed_at: Option<Instant>,
}

struct Open {
    connection: Connection,
    identity: Option<(u64, u64)>,
    looked: Instant,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: None,
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
                Command::Keep(keep, reply) => {
                    let outcome = match self.ready().await {
                        Ok(connection) => in_time(keep::keep(connection, &keep)).await,
                        Err(error) => Err(error),
                    };
                    let _ = reply.send(self.note(outcome).await);
                }
                Command::Record(revision, reply) => {
                    let outcome = match self.ready().await {
                        Ok(connection) => in_time(revisions::record(connection, &revision)).await,
                        Err(error) => Err(error),
                    };
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
            open.connection.close().await;
        }
    }

    /// Opens the database.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        let connection = in_time(self.shared.place.open()).await?;
        *self.shared.readers.write().await = Some(self.shared.place.readers().await?);
        self.open = Some(Open {
            connection,
            identity: self.shared.place.identity(),
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
            // Where it could not even be opened, that has been noted with its time.
            Err(error) if self.open.is_some() => self.failed(error).await,
            Err(_) => {}
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
        self.shared.place.identity() != open.identity
    }

    /// The connection, opened again if it failed a while ago or the file was replaced.
    async fn ready(&mut self) -> Result<&mut Connection, Error> {
        if self.was_replaced() {
            let error = Error::Unavailable(format!("{} was removed or replaced", self.shared.place.shown()));
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
            .ok_or_else(|| Error::Unavailable("the database is not open".into()))
    }

    async fn append(&mut self, group: Vec<(Append, Reply<Appended>)>) {
        let (appends, replies): (Vec<Append>, Vec<Reply<Appended>>) = group.into_iter().unzip();
        let written = match self.ready().await {
            Ok(connection) => in_time(append::append(connection, &appends)).await,
            Err(error) => Err(error),
        };
        match self.note(written).await {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn fold(&mut self, now: u64) -> Result<(), Error> {
        let limits = self.shared.limits;
        let connection = self.ready().await?;
        in_time(async {
            fold::journal(connection, now, &limits).await?;
            keep::seal(connection, now).await?;
            expire::expire(connection, now, &limits).await
        })
        .await
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(LONGEST, work)
        .await
        .map_err(|_| Error::Unavailable("the database did not answer in time".into()))?
}

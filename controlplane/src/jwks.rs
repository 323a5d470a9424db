//! Keys of token issuers: fetched here, so that a proxy never speaks to an issuer, and sent to proxies inline.
//!
//! There are no default keys. While an issuer does not answer, its last good keys hold for a limited time; after that,
//! and before the first answer, every token of the issuer is refused.

use std::path::PathBuf;
use std::sync::Arc;

use mesh_translate::KeySource;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::unix_ms;
use crate::index::Generation;
use crate::watch::Change;

mod address;
mod book;
mod fetch;
mod keys;

pub(crate) use address::Allowed;

use book::Book;
use fetch::Fetcher;

/// Fetches at the same time.
const AT_ONCE: usize = 8;

/// What the fetcher is allowed, and where it keeps what it has.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) allowed: Allowed,
    /// Last good keys, so that a restart refuses nobody; they are public.
    pub(crate) file: PathBuf,
}

/// Keeps the keys of every issuer that a RequestAuthentication names, until nobody listens.
pub(crate) async fn run(
    settings: Settings,
    mut worlds: watch::Receiver<Option<Arc<Generation>>>,
    changes: mpsc::Sender<Change>,
) {
    let fetcher = match Fetcher::new(settings.allowed) {
        Ok(fetcher) => Arc::new(fetcher),
        Err(error) => {
            tracing::error!(%error, "keys of issuers cannot be fetched");
            return;
        }
    };
    let mut book = Book::default();
    if let Some(kept) = read(&settings.file).await {
        book.load(kept, unix_ms() / 1000);
    }
    let mut fetches: JoinSet<(KeySource, Result<String, String>)> = JoinSet::new();
    loop {
        let now = Instant::now();
        for source in book.due(now, AT_ONCE.saturating_sub(fetches.len())) {
            let fetcher = Arc::clone(&fetcher);
            fetches.spawn(async move {
                let fetched = fetcher.keys(&source).await;
                (source, fetched)
            });
        }
        let wake = book.next().filter(|_| fetches.len() < AT_ONCE);
        tokio::select! {
            changed = worlds.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = worlds.borrow_and_update().as_ref().map(|g| g.world.key_sources());
                let Some(wanted) = wanted else { continue };
                if book.want(wanted, Instant::now()) && tell(&book, &changes).await.is_none() {
                    return;
                }
            }
            Some(done) = fetches.join_next(), if !fetches.is_empty() => {
                let Ok((source, fetched)) = done else { continue };
                if let Err(reason) = &fetched {
                    tracing::warn!(%source, %reason, "keys of an issuer cannot be fetched");
                }
                let jitter = rand::random_range(0.9..1.1);
                book.fetched(&source, fetched, Instant::now(), unix_ms() / 1000, jitter);
                write(&settings.file, book.kept()).await;
                if tell(&book, &changes).await.is_none() {
                    return;
                }
            }
            () = sleep_until(wake) => {
                if book.expire(unix_ms() / 1000) && tell(&book, &changes).await.is_none() {
                    return;
                }
            }
        }
    }
}

async fn tell(book: &Book, changes: &mpsc::Sender<Change>) -> Option<()> {
    changes.send(Change::Keys(book.present())).await.ok()
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

async fn read(file: &PathBuf) -> Option<serde_json::Value> {
    let text = tokio::fs::read(file).await.ok()?;
    serde_json::from_slice(&text).ok()
}

/// Replaces the file as a whole; without it only a restart at a bad moment is worse.
async fn write(file: &PathBuf, kept: serde_json::Value) {
    let next = file.with_extension("next");
    let written = async {
        tokio::fs::write(&next, kept.to_string()).await?;
        tokio::fs::rename(&next, file).await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, file = %file.display(), "keys cannot be kept for a restart");
    }
}

#[cfg(test)]
mod tests;

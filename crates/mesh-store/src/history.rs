//! What a history is.

use std::path::{Path, PathBuf};

use mesh_model::edge::{Batch, SeriesDelta, SeriesKey};

/// Length of a window of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// 10 s.
    TenSeconds,
    /// 1 min.
    Minute,
    /// 1 h.
    Hour,
}

impl Resolution {
    /// Finest first.
    pub const ALL: [Self; 3] = [Self::TenSeconds, Self::Minute, Self::Hour];

    /// Length of a window.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// Start of the window that contains `at` (Unix seconds).
    #[must_use]
    pub fn floor(self, at: u64) -> u64 {
        at - at % self.seconds()
    }

    /// First window border at or after `at`.
    #[must_use]
    pub fn ceil(self, at: u64) -> u64 {
        self.floor(at.saturating_add(self.seconds() - 1))
    }
}

/// How long windows are kept, and how many bytes everything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Seconds for which 10 s windows are kept.
    pub ten_seconds_kept: u64,
    /// Seconds for which 1 min windows are kept.
    pub minutes_kept: u64,
    /// Seconds for which 1 h windows are kept.
    pub hours_kept: u64,
    /// Seconds for which kept requests are kept.
    pub requests_kept: u64,
    /// Seconds for which spans are kept.
    pub spans_kept: u64,
    /// Seconds for which revisions of configuration are kept; the newest of each object stays.
    pub revisions_kept: u64,
    /// Bytes of everything together. Each family may use what the others leave free; when there is too much, the
    /// one that exceeds its share most (blocks 40 %, hourly rows 10 %, kept requests 20 %, spans 20 %, revisions
    /// 10 %) loses its oldest, blocks of the finest resolution first. So none can push out another's share.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ten_seconds_kept: 2 * 3600,
            minutes_kept: 7 * 24 * 3600,
            hours_kept: 90 * 24 * 3600,
            requests_kept: 7 * 24 * 3600,
            spans_kept: 7 * 24 * 3600,
            revisions_kept: 90 * 24 * 3600,
            bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Seconds for which windows of `resolution` are kept.
    #[must_use]
    pub fn kept(&self, resolution: Resolution) -> u64 {
        match resolution {
            Resolution::TenSeconds => self.ten_seconds_kept,
            Resolution::Minute => self.minutes_kept,
            Resolution::Hour => self.hours_kept,
        }
    }
}

/// A time for which up to one flush interval of a proxy may be missing: its process ended without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Proxy id.
    pub proxy: String,
    /// When the lost process last reported, Unix milliseconds.
    pub from_ms: u64,
    /// When its successor first reported, Unix milliseconds.
    pub to_ms: u64,
    /// Why, for people.
    pub reason: String,
}

/// What became of a batch. Either way it is committed and may be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is new; the gap before it, if there is one.
    New(Option<Gap>),
    /// It had been committed before; nothing was added.
    Duplicate,
}

/// Bytes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in use.
    pub bytes: u64,
    /// Most bytes.
    pub limit: u64,
}

/// Why a history cannot do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Written by a later version.
    #[error(
        "{} has data of format {found}, this version reads up to {supported}; use a newer version, or move the folder away",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Highest format known here.
        supported: u32,
    },
    /// Full disk, lock, lost or damaged file: nothing was recorded; trying again may succeed.
    #[error("history cannot be used: {0}")]
    Unavailable(String),
    /// Too much is waiting to be written; try again.
    #[error("history is busy: too many batches wait to be written")]
    Busy,
    /// Stored bytes are not what was written.
    #[error("damaged block: {0}")]
    Damaged(String),
}

/// Receives series with the start of their window.
pub type Visit<'v> = &'v mut (dyn FnMut(u64, &SeriesKey, &SeriesDelta) + Send);

/// Says which series are asked for.
pub type Wanted<'w> = &'w (dyn Fn(&SeriesKey) -> bool + Sync);

/// The record of everything that proxies reported.
#[async_trait::async_trait]
pub trait History: Send + Sync {
    /// Commits a batch with its (proxy, epoch, sequence) in one transaction. `last` says that its epoch ends
    /// with it in good order. An error means that nothing was recorded, and the batch may be sent again.
    async fn append(&self, batch: &Batch, last: bool) -> Result<Appended, Error>;

    /// Folds what was appended into blocks, removes what is too old at `now` (Unix seconds) and what exceeds
    /// the byte limit.
    async fn fold(&self, now: u64) -> Result<(), Error>;

    /// Visits all series of the windows in `[from, to)`, appended ones included, in any order, in the resolutions that [`crate::cover::cover`] chooses (none above `step` where finer ones are kept), snapped to
    /// borders; answers the snapped interval. A series may be visited several times for one window: add up.
    async fn read(&self, from: u64, to: u64, step: Resolution, visit: Visit<'_>)
    -> Result<(u64, u64), Error>;

    /// Visits the sums of the wanted series over the whole of `[from, to)`, snapped as in [`History::read`], with the
    /// interval's start. Much cheaper than adding up what `read` visits. A series may be visited several times: add
    /// up.
    async fn sums(
        &self,
        from: u64,
        to: u64,
        step: Resolution,
        wanted: Wanted<'_>,
        visit: Visit<'_>,
    ) -> Result<(u64, u64), Error>;

    /// Gaps that touch `[from, to)` (Unix seconds), oldest first.
    async fn gaps(&self, from: u64, to: u64) -> Result<Vec<Gap>, Error>;

    /// Bytes in use.
    async fn usage(&self) -> Result<Usage, Error>;

    /// Why nothing is being recorded at present, if so.
    fn failure(&self) -> Option<String>;

    /// Copies everything into a new file at `to`, while recording goes on; a database server is backed up by its
    /// own tools, which the error says.
    async fn backup(&self, to: &Path) -> Result<(), Error>;
}

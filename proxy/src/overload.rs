//! What the process can take: descriptors and memory. Connections beyond it wait in the kernel's queue, requests beyond
//! it are refused; the proxy's own pages, discovery and telemetry keep what they need.

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use mesh_model::flags::ResponseFlags;
use nix::sys::resource::{Resource, getrlimit};

use crate::refusal::Refusal;

/// Descriptors that connections never take.
const RESERVED: usize = 64;
/// Between two looks at descriptors and memory.
const EVERY: Duration = Duration::from_millis(250);
/// Share of memory, percent, from which no connection is accepted and idle ones are closed.
const SHRINK_PERCENT: u64 = 90;
/// Share of memory, percent, from which requests are refused.
const REFUSE_PERCENT: u64 = 95;

/// Connections of both sides that are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Most of them.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Memory used, percent of the limit.
static MEMORY: AtomicU8 = AtomicU8::new(0);

/// A connection, for as long as it is open.
#[derive(Debug)]
pub(crate) struct Opened(());

impl Opened {
    /// Counts one.
    pub(crate) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether no connection is to be accepted now: a quarter of the room belongs to the other side, where requests go.
#[must_use]
pub(crate) fn is_full() -> bool {
    let most = MOST.load(Ordering::Relaxed);
    OPEN.load(Ordering::Relaxed) >= most - most / 4 || memory_percent() >= SHRINK_PERCENT
}

/// Whether no connection may be opened upstream.
#[must_use]
pub(crate) fn is_exhausted() -> bool {
    OPEN.load(Ordering::Relaxed) >= MOST.load(Ordering::Relaxed)
}

/// Refuses a request when memory is nearly used up.
pub(crate) fn admit() -> Result<(), Refusal> {
    if memory_percent() < REFUSE_PERCENT {
        return Ok(());
    }
    let mut refusal =
        Refusal::new(503, ResponseFlags::OVERLOAD, "overload_manager").with_body("envoy overloaded");
    refusal.overloaded = true;
    Err(refusal)
}

fn memory_percent() -> u64 {
    u64::from(MEMORY.load(Ordering::Relaxed))
}

/// Connections open, most connections (`None` = unlimited), memory in percent of its limit (0 without one).
#[must_use]
pub fn shown() -> (usize, Option<usize>, u64) {
    let most = MOST.load(Ordering::Relaxed);
    (
        OPEN.load(Ordering::Relaxed),
        (most != usize::MAX).then_some(most),
        memory_percent(),
    )
}

/// Watches descriptors and memory, for ever. `memory_limit` in bytes; without it, that of the control group.
pub async fn follow(memory_limit: Option<u64>) {
    let limit = memory_limit.or_else(control_group_limit);
    loop {
        let looked = tokio::task::spawn_blocking(move || look(limit)).await;
        if looked.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn look(limit: Option<u64>) {
    if let Some(most) = most_connections() {
        MOST.store(most, Ordering::Relaxed);
    }
    let (Some(limit), Some(used)) = (limit, resident()) else {
        return;
    };
    let percent = |used: u64| u8::try_from(used.saturating_mul(100) / limit.max(1)).unwrap_or(u8::MAX);
    let mut now = percent(used);
    if u64::from(now) >= SHRINK_PERCENT {
        crate::memory::give_back();
        now = resident().map_or(now, percent);
    }
    let before = MEMORY.swap(now, Ordering::Relaxed);
    let crossed = |line: u64| (u64::from(before) >= line) != (u64::from(now) >= line);
    if crossed(SHRINK_PERCENT) || crossed(REFUSE_PERCENT) {
        tracing::warn!(percent = now, limit, "memory");
    }
}

/// Descriptors of the process beyond what connections hold and what is reserved.
fn most_connections() -> Option<usize> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let soft = usize::try_from(soft).ok()?;
    let all = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let others = all.saturating_sub(OPEN.load(Ordering::Relaxed));
    Some(soft.saturating_sub(others + RESERVED).max(8))
}

/// Memory in use, bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

/// The limit of the own control group (version 2), bytes.
fn control_group_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = Path::new("/sys/fs/cgroup")
        .join(own.trim_start_matches('/'))
        .join("memory.max");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Panics where a request asks for it, once a test has allowed it: what a defect in a room would do.
#[cfg(debug_assertions)]
pub mod fail_point {
    use std::sync::atomic::{AtomicBool, Ordering};

    static ALLOWED: AtomicBool = AtomicBool::new(false);

    /// From now on requests with the header `x-sightline-fail-point` panic.
    pub fn allow() {
        ALLOWED.store(true, Ordering::Relaxed);
    }

    #[expect(clippy::panic, reason = "what this is for")]
    pub(crate) fn reached(call: &crate::call::Call) {
        if ALLOWED.load(Ordering::Relaxed)
            && call
                .heads
                .request
                .fields
                .get_named(b"x-sightline-fail-point")
                .is_some()
        {
            panic!("a test asked for it");
        }
    }
}

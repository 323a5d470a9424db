//! Memory that was needed once (descriptors at the start, a large configuration, a burst) goes back to the system.

use std::time::Duration;

/// How long the start may take until what it needed is given back.
const AFTER_START: Duration = Duration::from_secs(2);
/// How often unused memory is given back.
const EVERY: Duration = Duration::from_secs(60);

/// Gives unused memory back again and again, for ever.
pub async fn follow() {
    tokio::time::sleep(AFTER_START).await;
    loop {
        give_back();
        tokio::time::sleep(EVERY).await;
    }
}

/// Gives unused memory of the allocator back.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    trim();
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc has no safe name for this")]
fn trim() {
    // SAFETY: any thread may call it at any time; it takes the allocator's own locks and touches free pages only.
    unsafe {
        libc::malloc_trim(0);
    }
}

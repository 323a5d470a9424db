//! Waiting for something to become true.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until `condition` gives a value, or fails after `deadline` with its last word on what is missing.
pub async fn eventually<T, F>(what: &str, deadline: Duration, mut condition: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > deadline => {
                bail!("{what}: not within {:.1} s: {missing}", deadline.as_secs_f64())
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

//! The journal: one line for each page shown, over plain TCP.
//!
//! A client sends lines and gets `OK NUMBER` for each, until it closes its side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::counters::Counters;

/// Longest line.
const LONGEST: u64 = 1024;

/// A connection that sends nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Pause after an accept error (out of file descriptors, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the stop signal. A connection counts as one request.
pub(crate) async fn serve(listener: TcpListener, mut stop: watch::Receiver<bool>, counters: Arc<Counters>) {
    let lines = Arc::new(AtomicU64::new(0));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let (lines, counters) = (Arc::clone(&lines), Arc::clone(&counters));
        tokio::spawn(async move {
            match tokio::time::timeout(IDLE, attend(stream, &lines, &counters)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("connection ended: {error:#}"),
                Err(_) => tracing::debug!("idle connection closed"),
            }
        });
    }
}

/// The guard of the watched value must not live across the loop's other waits.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A connection that was opened and closed without a byte (somebody looked whether the port is open) does not count.
async fn attend(mut stream: TcpStream, lines: &AtomicU64, counters: &Counters) -> Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut counted = false;
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        if !counted {
            counters.received();
            counted = true;
        }
        if line.last() != Some(&b'\n') {
            bail!("a line is too long or broke off");
        }
        let number = lines.fetch_add(1, Ordering::Relaxed) + 1;
        writer.write_all(format!("OK {number}\n").as_bytes()).await?;
    }
}

/// Writes one line into the journal at `address`; answers its number.
pub(crate) async fn write(address: &str, line: &str) -> Result<u64> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.context("no connection")?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        let number = answer
            .trim()
            .strip_prefix("OK ")
            .and_then(|number| number.parse().ok());
        number.with_context(|| format!("answered {answer:?}"))
    };
    match tokio::time::timeout(DEADLINE, exchange).await {
        Ok(outcome) => outcome.with_context(|| format!("journal at {address}")),
        Err(_) => bail!("journal at {address}: no answer within {} s", DEADLINE.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn lines_are_numbered_and_silent_connections_do_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counters = Arc::new(Counters::new("journal", "v1").unwrap());
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, stopped, Arc::clone(&counters)));
        drop(TcpStream::connect(&address).await.unwrap());
        assert_eq!(write(&address, "VIEW a").await.unwrap(), 1);
        assert_eq!(write(&address, "VIEW b").await.unwrap(), 2);
        assert_eq!(counters.count(), 2);
        assert!(write(&address, &"x".repeat(2000)).await.is_err());
    }
}

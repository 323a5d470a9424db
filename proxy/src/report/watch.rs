//! Learns from the control plane which traces are kept, and asks this proxy's workers for their spans.

use std::time::Duration;

use mesh_xds::kept_traces::{KeptTracesClient, unpack};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::link::Link;
use crate::connect::Backoff;
use crate::record::Records;

/// A control plane that does not know the call is asked again after this.
const UNKNOWN_CALL: Duration = Duration::from_secs(60);

/// Watches until `stop`.
pub async fn run(link: Link, records: Records, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    loop {
        let pause = tokio::select! {
            ended = follow(&link, &records, &mut backoff) => match ended {
                Code::Unimplemented => UNKNOWN_CALL,
                _ => backoff.next(rand::random()),
            },
            () = stop.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One watch to its end, and why it ended.
async fn follow(link: &Link, records: &Records, backoff: &mut Backoff) -> Code {
    let request = match link.request(()) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(%error, "kept traces cannot be watched yet");
            return Code::Unavailable;
        }
    };
    let channel = match link.channel().await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::debug!(%error, "kept traces cannot be watched yet");
            return Code::Unavailable;
        }
    };
    let mut answers = match KeptTracesClient::new(channel).watch(request).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "kept traces cannot be watched");
            return status.code();
        }
    };
    loop {
        match answers.message().await {
            Ok(Some(bytes)) => match unpack(&bytes) {
                Ok(ids) => {
                    backoff.reset();
                    records.ask(&ids);
                }
                Err(error) => {
                    tracing::warn!(%error, "an answer about kept traces is none");
                    return Code::InvalidArgument;
                }
            },
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

//! Sends kept requests and spans: at once, in batches, and bounded when the control plane does not keep up.

use std::collections::VecDeque;
use std::time::Duration;

use mesh_model::record::{KeptRequest, Span};
use mesh_telemetry::otlp;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::link::Link;
use crate::connect::{Backoff, ConnectError};
use crate::record::{Record, Records};

/// What ends within this time goes out together.
const GATHER: Duration = Duration::from_millis(100);
/// Records of one call.
const BATCH: usize = 512;
/// Records of each kind that may wait; beyond that the oldest go.
const WAITING: usize = 4096;
/// Longest wait for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The exporter.
pub struct Exporter {
    link: Link,
    records: Records,
    queue: mpsc::Receiver<Record>,
    spans: VecDeque<Span>,
    requests: VecDeque<KeptRequest>,
    warned: bool,
}

/// What became of a call.
enum Sent {
    /// Taken, or never to be taken.
    Done,
    /// To be sent again.
    Again,
}

impl Exporter {
    /// Sends what comes out of `queue`; `records` counts what is given up.
    #[must_use]
    pub fn new(link: Link, records: Records, queue: mpsc::Receiver<Record>) -> Self {
        Self {
            link,
            records,
            queue,
            spans: VecDeque::new(),
            requests: VecDeque::new(),
            warned: false,
        }
    }

    /// Runs until `stop`; then sends the rest, within [`super::LAST_WAIT`].
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut pause = Duration::ZERO;
        while !stop.is_cancelled() {
            tokio::select! {
                record = self.queue.recv(), if pause.is_zero() => match record {
                    Some(record) => self.take(record),
                    None => break,
                },
                // While the control plane is away, what comes must still be taken in, and the oldest let go.
                () = tokio::time::sleep(pause), if !pause.is_zero() => {}
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = stop.cancelled() => break,
            }
            self.take_all();
            pause = tokio::select! {
                sent = self.flush() => if sent { backoff.reset(); Duration::ZERO } else { backoff.next(rand::random()) },
                () = stop.cancelled() => break,
            };
        }
        let rest = async {
            self.take_all();
            while !self.flush().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(super::LAST_WAIT, rest).await;
        if ended.is_err() {
            tracing::warn!("the last spans and kept requests were not taken in time");
        }
        for span in std::mem::take(&mut self.spans) {
            self.records.note_dropped(&Record::Span(Box::new(span)));
        }
        for request in std::mem::take(&mut self.requests) {
            self.records.note_dropped(&Record::Request(Box::new(request)));
        }
    }

    fn take_all(&mut self) {
        while let Ok(record) = self.queue.try_recv() {
            self.take(record);
        }
    }

    fn take(&mut self, record: Record) {
        let oldest = match record {
            Record::Span(span) => {
                self.spans.push_back(*span);
                (self.spans.len() > WAITING)
                    .then(|| self.spans.pop_front())
                    .flatten()
                    .map(|span| Record::Span(Box::new(span)))
            }
            Record::Request(request) => {
                self.requests.push_back(*request);
                (self.requests.len() > WAITING)
                    .then(|| self.requests.pop_front())
                    .flatten()
                    .map(|request| Record::Request(Box::new(request)))
            }
        };
        if let Some(oldest) = oldest {
            self.records.note_dropped(&oldest);
        }
    }

    /// Sends everything that waits; `false` = the control plane did not take it.
    async fn flush(&mut self) -> bool {
        while !self.requests.is_empty() || !self.spans.is_empty() {
            if !self.send_requests().await || !self.send_spans().await {
                self.link.forget().await;
                return false;
            }
        }
        self.warned = false;
        true
    }

    async fn send_requests(&mut self) -> bool {
        let count = self.requests.len().min(BATCH);
        if count == 0 {
            return true;
        }
        let batch: Vec<KeptRequest> = self.requests.iter().take(count).cloned().collect();
        let link = self.link.clone();
        let sent = async move {
            let channel = link.channel().await?;
            let mut request = link.request(otlp::encode_requests(&batch))?;
            request.set_timeout(CALL_TIMEOUT);
            let mut client =
                LogsServiceClient::new(channel).max_encoding_message_size(otlp::MAX_MESSAGE_BYTES);
            Ok(client.export(request).await.map(|_| ()))
        };
        match self.outcome(sent, "kept requests").await {
            (Sent::Again, _) => false,
            (Sent::Done, taken) => {
                for request in self.requests.drain(..count) {
                    if !taken {
                        self.records.note_dropped(&Record::Request(Box::new(request)));
                    }
                }
                true
            }
        }
    }

    async fn send_spans(&mut self) -> bool {
        let count = self.spans.len().min(BATCH);
        if count == 0 {
            return true;
        }
        let batch: Vec<Span> = self.spans.iter().take(count).cloned().collect();
        let link = self.link.clone();
        let sent = async move {
            let channel = link.channel().await?;
            let mut request = link.request(otlp::encode_spans(&batch))?;
            request.set_timeout(CALL_TIMEOUT);
            let mut client =
                TraceServiceClient::new(channel).max_encoding_message_size(otlp::MAX_MESSAGE_BYTES);
            Ok(client.export(request).await.map(|_| ()))
        };
        match self.outcome(sent, "spans").await {
            (Sent::Again, _) => false,
            (Sent::Done, taken) => {
                for span in self.spans.drain(..count) {
                    if !taken {
                        self.records.note_dropped(&Record::Span(Box::new(span)));
                    }
                }
                true
            }
        }
    }

    /// Runs a call to its end; what became of it, and whether it was taken.
    async fn outcome(
        &mut self,
        call: impl Future<Output = Result<Result<(), tonic::Status>, ConnectError>>,
        what: &str,
    ) -> (Sent, bool) {
        let reason = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(Ok(()))) => return (Sent::Done, true),
            Ok(Ok(Err(status))) => {
                let reason = format!("{:?}: {}", status.code(), status.message());
                if matches!(
                    status.code(),
                    Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange
                ) {
                    if !std::mem::replace(&mut self.warned, true) {
                        tracing::warn!(reason, what, "refused, and lost");
                    }
                    return (Sent::Done, false);
                }
                reason
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(reason, what, "wait for the control plane");
        }
        (Sent::Again, false)
    }
}

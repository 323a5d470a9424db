//! Tells proxies which traces are kept, so that they send the spans which they still hold.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use mesh_model::record::TraceId;
use mesh_telemetry::otlp;
use mesh_xds::kept_traces::{KeptTraces, MAX_IDS, pack};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::recent::Recent;
use super::{Recorder, Taker};

/// Announcements that a slow proxy may lag behind; what it misses then is missing from those traces.
const QUEUE: usize = 1024;
/// For how long proxies hold spans: a proxy that connects late is told what was kept since then.
const HELD: Duration = Duration::from_secs(10);
/// Most ids that are remembered for late ones.
const MAX_LATE: usize = 8192;
/// Traces that are remembered as announced.
const ANNOUNCED: usize = 20_000;

/// A trace and the proxy that kept a request of it.
#[derive(Debug, Clone)]
struct Announced {
    origin: Arc<str>,
    ids: Arc<[TraceId]>,
}

/// Announces kept traces.
#[derive(Debug)]
pub(crate) struct Announcer {
    sender: broadcast::Sender<Announced>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    known: Recent<TraceId>,
    late: VecDeque<(Instant, Announced)>,
    ids: usize,
}

impl Default for Announcer {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(QUEUE),
            memory: Mutex::new(Memory {
                known: Recent::new(ANNOUNCED),
                late: VecDeque::new(),
                ids: 0,
            }),
        }
    }
}

impl Announcer {
    /// `origin` kept requests of these traces: asks all others, once a trace.
    pub(super) fn announce(&self, origin: &str, ids: impl Iterator<Item = TraceId>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Arc<[TraceId]> = ids.filter(|id| memory.known.insert(*id)).collect();
        if ids.is_empty() {
            return;
        }
        let announced = Announced {
            origin: origin.into(),
            ids,
        };
        memory.remember(announced.clone());
        drop(memory);
        // No proxy may be listening.
        let _ = self.sender.send(announced);
    }

    /// What a proxy is told, from what was kept lately on.
    fn watch(&self, proxy: String) -> Watcher {
        // Subscribed first: better twice than never.
        let receiver = self.sender.subscribe();
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = memory.late.iter().filter(|(at, _)| at.elapsed() < HELD);
        let missed = fresh
            .filter(|(_, a)| *a.origin != *proxy)
            .flat_map(|(_, a)| a.ids.iter());
        let pending = missed.copied().collect();
        drop(memory);
        Watcher {
            proxy,
            receiver,
            pending,
        }
    }
}

impl Memory {
    fn remember(&mut self, announced: Announced) {
        self.ids += announced.ids.len();
        self.late.push_back((Instant::now(), announced));
        while let Some((at, oldest)) = self.late.front() {
            if at.elapsed() < HELD && self.ids <= MAX_LATE {
                break;
            }
            self.ids -= oldest.ids.len();
            self.late.pop_front();
        }
    }
}

struct Watcher {
    proxy: String,
    receiver: broadcast::Receiver<Announced>,
    pending: VecDeque<TraceId>,
}

impl Watcher {
    /// The ids of the next answer: everything that is there.
    async fn next(&mut self) -> Option<Vec<TraceId>> {
        while self.pending.is_empty() {
            match self.receiver.recv().await {
                Ok(announced) => self.take(&announced),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(proxy = %self.proxy, missed, "a proxy is slow to hear of kept traces");
                }
                Err(RecvError::Closed) => return None,
            }
        }
        while self.pending.len() < MAX_IDS {
            match self.receiver.try_recv() {
                Ok(announced) => self.take(&announced),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let ids = self.pending.len().min(MAX_IDS);
        Some(self.pending.drain(..ids).collect())
    }

    fn take(&mut self, announced: &Announced) {
        if *announced.origin != *self.proxy {
            self.pending.extend(announced.ids.iter());
        }
    }
}

#[tonic::async_trait]
impl KeptTraces for Taker {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

    async fn watch(&self, request: Request<()>) -> Result<Response<Self::WatchStream>, Status> {
        let recorder: &Recorder = &self.0;
        // A caller that names no proxy hears everything; a name must be its own.
        let proxy = if request.metadata().contains_key(otlp::metadata::PROXY) {
            recorder.proxy(&request).await?
        } else {
            recorder.authenticator.workload(&request).await?;
            String::new()
        };
        let watcher = recorder.announcer.watch(proxy);
        let answers = futures::stream::unfold(watcher, async |mut watcher| {
            let ids = watcher.next().await?;
            Some((Ok(pack(&ids)), watcher))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcer, HELD, MAX_IDS};
    use crate::records::tests::trace;
    use mesh_model::record::TraceId;

    #[tokio::test(start_paused = true)]
    async fn others_are_told_once() {
        let announcer = Announcer::default();
        let (mut a, mut b) = (announcer.watch("a".into()), announcer.watch("b".into()));
        announcer.announce("a", [trace(1), trace(2)].into_iter());
        announcer.announce("b", [trace(2), trace(3)].into_iter());
        assert_eq!(b.next().await, Some(vec![trace(1), trace(2)]));
        assert_eq!(a.next().await, Some(vec![trace(3)]));
        // Late ones hear what rings may still hold.
        let mut c = announcer.watch("c".into());
        assert_eq!(c.next().await, Some(vec![trace(1), trace(2), trace(3)]));
        tokio::time::advance(HELD).await;
        let mut d = announcer.watch("d".into());
        announcer.announce("a", [trace(4)].into_iter());
        assert_eq!(d.next().await, Some(vec![trace(4)]));
    }

    #[tokio::test]
    async fn answers_are_bounded() {
        let announcer = Announcer::default();
        let mut watcher = announcer.watch("b".into());
        let id = |n: usize| {
            let mut bytes = [1; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            TraceId(bytes)
        };
        announcer.announce("a", (0..MAX_IDS + 1).map(id));
        assert_eq!(watcher.next().await.map(|ids| ids.len()), Some(MAX_IDS));
        assert_eq!(watcher.next().await, Some(vec![id(MAX_IDS)]));
    }
}

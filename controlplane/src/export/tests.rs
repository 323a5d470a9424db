#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{BATCH, Deliver, Exporter, Failed, QUEUE, parse};
use crate::metrics::Metrics;
use crate::records::tests::span;

type Outcome = Result<(u64, Option<String>), Failed>;

/// Answers as told, then always well; notes the sizes of batches.
#[derive(Clone, Default)]
struct Fake {
    outcomes: Arc<Mutex<VecDeque<Outcome>>>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Deliver for Fake {
    async fn deliver(&mut self, spans: &[Arc<super::Span>]) -> Outcome {
        self.batches.lock().unwrap().push(spans.len());
        let next = self.outcomes.lock().unwrap().pop_front();
        next.unwrap_or(Ok((0, None)))
    }
}

fn failed(retry: bool) -> Outcome {
    Err(Failed {
        retry,
        reason: "no".into(),
    })
}

fn spans(n: usize) -> Vec<Arc<super::Span>> {
    (0..n).map(|_| Arc::new(span(1, 1, 1))).collect()
}

/// (sent, dropped, queued, failing)
async fn check(outcomes: Vec<Outcome>, offered: usize, wanted: (u64, u64, u64, bool), batches: &[usize]) {
    let exporter = Arc::new(Exporter::new("otlp", "http://127.0.0.1:4317/".into()));
    let fake = Fake::default();
    fake.outcomes.lock().unwrap().extend(outcomes);
    let task = tokio::spawn(Arc::clone(&exporter).run(fake.clone(), Arc::new(Metrics::new().unwrap())));
    exporter.offer(&spans(offered));
    // Paused time: everything that can happen happens.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let status = exporter.status();
    assert_eq!(
        (status.sent, status.dropped, status.queued, status.error.is_some()),
        wanted
    );
    assert_eq!(*fake.batches.lock().unwrap(), batches);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn what_arrives_is_counted() {
    check(vec![], 3, (3, 0, 0, false), &[3]).await;
    check(vec![], BATCH + 1, (513, 0, 0, false), &[BATCH, 1]).await;
    check(vec![Ok((2, Some("too old".into())))], 3, (1, 2, 0, true), &[3]).await;
    check(vec![failed(true), failed(true)], 3, (3, 0, 0, false), &[3, 3, 3]).await;
    check(vec![failed(false)], 3, (0, 3, 0, true), &[3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_collector_costs_bounded_memory() {
    let dead = std::iter::repeat_with(|| failed(true)).take(100).collect();
    // The queue loses its oldest before the task begins.
    check(dead, QUEUE + 7, (0, 7, 10_000, true), &[BATCH; 4]).await;
}

/// (sent, dropped), and how long the end took, with a deadline of 400 ms.
async fn check_end(
    outcomes: Vec<Outcome>,
    slow_ms: u64,
    offered: usize,
    wanted: (u64, u64),
    longest_ms: u64,
) {
    let exporter = Arc::new(Exporter::new("otlp", "http://127.0.0.1:4317/".into()));
    let fake = Fake::default();
    fake.outcomes.lock().unwrap().extend(outcomes);
    let slow = Slow(fake, slow_ms);
    let task = tokio::spawn(Arc::clone(&exporter).run(slow, Arc::new(Metrics::new().unwrap())));
    exporter.offer(&spans(offered));
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let began = tokio::time::Instant::now();
    let exporters = super::Exporters(Arc::new(vec![Arc::clone(&exporter)]));
    exporters.flush(std::time::Duration::from_millis(400)).await;
    let took = began.elapsed().as_millis();
    assert!(took <= u128::from(longest_ms), "{took} ms");
    let status = exporter.status();
    assert_eq!(
        (status.sent, status.dropped, status.queued),
        (wanted.0, wanted.1, 0)
    );
    task.abort();
}

/// Takes its time for each batch.
struct Slow(Fake, u64);

impl Deliver for Slow {
    async fn deliver(&mut self, spans: &[Arc<super::Span>]) -> Outcome {
        tokio::time::sleep(std::time::Duration::from_millis(self.1)).await;
        self.0.deliver(spans).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_delivers_what_waits_within_a_deadline() {
    check_end(vec![], 1, 0, (0, 0), 0).await;
    check_end(vec![], 1, 2 * BATCH + 1, (1025, 0), 4).await;
    // Three answers in time, two not.
    check_end(vec![], 120, 5 * BATCH, (1536, 1024), 400).await;
    check_end(vec![], 60_000, 3, (0, 3), 400).await;
    // One attempt each, no pauses.
    check_end(vec![failed(true), failed(true)], 1, 3 * BATCH, (512, 1024), 4).await;
}

#[track_caller]
fn endpoint(kind: &str, text: &str, wanted: Result<&str, &str>) {
    match (parse(kind, text), wanted) {
        (Ok(uri), Ok(wanted)) => assert_eq!(uri.to_string(), wanted),
        (Err(error), Err(part)) => assert!(format!("{error:#}").contains(part), "{error:#}"),
        (got, _) => panic!("{kind} {text}: {got:?}"),
    }
}

#[test]
fn endpoints() {
    endpoint("otlp", "http://127.0.0.1:4317", Ok("http://127.0.0.1:4317/"));
    endpoint(
        "zipkin",
        "http://127.0.0.1:9411",
        Ok("http://127.0.0.1:9411/api/v2/spans"),
    );
    endpoint("zipkin", "https://z.example/x", Ok("https://z.example/x"));
    endpoint("otlp", "http://127.0.0.1:4317/v1/traces", Err("no path"));
    endpoint("otlp", "127.0.0.1:4317", Err("127.0.0.1:4317"));
    endpoint("otlp", "ftp://a", Err("http(s)"));
    endpoint("zipkin", "http://user:secret@a/", Err("credentials"));
}

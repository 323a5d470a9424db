//! The open loop: what is due is sent, on a connection from a bounded pool.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::arguments::{Arguments, Target};
use crate::counts::{Counts, Unsent};

/// Requests that may wait for a connection; more than that are not sent, and counted.
const WAITING: usize = 4096;

/// How long outstanding answers are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

type Sender = SendRequest<Empty<Bytes>>;

/// Sends until `stop` or for the time asked, then waits for what is outstanding.
pub(crate) async fn run(
    arguments: &Arguments,
    target: &Target,
    counts: &Arc<Counts>,
    stop: impl Future<Output = ()>,
) {
    let pool = Arc::new(Pool {
        address: target.address.clone(),
        host: target.host.clone(),
        idle: Mutex::new(Vec::new()),
        slots: Semaphore::new(usize::from(arguments.connections)),
        timeout: arguments.timeout,
    });
    let mut tasks = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / arguments.rps));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = arguments.length.map(|length| Instant::now() + length);
    let mut paths = arguments.paths.iter().cycle();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = at(end) => break,
            Some(_) = tasks.join_next() => {}
            due = ticks.tick() => {
                let Some(path) = paths.next() else { break };
                if tasks.len() >= WAITING {
                    counts.unsent(Unsent::Overload);
                    continue;
                }
                tasks.spawn(one(Arc::clone(&pool), Arc::clone(counts), path.clone(), due));
            }
        }
    }
    // What still waits for a connection is never sent.
    pool.slots.close();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, all).await.is_err() {
        // Each request's guard counts it as unanswered.
        tasks.shutdown().await;
    }
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Connections that may be used again, and room for more.
struct Pool {
    address: String,
    host: String,
    idle: Mutex<Vec<Sender>>,
    slots: Semaphore,
    timeout: Duration,
}

impl Pool {
    fn idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn put_back(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sender);
        }
    }

    async fn connect(&self) -> Option<Sender> {
        let connect = async {
            let stream = TcpStream::connect(&self.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .ok()?;
            tokio::spawn(connection);
            Some(sender)
        };
        tokio::time::timeout(CONNECT, connect).await.ok().flatten()
    }

    fn request(&self, path: &str) -> Option<Request<Empty<Bytes>>> {
        Request::get(path)
            .header(header::HOST, &self.host)
            .header(
                header::USER_AGENT,
                concat!("sightline-loadgen/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::new())
            .ok()
    }
}

/// One request from due to counted.
async fn one(pool: Arc<Pool>, counts: Arc<Counts>, path: String, due: Instant) {
    let Ok(_slot) = pool.slots.acquire().await else {
        return;
    };
    loop {
        let (kept, sender) = match pool.idle() {
            Some(sender) => (true, Some(sender)),
            None => (false, pool.connect().await),
        };
        let (Some(mut sender), Some(request)) = (sender, pool.request(&path)) else {
            counts.unsent(Unsent::Connect);
            return;
        };
        // Counts when it goes out of scope, so that a request that is cut off at the end is counted, too.
        let mut outcome = Outcome {
            counts: &counts,
            path: &path,
            due,
            state: State::NoAnswer,
        };
        match tokio::time::timeout(pool.timeout, exchange(&mut sender, request)).await {
            Ok(Ok(status)) => {
                outcome.state = State::Answered(status);
                pool.put_back(sender);
            }
            // The connection was closed before the request was written: it was never sent.
            Ok(Err(Failure::Unsent)) => {
                outcome.state = State::Unsent;
                if kept {
                    continue;
                }
                counts.unsent(Unsent::Connect);
            }
            Ok(Err(Failure::NoAnswer)) | Err(_) => {}
        }
        return;
    }
}

/// Why there is no whole answer.
enum Failure {
    /// Nothing of the request was written.
    Unsent,
    /// The connection ended before the answer did.
    NoAnswer,
}

/// Sends the request and reads the whole answer.
async fn exchange(sender: &mut Sender, request: Request<Empty<Bytes>>) -> Result<u16, Failure> {
    let response = sender.try_send_request(request).await.map_err(|error| {
        if error.message().is_some() {
            Failure::Unsent
        } else {
            Failure::NoAnswer
        }
    })?;
    let status = response.status().as_u16();
    response
        .into_body()
        .collect()
        .await
        .map_err(|_| Failure::NoAnswer)?;
    Ok(status)
}

/// How far a request came.
enum State {
    NoAnswer,
    Unsent,
    Answered(u16),
}

/// Counts one request, exactly once, when dropped.
struct Outcome<'a> {
    counts: &'a Counts,
    path: &'a str,
    due: Instant,
    state: State,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let status = match self.state {
            State::Unsent => return,
            State::NoAnswer => 0,
            State::Answered(status) => status,
        };
        self.counts.completed(self.path, status, self.due.elapsed());
    }
}

//! How long a client may keep a body waiting: the timers that end slow clients.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Failure;
use crate::worker::{Connection, Registered};

/// The rate is judged once a client has been waited for this long in all.
const GRACE: Duration = Duration::from_secs(30);

/// What a client is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Longest pause of a request body whose length was announced.
    pub(crate) announced: Duration,
    /// Longest pause of any other body: a stream of messages may be silent for a while.
    pub(crate) open: Duration,
    /// Longest time in which nothing of an answer is taken.
    pub(crate) answer: Duration,
    /// Fewest bytes a second of an announced body, over all the time that it was waited for.
    pub(crate) rate: u64,
}

impl Limits {
    /// What holds at edges when nothing is configured.
    pub(crate) const EDGE: Self = Self {
        announced: Duration::from_secs(30),
        open: Duration::from_secs(300),
        answer: Duration::from_secs(30),
        rate: 240,
    };

    /// One configured limit for everything.
    pub(crate) const fn idle(limit: Duration) -> Self {
        Self {
            announced: limit,
            open: limit,
            answer: limit,
            rate: 0,
        }
    }
}

/// Who wakes the task at the deadline.
enum Timer {
    /// The connection has one request at a time.
    Shared(Rc<Connection>),
    /// One stream of many.
    Own(Registered),
}

/// The patience with one client's request.
pub(crate) struct Patience {
    timer: Timer,
    limits: Limits,
    announced: bool,
    since: Option<Instant>,
    waited: Duration,
    received: u64,
}

impl Patience {
    /// For a request on a connection of its own; `announced` = the body's length is known.
    pub(crate) fn of_connection(connection: &Rc<Connection>, limits: Limits, announced: bool) -> Self {
        Self::new(Timer::Shared(Rc::clone(connection)), limits, announced)
    }

    /// For one stream of many.
    pub(crate) fn of_stream(registered: Registered, limits: Limits, announced: bool) -> Self {
        Self::new(Timer::Own(registered), limits, announced)
    }

    fn new(timer: Timer, limits: Limits, announced: bool) -> Self {
        Self {
            timer,
            limits,
            announced,
            since: None,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    fn connection(&self) -> &Connection {
        match &self.timer {
            Timer::Shared(connection) => connection,
            Timer::Own(registered) => &registered.connection,
        }
    }

    /// Watches the reading of the request body; `received` = bytes that lie ready.
    pub(crate) fn reading<T>(
        &mut self,
        cx: &Context<'_>,
        polled: Poll<Result<T, Failure>>,
        received: usize,
    ) -> Poll<Result<T, Failure>> {
        if polled.is_pending() {
            let limit = if self.announced {
                self.limits.announced
            } else {
                self.limits.open
            };
            return self.wait(cx, limit);
        }
        self.moved();
        self.received += received as u64;
        let least = self.limits.rate.saturating_mul(self.waited.as_secs());
        if self.announced && self.waited > GRACE && self.received < least {
            return Poll::Ready(Err(Failure::Stalled));
        }
        polled
    }

    /// Watches the writing of the answer.
    pub(crate) fn writing<T>(
        &mut self,
        cx: &Context<'_>,
        polled: Poll<Result<T, Failure>>,
    ) -> Poll<Result<T, Failure>> {
        if polled.is_pending() {
            return self.wait(cx, self.limits.answer);
        }
        self.moved();
        polled
    }

    fn wait<T>(&mut self, cx: &Context<'_>, limit: Duration) -> Poll<Result<T, Failure>> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.connection().set_deadline(Some(since + limit));
        self.connection()
            .poll_deadline(cx)
            .map(|()| Err(Failure::Stalled))
    }

    fn moved(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
            self.connection().set_deadline(None);
        }
    }
}

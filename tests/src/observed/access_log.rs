//! Access-log lines of all proxies, found again by user agent or by the caller's socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::outcome::LogLine;

/// Lines of one proxy, in the order they were written.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Arc<Mutex<Vec<LogLine>>>);

/// How a request is told in a log.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Its user agent.
    pub agent: String,
    /// Its caller's socket.
    pub local: Option<SocketAddr>,
    /// Lines before its step are not its.
    pub from: usize,
}

impl AccessLog {
    /// Takes one line of a proxy's output; anything but an access-log line is passed over.
    pub fn push(&self, text: &str) {
        if let Ok(Value::Object(line)) = serde_json::from_str::<Value>(text)
            && line.contains_key("response_flags")
        {
            self.lines().push(line);
        }
    }

    /// Number of lines so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines().len()
    }

    /// Whether nothing was logged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The line of a request: by user agent, else by socket.
    #[must_use]
    pub fn find(&self, mark: &Mark) -> Option<LogLine> {
        let lines = self.lines();
        let after = lines.get(mark.from..).unwrap_or_default();
        let is =
            |line: &LogLine, name: &str, wanted: &str| line.get(name).and_then(Value::as_str) == Some(wanted);
        let by_agent = after.iter().find(|line| is(line, "user_agent", &mark.agent));
        let by_socket = || {
            let local = mark.local?.to_string();
            after
                .iter()
                .find(|line| is(line, "downstream_remote_address", &local))
        };
        by_agent.or_else(by_socket).cloned()
    }

    /// Whether both are the log of the same proxy.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

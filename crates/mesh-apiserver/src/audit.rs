//! Who wrote what: `GET /audit/v1/writes`.
//!
//! Kubernetes' objects name only the field manager of a write, not the user. The control plane, which keeps the
//! history of the configuration, learns the user here: a list of writes in the order of their revisions. It is no
//! resource (discovery does not list it, and it is outside `/apis`, which everybody may read); the right to it is `get`
//! on the non-resource URL of its path.

use std::time::Duration;

use http::Response;
use serde_json::{Map, Value, json};

use crate::App;
use crate::reply::{Accept, Body, respond};
use crate::status::Refusal;
use crate::store::Write;

/// The path.
pub(crate) const PATH: [&str; 3] = ["audit", "v1", "writes"];
/// Rows of an answer unless the caller says otherwise, and at most.
const LIMIT: i64 = 500;
const MOST: i64 = 5_000;
/// The longest wait for something new.
const PATIENCE: u64 = 30;

/// What the query asks for.
struct Asked {
    since: i64,
    limit: i64,
    wait: Duration,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut asked = Self {
            since: 0,
            limit: LIMIT,
            wait: Duration::ZERO,
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || {
                value.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(|| {
                    Refusal::bad_request(format!(
                        "{key}: {value:?} is no number: give a revision for since, a count for limit, seconds for timeoutSeconds"
                    ))
                })
            };
            match &*key {
                "since" if value.is_empty() => {}
                "since" => asked.since = number()?,
                "limit" => asked.limit = number()?.clamp(1, MOST),
                "timeoutSeconds" => asked.wait = Duration::from_secs(number()?.unsigned_abs().min(PATIENCE)),
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// Answers with the writes after a revision; with `timeoutSeconds` it waits that long for the first.
pub(crate) async fn writes(app: &App, query: &str, accept: Accept) -> Result<Response<Body>, Refusal> {
    let asked = Asked::parse(query)?;
    let deadline = tokio::time::Instant::now() + asked.wait;
    // Subscribed before the table is read, so that nothing falls between.
    let mut news = app.store.subscribe();
    loop {
        // What the answer covers even when none of it is recorded.
        let covered = app.store.revision();
        let rows = app.store.writes_after(asked.since, asked.limit).await?;
        let stopping = app.stop.is_cancelled() || tokio::time::Instant::now() >= deadline;
        if !rows.is_empty() || stopping {
            let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= asked.limit;
            let last = rows.last().map_or(0, |row| row.revision);
            let covered = if full { last } else { covered.max(last) };
            return Ok(respond(200, &list(&rows, covered.max(asked.since), full), accept));
        }
        tokio::select! {
            _ = news.recv() => {}
            () = app.stop.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

fn list(rows: &[Write], covered: i64, more: bool) -> Value {
    json!({
        "kind": "WriteList",
        "apiVersion": "audit.sightline.io/v1",
        "metadata": {"resourceVersion": covered.to_string(), "more": more},
        "items": rows.iter().map(item).collect::<Vec<_>>(),
    })
}

fn item(row: &Write) -> Value {
    let time = jiff::Timestamp::from_millisecond(row.at).unwrap_or_default();
    let fields = [
        ("time", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
        ("user", row.author.user.clone()),
        ("verb", row.author.verb.to_owned()),
        ("apiVersion", row.api_version.clone()),
        ("kind", row.kind.clone()),
        ("namespace", row.namespace.clone()),
        ("name", row.name.clone()),
        ("uid", row.uid.clone()),
        ("resourceVersion", row.revision.to_string()),
        ("manager", row.author.manager.clone()),
        ("subresource", row.author.subresource.clone()),
    ];
    let mut item: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    item.insert("deleted".into(), row.gone.into());
    Value::Object(item)
}

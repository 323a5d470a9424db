//! watch: the changes after a revision, then new ones as they happen.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use crate::handle::Call;
use crate::read::{parse_version, selectors};
use crate::reply::{Body, Form, partial, plain, versioned};
use crate::selector::{Fields, Labels};
use crate::status::{Cause, Refusal};
use crate::store::{Change, Range, StoreError};
use crate::table;

/// Events that wait for a slow client before the watch stops reading the store.
const QUEUE: usize = 64;
/// Changes read from the store at a time.
const BATCH: i64 = 500;
/// Between bookmarks.
const BOOKMARK: Duration = Duration::from_secs(30);
/// A client that takes nothing for this long is cut off.
const STALLED: Duration = Duration::from_secs(60);

/// Answers `watch`.
pub(crate) async fn watch(call: Call) -> Result<Response<Body>, Refusal> {
    let (labels, fields) = selectors(&call)?;
    check_options(&call)?;
    let asked = parse_version(&call.params.resource_version).map_err(Refusal::unreasoned)?;
    // Subscribed before anything is read, so that no change falls between.
    let live = call.app.store.subscribe();
    let seconds = call
        .params
        .timeout_seconds
        .filter(|s| *s > 0)
        .unwrap_or_else(|| 1800 + rand::Rng::random_range(&mut rand::rng(), 0..1800));
    let (sender, receiver) = mpsc::channel(QUEUE);
    let watch = Watch {
        deadline: Instant::now() + Duration::from_secs(seconds),
        initial: call.params.send_initial_events == Some(true) || asked == 0,
        announce: call.params.send_initial_events == Some(true) && call.params.bookmarks,
        seen: asked,
        live,
        labels,
        fields,
        sender,
        columns_sent: false,
        call,
    };
    tokio::spawn(watch.run());
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver
            .recv()
            .await
            .map(|bytes| (Ok(Frame::data(bytes)), receiver))
    });
    let mut response = plain(200, "application/json", "");
    *response.body_mut() = StreamBody::new(frames.boxed()).boxed_unsync();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn check_options(call: &Call) -> Result<(), Refusal> {
    let params = &call.params;
    let refuse = |field: &str, detail: &str| {
        Err(Refusal::invalid_kind(
            "meta.k8s.io",
            "ListOptions",
            "",
            &[Cause::forbidden(field, detail)],
        ))
    };
    match params.send_initial_events {
        Some(_) if params.resource_version_match != "NotOlderThan" => refuse(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        None if !params.resource_version_match.is_empty() => refuse(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        _ => Ok(()),
    }
}

/// The watch is over; no error.
struct Ended;

struct Watch {
    call: Call,
    labels: Labels,
    fields: Fields,
    live: broadcast::Receiver<Arc<Change>>,
    sender: mpsc::Sender<Bytes>,
    deadline: Instant,
    initial: bool,
    announce: bool,
    /// The newest revision that the client knows of.
    seen: i64,
    columns_sent: bool,
}

impl Watch {
    async fn run(mut self) {
        if self.initial && self.send_initial().await.is_err() {
            return;
        }
        if !self.initial && self.replay().await.is_err() {
            return;
        }
        let _ = self.follow().await;
    }

    fn namespace(&self) -> Option<&str> {
        (!self.call.target.namespace.is_empty()).then_some(self.call.target.namespace.as_str())
    }

    async fn send_initial(&mut self) -> Result<(), Ended> {
        let app = Arc::clone(&self.call.app);
        let mut range = Range {
            namespace: self.namespace().map(str::to_owned),
            name: self.fields.name().map(str::to_owned),
            ..Range::default()
        };
        let mut snapshot = match app.store.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => return self.fail(error).await,
        };
        let mut found = Vec::new();
        loop {
            let batch = match snapshot
                .list(self.call.target.resource.storage, &range, BATCH)
                .await
            {
                Ok(batch) => batch,
                Err(error) => return self.fail(error).await,
            };
            let full = i64::try_from(batch.len()).unwrap_or(BATCH) >= BATCH;
            for (namespace, name, object) in batch {
                range.after = Some((namespace, name));
                if self.matches(&object) {
                    found.push(object);
                }
            }
            if !full {
                break;
            }
        }
        self.seen = snapshot.revision;
        // The read transaction ends before a slow client can hold it.
        drop(snapshot);
        for object in found {
            self.send("ADDED", object).await?;
        }
        if self.announce {
            self.bookmark(true).await?;
        }
        Ok(())
    }

    /// Sends what the table has after `seen`.
    async fn replay(&mut self) -> Result<(), Ended> {
        let app = Arc::clone(&self.call.app);
        let namespace = self.namespace().map(str::to_owned);
        loop {
            let resource = self.call.target.resource.storage;
            let changes = match app
                .store
                .changes_after(resource, namespace.as_deref(), self.seen, BATCH)
                .await
            {
                Ok(changes) => changes,
                Err(error) => return self.fail(error).await,
            };
            let full = i64::try_from(changes.len()).unwrap_or(BATCH) >= BATCH;
            for change in &changes {
                self.change(change).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Ended> {
        let stop = self.call.app.stop.clone();
        let mut next_bookmark = Instant::now() + BOOKMARK;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Ended),
                () = self.sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(self.deadline) => {
                    if self.call.params.bookmarks {
                        self.bookmark(false).await?;
                    }
                    return Err(Ended);
                }
                () = tokio::time::sleep_until(next_bookmark), if self.call.params.bookmarks => {
                    self.bookmark(false).await?;
                    next_bookmark = Instant::now() + BOOKMARK;
                }
                change = self.live.recv() => match change {
                    Ok(change) if self.concerns(&change) => self.change(&change).await?,
                    // Changes arrive in order, so whatever came before this one is known, too.
                    Ok(change) => self.seen = self.seen.max(change.revision),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.replay().await?,
                    Err(broadcast::error::RecvError::Closed) => return Err(Ended),
                },
            }
        }
    }

    fn concerns(&self, change: &Change) -> bool {
        change.revision > self.seen
            && &*change.resource == self.call.target.resource.storage
            && self.namespace().is_none_or(|n| n == &*change.namespace)
    }

    fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// What a change is to this watch: objects come and go through its selector, too.
    async fn change(&mut self, change: &Change) -> Result<(), Ended> {
        self.seen = self.seen.max(change.revision);
        let before = change.previous.as_deref().is_some_and(|p| self.matches(p));
        let after = !change.deleted && self.matches(&change.object);
        match (before, after) {
            (false, true) => self.send("ADDED", (*change.object).clone()).await,
            (true, true) => self.send("MODIFIED", (*change.object).clone()).await,
            (true, false) => {
                // As it was when it last matched, with the revision at which it stopped.
                let mut last = match (&change.previous, change.deleted) {
                    (Some(previous), false) => (**previous).clone(),
                    _ => (*change.object).clone(),
                };
                crate::object::set_metadata(&mut last, "resourceVersion", change.revision.to_string());
                self.send("DELETED", last).await
            }
            (false, false) => Ok(()),
        }
    }

    async fn send(&mut self, kind: &str, object: Value) -> Result<(), Ended> {
        let resource = self.call.target.resource;
        let object = versioned(object, resource, &self.call.target.version);
        let object = match self.call.accept.form {
            Form::Full => object,
            Form::Partial => partial(object),
            Form::Table => {
                let mut table = table::one(resource, object, &self.call.params.include_object);
                if self.columns_sent
                    && let Some(map) = table.as_object_mut()
                {
                    map.insert("columnDefinitions".into(), Value::Null);
                }
                self.columns_sent = true;
                table
            }
        };
        self.emit(&json!({"type": kind, "object": object})).await
    }

    async fn bookmark(&mut self, initial_end: bool) -> Result<(), Ended> {
        let resource = self.call.target.resource;
        let mut metadata = json!({"resourceVersion": self.seen.to_string()});
        if let (true, Some(map)) = (initial_end, metadata.as_object_mut()) {
            map.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let (kind, api_version) = match self.call.accept.form {
            Form::Partial => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            _ => (resource.kind, resource.api_version(&self.call.target.version)),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.emit(&json!({"type": "BOOKMARK", "object": object})).await
    }

    async fn fail(&mut self, error: StoreError) -> Result<(), Ended> {
        let body = Refusal::from(error).body();
        self.emit(&json!({"type": "ERROR", "object": body})).await?;
        Err(Ended)
    }

    async fn emit(&mut self, event: &Value) -> Result<(), Ended> {
        let mut text = event.to_string();
        text.push('\n');
        match tokio::time::timeout(STALLED, self.sender.send(text.into())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Ended),
        }
    }
}

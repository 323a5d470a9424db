//! Who wrote a state: asked of the embedded API server, which sees the user. A Kubernetes API server does not tell;
//! there the field manager is all that is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_store::records::Revision;
use serde::Deserialize;

/// Time that the answer may take; without it, the revision is recorded without a user.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks who wrote.
pub(super) struct Audit {
    client: kube::Client,
    /// The server does not tell.
    silent: AtomicBool,
}

/// Who wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Author {
    pub(super) user: String,
    pub(super) manager: String,
    resource_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Writes {
    items: Vec<Author>,
}

impl Audit {
    pub(super) fn new(client: kube::Client) -> Self {
        Self {
            client,
            silent: AtomicBool::new(false),
        }
    }

    pub(super) async fn author(&self, revision: &Revision) -> Option<Author> {
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        // Only the embedded server answers, and its versions are numbers.
        let version: u64 = revision.resource_version.parse().ok()?;
        let path = format!("/audit/v1/writes?since={}&limit=1", version.checked_sub(1)?);
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request::<Writes>(request)).await;
        match answer {
            Ok(Ok(writes)) => {
                let mut items = writes.items.into_iter();
                items.find(|author| author.resource_version == revision.resource_version)
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                self.silent.store(true, Ordering::Relaxed);
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

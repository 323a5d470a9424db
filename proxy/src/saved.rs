//! The last good configuration on disk: the resources as they came, so that a restart without a control plane serves.
//! Keys are never in it: secrets do not travel by discovery.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_xds::Any;
use prost::Message as _;

use crate::discovery::state::{Kind, State};

const FILE: &str = "configuration.pb";
/// First bytes of the file: format and version.
const MAGIC: &[u8; 8] = b"SLCONF\x00\x01";

/// Why a saved configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// The file is damaged or of another version.
    #[error("{0}: {1}; remove it")]
    Damaged(String, String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Document {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(string, tag = "2")]
    revision: String,
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, optional, tag = "3")]
    resource: Option<Any>,
}

/// A loaded configuration.
#[derive(Debug)]
pub struct Saved {
    /// The resources.
    pub state: State,
    /// When it was applied.
    pub at: SystemTime,
}

/// Writes the configuration beside the old one, then takes its place.
pub fn store(folder: &Path, node: &str, state: &State, at: SystemTime) -> Result<(), SavedError> {
    let resources = state
        .resources()
        .into_iter()
        .map(|(_, name, version, any)| Entry {
            name,
            version,
            resource: Some(Any::clone(&any)),
        })
        .collect();
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let document = Document {
        node: node.to_owned(),
        revision: state.revision.clone(),
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        resources,
    };
    let path = folder.join(FILE);
    let failed = |e| SavedError::Io(path.display().to_string(), e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let next = folder.join(format!("{FILE}.next"));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)
        .map_err(failed)?;
    file.write_all(MAGIC)
        .and_then(|()| file.write_all(&document.encode_to_vec()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&next, &path))
        .map_err(failed)
}

/// Reads the configuration of this node; `None` when there is none, or only another node's.
pub fn load(folder: &Path, node: &str) -> Result<Option<Saved>, SavedError> {
    let path = folder.join(FILE);
    let name = || path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SavedError::Io(name(), error)),
    };
    let damaged = |reason: String| SavedError::Damaged(name(), reason);
    let body = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("has another format".into()))?;
    let document = Document::decode(body).map_err(|e| damaged(e.to_string()))?;
    if document.node != node {
        return Ok(None);
    }
    let mut state = State::of_revision(document.revision);
    for entry in document.resources {
        let any = entry
            .resource
            .ok_or_else(|| damaged(format!("{:?} has no body", entry.name)))?;
        let kind = Kind::of(&any.type_url).ok_or_else(|| damaged(format!("type {:?}", any.type_url)))?;
        state
            .put(kind, &entry.name, &entry.version, Arc::new(any))
            .map_err(|e| damaged(e.to_string()))?;
    }
    state.assume_answered();
    Ok(Some(Saved {
        state,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(document.at_ms),
    }))
}

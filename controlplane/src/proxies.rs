//! The table of proxies: who is connected, what each runs, when it last reported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_api::config::{Propagation, Refusal};
use mesh_model::identity::SpiffeId;

use crate::clock::rfc3339;
use crate::inventory::Connected;
use crate::publish::Published;
use crate::session::State;

/// Most proxies in the table; beyond it the longest gone are forgotten.
const MAX: usize = 10_000;
/// For how long a disconnected proxy is shown.
const KEPT_MS: u64 = 3_600_000;

/// Facts of one proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) kind: String,
    pub(crate) version: String,
    pub(crate) identity: Option<SpiffeId>,
    pub(crate) certificate_expires_ms: u64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    facts: Facts,
    /// Number of the stream that owns the entry; 0 when disconnected.
    stream: u64,
    synced: bool,
    refused: Option<String>,
    revision: String,
    generation: u64,
    /// VirtualServices that it should run.
    virtual_services: BTreeMap<String, String>,
    /// What it should run.
    published: Option<Arc<Published>>,
    last_seen_ms: u64,
    last_flush_ms: u64,
}

/// A connected proxy with what it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Node id.
    pub(crate) id: String,
    /// `namespace/workload`.
    pub(crate) workload: String,
    /// It is a gateway.
    pub(crate) gateway: bool,
    /// Address of the pod.
    pub(crate) address: std::net::IpAddr,
    /// URI that it proves.
    pub(crate) identity: Option<String>,
    /// What it should run.
    pub(crate) published: Arc<Published>,
}

impl Running {
    /// Whether it belongs to this workload (`namespace/workload`, or the name alone).
    pub(crate) fn is(&self, name: &str) -> bool {
        self.workload == name || self.workload.split_once('/').is_some_and(|(_, own)| own == name)
    }
}

/// The table; every method is short and never waits.
#[derive(Debug, Default)]
pub(crate) struct Proxies(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<String, Entry>,
    streams: u64,
}

/// What a session tells.
#[derive(Debug, Clone)]
pub(crate) struct Progress<'p> {
    pub(crate) state: State,
    pub(crate) revision: &'p str,
    pub(crate) generation: u64,
    pub(crate) virtual_services: &'p BTreeMap<String, String>,
    pub(crate) published: Option<&'p Arc<Published>>,
}

impl Proxies {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while it was held cannot leave it half changed: every change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream opened; answers its number.
    pub(crate) fn connected(&self, id: &str, facts: Facts, now_ms: u64) -> u64 {
        let mut table = self.table();
        table.streams += 1;
        let stream = table.streams;
        table.forget(now_ms);
        let entry = table.entries.entry(id.to_owned()).or_default();
        entry.facts = facts;
        entry.stream = stream;
        entry.synced = false;
        entry.refused = None;
        entry.last_seen_ms = now_ms;
        stream
    }

    /// A stream ended; a newer one of the same proxy keeps the entry.
    pub(crate) fn disconnected(&self, id: &str, stream: u64, now_ms: u64) {
        if let Some(entry) = self.table().entries.get_mut(id).filter(|e| e.stream == stream) {
            entry.stream = 0;
            entry.published = None;
            entry.last_seen_ms = now_ms;
        }
    }

    pub(crate) fn progress(&self, id: &str, stream: u64, progress: &Progress<'_>, now_ms: u64) {
        if let Some(entry) = self.table().entries.get_mut(id).filter(|e| e.stream == stream) {
            entry.synced = progress.state == State::Synced;
            entry.refused = match &progress.state {
                State::Refused(reason) => Some(reason.clone()),
                State::Synced | State::Stale => None,
            };
            progress.revision.clone_into(&mut entry.revision);
            entry.generation = progress.generation;
            entry.published = progress.published.cloned();
            if entry.virtual_services != *progress.virtual_services {
                entry.virtual_services = progress.virtual_services.clone();
            }
            entry.last_seen_ms = now_ms;
        }
    }

    /// Telemetry came; `cut_ms` is the proxy's clock.
    pub(crate) fn flushed(&self, id: &str, cut_ms: u64) {
        if let Some(entry) = self.table().entries.get_mut(id) {
            entry.last_flush_ms = entry.last_flush_ms.max(cut_ms);
        }
    }

    /// Last flush by proxy, of those that have flushed.
    pub(crate) fn flushes(&self) -> BTreeMap<String, u64> {
        let table = self.table();
        let flushed = table.entries.iter().filter(|(_, e)| e.last_flush_ms != 0);
        flushed.map(|(id, e)| (id.clone(), e.last_flush_ms)).collect()
    }

    /// `namespace/workload` of a proxy, if it has been seen.
    pub(crate) fn workload(&self, id: &str) -> Option<(String, String)> {
        let table = self.table();
        let facts = &table.entries.get(id)?.facts;
        Some((facts.namespace.clone(), facts.workload.clone()))
    }

    /// The identity that a proxy connected with, if it has been seen.
    pub(crate) fn identity(&self, id: &str) -> Option<SpiffeId> {
        self.table().entries.get(id)?.facts.identity.clone()
    }

    /// `namespace/workload` of every gateway.
    pub(crate) fn gateways(&self) -> std::collections::BTreeSet<(String, String)> {
        let table = self.table();
        let routers = table.entries.values().filter(|e| e.facts.kind == "router");
        routers
            .map(|e| (e.facts.namespace.clone(), e.facts.workload.clone()))
            .collect()
    }

    /// What a connected proxy should run.
    pub(crate) fn published(&self, id: &str) -> Option<Arc<Published>> {
        self.table().entries.get(id)?.published.clone()
    }

    /// The connected proxies that were sent something.
    pub(crate) fn running(&self) -> Vec<Running> {
        let table = self.table();
        let connected = table.entries.iter().filter(|(_, e)| e.stream != 0);
        connected
            .filter_map(|(id, e)| {
                Some(Running {
                    id: id.clone(),
                    workload: format!("{}/{}", e.facts.namespace, e.facts.workload),
                    gateway: e.facts.kind == "router",
                    address: id.split('~').nth(1)?.parse().ok()?,
                    identity: e.facts.identity.as_ref().map(ToString::to_string),
                    published: Arc::clone(e.published.as_ref()?),
                })
            })
            .collect()
    }

    /// The connected proxies by (namespace, pod).
    pub(crate) fn by_pod(&self) -> BTreeMap<(String, String), Connected> {
        let table = self.table();
        let connected = table.entries.iter().filter(|(_, e)| e.stream != 0);
        connected
            .filter_map(|(id, e)| {
                let (pod, namespace) = id.split('~').nth(2)?.rsplit_once('.')?;
                let proxy = Connected {
                    id: id.clone(),
                    workload: e.facts.workload.clone(),
                    gateway: e.facts.kind == "router",
                };
                Some(((namespace.to_owned(), pod.to_owned()), proxy))
            })
            .collect()
    }

    pub(crate) fn list(&self) -> mesh_api::mesh::ProxyList {
        let table = self.table();
        let proxies = table.entries.iter().map(|(id, e)| mesh_api::mesh::Proxy {
            id: id.clone(),
            namespace: e.facts.namespace.clone(),
            workload: e.facts.workload.clone(),
            kind: e.facts.kind.clone(),
            version: e.facts.version.clone(),
            connected: e.stream != 0,
            state: e.state().to_owned(),
            refused: e.refused.clone(),
            revision: e.revision.clone(),
            last_seen: rfc3339(e.last_seen_ms),
            last_flush: rfc3339(e.last_flush_ms),
            certificate_expires: rfc3339(e.facts.certificate_expires_ms),
        });
        mesh_api::mesh::ProxyList {
            proxies: proxies.collect(),
        }
    }

    /// How far a generation has come among the connected proxies; with a VirtualService (`namespace/name`), among
    /// those that have rules of it.
    pub(crate) fn propagation(&self, generation: Option<u64>, virtual_service: Option<&str>) -> Propagation {
        let table = self.table();
        let mut propagation = Propagation::default();
        for (id, entry) in table.entries.iter().filter(|(_, e)| e.stream != 0) {
            if virtual_service.is_some_and(|name| !entry.virtual_services.contains_key(name)) {
                continue;
            }
            propagation.total += 1;
            if let Some(reason) = &entry.refused {
                propagation.refused.push(Refusal {
                    proxy: id.clone(),
                    reason: reason.clone(),
                });
            } else if generation.is_some_and(|wanted| entry.generation >= wanted) {
                propagation.live += 1;
            }
        }
        propagation
    }
}

impl Entry {
    fn state(&self) -> &'static str {
        match (self.stream, &self.refused, self.synced) {
            (0, _, _) => "disconnected",
            (_, Some(_), _) => "refused",
            (_, None, true) => "synced",
            (_, None, false) => "stale",
        }
    }
}

impl Table {
    fn forget(&mut self, now_ms: u64) {
        self.entries
            .retain(|_, e| e.stream != 0 || e.last_seen_ms.saturating_add(KEPT_MS) > now_ms);
        while self.entries.len() >= MAX {
            let gone = self.entries.iter().filter(|(_, e)| e.stream == 0);
            let Some(id) = gone.min_by_key(|(_, e)| e.last_seen_ms).map(|(id, _)| id.clone()) else {
                return;
            };
            self.entries.remove(&id);
        }
    }
}

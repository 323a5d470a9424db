//! One proxy's delta discovery session as a state machine (pure).
//!
//! At most one response per type is on its way, so a slow proxy always gets the newest configuration next.
//! Additions go clusters, endpoints, listeners, routes; each waits for the acknowledgement of those before it.
//! A proxy may refuse a whole response for one resource, so what was refused is sent again in halves until the
//! bad ones stand alone. Removals come last. A proxy that acknowledges late is waited for only until the gate opens, so that one which
//! acknowledges in its own order cannot block itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mesh_xds::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use tokio::time::Instant;

use crate::publish::{Kind, Published, Resources};

/// For how long the order of acknowledgements is waited for.
pub(crate) const GATE: Duration = Duration::from_millis(500);
/// Longest reason that is kept of a refusal, bytes.
const MAX_REASON: usize = 4096;
/// Most names one stream may subscribe to per type.
pub(crate) const MAX_NAMES: usize = 100_000;

/// What a request meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// A subscription changed, or nothing.
    Subscribed,
    /// The response of this nonce is in force; since when it was wanted.
    Acknowledged(Instant),
    /// The response was refused.
    Refused(String),
    /// It answers a response that is not outstanding.
    Stale,
    /// More names than a stream may have.
    TooMany,
}

/// How far a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Runs what it should.
    Synced,
    /// Something is on its way.
    Stale,
    /// Refused something that it should run.
    Refused(String),
}

/// Sender's side of one stream.
#[derive(Debug, Default)]
pub(crate) struct Session {
    kinds: BTreeMap<Kind, Subscription>,
    wanted: Option<Wanted>,
    nonces: u64,
    /// What was last acknowledged as a whole.
    acknowledged: Option<Arc<Published>>,
}

#[derive(Debug, Clone)]
struct Wanted {
    published: Arc<Published>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the proxy has (or has refused), by name.
    has: BTreeMap<String, String>,
    /// Names of which it was told that they do not exist.
    missing: BTreeSet<String>,
    answered: bool,
    outstanding: Option<Outstanding>,
    /// Parts of refused responses, by name and version, each to be sent by itself.
    parts: Vec<BTreeMap<String, String>>,
    /// Resources that were refused alone, by name.
    refused: BTreeMap<String, Refused>,
}

#[derive(Debug)]
struct Outstanding {
    nonce: String,
    versions: BTreeMap<String, String>,
    since: Instant,
}

#[derive(Debug)]
struct Refused {
    version: String,
    reason: String,
}

impl Session {
    /// Takes the newest configuration; an older one that was not sent yet is forgotten.
    pub(crate) fn want(&mut self, published: Arc<Published>, now: Instant) {
        for (kind, subscription) in &mut self.kinds {
            subscription.forgive(published.of(*kind));
        }
        self.wanted = Some(Wanted {
            published,
            since: now,
        });
    }

    /// Takes a request.
    pub(crate) fn receive(&mut self, kind: Kind, request: &DeltaDiscoveryRequest) -> Received {
        let first = !self.kinds.contains_key(&kind);
        let wanted = self.wanted.as_ref().map(|w| Arc::clone(&w.published));
        let subscription = self.kinds.entry(kind).or_default();
        if first {
            subscription.has = request
                .initial_resource_versions
                .iter()
                .map(|(name, version)| (name.clone(), version.clone()))
                .collect();
            subscription.wildcard = request.resource_names_subscribe.is_empty() && kind.wildcard_by_default();
        }
        for name in &request.resource_names_subscribe {
            subscription.subscribe(name, first);
        }
        for name in &request.resource_names_unsubscribe {
            subscription.unsubscribe(name);
        }
        if subscription.names.len() > MAX_NAMES || subscription.has.len() > MAX_NAMES {
            return Received::TooMany;
        }
        if request.response_nonce.is_empty() {
            return Received::Subscribed;
        }
        let Some(outstanding) = subscription
            .outstanding
            .take_if(|sent| sent.nonce == request.response_nonce)
        else {
            return Received::Stale;
        };
        let received = match &request.error_detail {
            Some(error) => {
                let reason: String = error.message.chars().take(MAX_REASON).collect();
                subscription.refuse(outstanding.versions, &reason);
                if let Some(wanted) = &wanted {
                    subscription.forgive(wanted.of(kind));
                }
                Received::Refused(reason)
            }
            None => Received::Acknowledged(outstanding.since),
        };
        if self.state() == State::Synced {
            self.acknowledged = wanted;
        }
        received
    }

    /// The next response, if one may be sent now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<DeltaDiscoveryResponse> {
        let wanted = self.wanted.clone()?;
        let gated = now < wanted.since + GATE;
        for kind in Kind::ALL {
            if let Some(response) = self.additions(kind, &wanted, now) {
                return Some(response);
            }
            let waits = match self.kinds.get(&kind) {
                Some(subscription) => subscription.outstanding.is_some(),
                // It will ask for these once it has what refers to them.
                None => false,
            };
            let unasked = kind == Kind::Endpoints && self.unasked(&wanted.published);
            if gated && (waits || unasked) {
                return None;
            }
        }
        for kind in [
            Kind::Listeners,
            Kind::Routes,
            Kind::Clusters,
            Kind::Endpoints,
            Kind::Secrets,
        ] {
            if let Some(response) = self.removals(kind, &wanted, now) {
                return Some(response);
            }
        }
        None
    }

    /// When [`Session::next`] may answer without another event.
    pub(crate) fn gate(&self) -> Option<Instant> {
        self.wanted.as_ref().map(|wanted| wanted.since + GATE)
    }

    pub(crate) fn state(&self) -> State {
        let refused = self.kinds.values().flat_map(|s| s.refused.values());
        let reasons: BTreeSet<&str> = refused.map(|r| r.reason.as_str()).collect();
        if !reasons.is_empty() {
            return State::Refused(reasons.into_iter().collect::<Vec<_>>().join("; "));
        }
        let Some(wanted) = &self.wanted else {
            return State::Stale;
        };
        let settled = |kind: &Kind| {
            self.kinds.get(kind).is_some_and(|s| {
                s.answered && s.outstanding.is_none() && s.is_current(wanted.published.of(*kind))
            })
        };
        let needed =
            |kind: &Kind| matches!(kind, Kind::Clusters | Kind::Listeners) || self.kinds.contains_key(kind);
        if Kind::ALL.iter().filter(|kind| needed(kind)).all(settled) {
            State::Synced
        } else {
            State::Stale
        }
    }

    /// The configuration that was last acknowledged as a whole.
    pub(crate) fn acknowledged(&self) -> Option<&Arc<Published>> {
        self.acknowledged.as_ref()
    }

    /// Remembers that nothing had to be sent for the newest configuration.
    pub(crate) fn settle(&mut self) {
        if self.state() == State::Synced {
            self.acknowledged = self.wanted.as_ref().map(|w| Arc::clone(&w.published));
        }
    }

    /// Whether the proxy has not asked yet for endpoints of clusters that it got.
    fn unasked(&self, published: &Published) -> bool {
        let Some(clusters) = self.kinds.get(&Kind::Clusters) else {
            return false;
        };
        let asked = self.kinds.get(&Kind::Endpoints);
        clusters.answered
            && published.of(Kind::Endpoints).keys().any(|name| {
                clusters.has.contains_key(name)
                    && !asked.is_some_and(|s| s.wildcard || s.names.contains(name))
            })
    }

    fn additions(&mut self, kind: Kind, wanted: &Wanted, now: Instant) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.kinds.get_mut(&kind)?;
        if subscription.outstanding.is_some() {
            return None;
        }
        let published = wanted.published.of(kind);
        let part = subscription.next_part(published);
        let in_part = |name: &String| part.as_ref().is_none_or(|part| part.contains_key(name));
        let resources: Vec<Resource> = published
            .iter()
            .filter(|(name, versioned)| subscription.lacks(name, &versioned.version) && in_part(name))
            .map(|(name, versioned)| Resource {
                name: name.clone(),
                version: versioned.version.clone(),
                resource: Some(versioned.any.clone()),
                ..Resource::default()
            })
            .collect();
        let absent: Vec<String> = subscription
            .names
            .iter()
            .filter(|name| {
                !published.contains_key(*name)
                    && !subscription.has.contains_key(*name)
                    && !subscription.missing.contains(*name)
            })
            .cloned()
            .collect();
        if resources.is_empty() && absent.is_empty() && subscription.answered {
            return None;
        }
        Some(self.response(kind, wanted, resources, absent, now))
    }

    fn removals(&mut self, kind: Kind, wanted: &Wanted, now: Instant) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.kinds.get_mut(&kind)?;
        if subscription.outstanding.is_some() {
            return None;
        }
        let published = wanted.published.of(kind);
        let removed: Vec<String> = subscription
            .has
            .keys()
            .filter(|name| !published.contains_key(*name))
            .cloned()
            .collect();
        if removed.is_empty() {
            return None;
        }
        Some(self.response(kind, wanted, Vec::new(), removed, now))
    }

    fn response(
        &mut self,
        kind: Kind,
        wanted: &Wanted,
        resources: Vec<Resource>,
        removed_resources: Vec<String>,
        now: Instant,
    ) -> DeltaDiscoveryResponse {
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        let subscription = self.kinds.entry(kind).or_default();
        subscription.answered = true;
        let versions: BTreeMap<String, String> = resources
            .iter()
            .map(|r| (r.name.clone(), r.version.clone()))
            .collect();
        subscription
            .has
            .extend(versions.iter().map(|(n, v)| (n.clone(), v.clone())));
        for name in versions.keys() {
            subscription.missing.remove(name);
        }
        for name in &removed_resources {
            subscription.has.remove(name);
            subscription.missing.insert(name.clone());
        }
        let since = if wanted.since > now { now } else { wanted.since };
        subscription.outstanding = Some(Outstanding {
            nonce: nonce.clone(),
            versions,
            since,
        });
        DeltaDiscoveryResponse {
            system_version_info: wanted.published.revision.clone(),
            resources,
            type_url: kind.type_url().to_owned(),
            removed_resources,
            nonce,
            ..DeltaDiscoveryResponse::default()
        }
    }
}

impl Subscription {
    fn subscribe(&mut self, name: &str, first: bool) {
        if name == "*" {
            self.wildcard = true;
            return;
        }
        self.names.insert(name.to_owned());
        self.missing.remove(name);
        if !first {
            // Asking again means that it wants it again.
            self.has.remove(name);
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == "*" {
            self.wildcard = false;
            let names = &self.names;
            self.has.retain(|name, _| names.contains(name));
            return;
        }
        self.names.remove(name);
        self.missing.remove(name);
        if !self.wildcard {
            self.has.remove(name);
        }
    }

    fn lacks(&self, name: &String, version: &String) -> bool {
        (self.wildcard || self.names.contains(name)) && self.has.get(name) != Some(version)
    }

    /// The next part of what was refused that is still wanted and missing.
    fn next_part(&mut self, published: &Resources) -> Option<BTreeMap<String, String>> {
        while let Some(mut part) = self.parts.pop() {
            part.retain(|name, version| {
                published
                    .get(name)
                    .is_some_and(|wanted| wanted.version == *version)
                    && self.lacks(name, version)
            });
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }

    /// A resource that was refused alone is bad; of several, any may be.
    fn refuse(&mut self, mut versions: BTreeMap<String, String>, reason: &str) {
        if versions.len() < 2 {
            for (name, version) in versions {
                let reason = reason.to_owned();
                self.refused.insert(name, Refused { version, reason });
            }
            return;
        }
        for name in versions.keys() {
            self.has.remove(name);
        }
        let middle = versions
            .keys()
            .nth(versions.len() / 2)
            .cloned()
            .unwrap_or_default();
        let second = versions.split_off(&middle);
        self.parts.push(second);
        self.parts.push(versions);
    }

    /// A refusal counts while the refused version is still wanted.
    fn forgive(&mut self, published: &Resources) {
        self.refused.retain(|name, refused| {
            published
                .get(name)
                .is_some_and(|wanted| wanted.version == refused.version)
        });
    }

    fn is_current(&self, published: &Resources) -> bool {
        let subscribed = |name: &String| self.wildcard || self.names.contains(name);
        published
            .iter()
            .filter(|(name, _)| subscribed(name))
            .all(|(name, versioned)| self.has.get(name) == Some(&versioned.version))
            && self.has.keys().all(|name| published.contains_key(name))
    }
}

#[cfg(test)]
mod tests;

//! Rows of the lists from what there is and what it did (pure).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::config::ObjectName;
use mesh_api::inventory::{AppRow, Health, NamespaceRow, ServiceRow, WorkloadRow};
use mesh_crd::ObjectKey;
use mesh_model::edge::SeriesKey;
use mesh_model::workload::{UNKNOWN, Workload};

use crate::fold::Name;
use crate::health::of_instances;
use crate::index::Generation;
use crate::inventory::{Concerns, Inventory, ServiceFacts, WorkloadFacts};
use crate::status::Judged;
use crate::traffic::{Entry, Ledger, Tally};

/// What there is, with its traffic by subject.
pub(crate) struct Rows {
    pub(crate) generation: Arc<Generation>,
    /// Workloads that only the traffic shows included.
    pub(crate) inventory: Inventory,
    pub(crate) ledger: Ledger,
    concerns: Concerns,
    problems: BTreeMap<ObjectKey, u32>,
    inbound: BTreeMap<Name, Tally>,
    outbound: BTreeMap<Name, Tally>,
    by_host: BTreeMap<String, Tally>,
    /// Workloads that answered for a host.
    answered: BTreeMap<String, BTreeSet<Name>>,
    /// Namespace of a host, as the traffic says.
    host_namespaces: BTreeMap<String, String>,
}

fn name(workload: &Workload) -> Name {
    (workload.namespace.clone(), workload.name.clone())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Rows {
    pub(crate) fn of(
        generation: Arc<Generation>,
        inventory: Inventory,
        ledger: Ledger,
        judged: &Judged,
    ) -> Self {
        let problems = judged.problems.iter();
        let mut rows = Self {
            concerns: Concerns::of(&generation.world),
            problems: problems
                .map(|(key, list)| (key.clone(), count(list.len())))
                .collect(),
            generation,
            inventory,
            ledger: Ledger::new(ledger.cut),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            by_host: BTreeMap::new(),
            answered: BTreeMap::new(),
            host_namespaces: BTreeMap::new(),
        };
        for (key, entry) in ledger.series() {
            rows.add(key, entry);
        }
        rows.ledger = ledger;
        rows
    }

    fn add(&mut self, key: &SeriesKey, entry: &Entry) {
        for (workload, tallies) in [
            (&key.source, &mut self.outbound),
            (&key.destination, &mut self.inbound),
        ] {
            if workload.name == UNKNOWN {
                continue;
            }
            let own = name(workload);
            self.inventory
                .workloads
                .entry(own.clone())
                .or_insert_with(|| WorkloadFacts::seen(workload));
            tallies.entry(own).or_default().add(key, entry);
        }
        let host = &key.service.host;
        if host == UNKNOWN {
            return;
        }
        self.by_host.entry(host.clone()).or_default().add(key, entry);
        self.host_namespaces
            .entry(host.clone())
            .or_insert_with(|| key.service.namespace.clone());
        if key.destination.name != UNKNOWN {
            self.answered
                .entry(host.clone())
                .or_default()
                .insert(name(&key.destination));
        }
    }

    /// Services, then hosts that only the traffic shows.
    pub(crate) fn services(&self) -> Vec<ServiceRow> {
        let mut rest: BTreeSet<&str> = self.by_host.keys().map(String::as_str).collect();
        let mut rows: Vec<ServiceRow> = Vec::new();
        for facts in &self.inventory.services {
            let mut tally = Tally::default();
            for (host, own) in self.by_host.iter().filter(|(host, _)| facts.covers(host)) {
                tally.merge(own);
                rest.remove(host.as_str());
            }
            rows.push(self.service(facts, &tally));
        }
        for host in rest {
            let Some(tally) = self.by_host.get(host) else {
                continue;
            };
            let namespace = self.host_namespaces.get(host).cloned().unwrap_or_default();
            let facts = ServiceFacts {
                key: ObjectKey::new("External", &namespace, host),
                hosts: vec![host.to_owned()],
                ..ServiceFacts::default()
            };
            rows.push(self.service(&facts, tally));
        }
        rows.sort_by(|a, b| (&a.namespace, &a.name, &a.kind).cmp(&(&b.namespace, &b.name, &b.kind)));
        rows
    }

    fn service(&self, facts: &ServiceFacts, tally: &Tally) -> ServiceRow {
        let objects = self.concerns.of_service(facts);
        ServiceRow {
            namespace: facts.key.namespace.clone(),
            name: facts.key.name.clone(),
            host: facts.host().to_owned(),
            kind: facts.key.kind.clone(),
            ports: facts.ports.clone(),
            endpoints: count(facts.ready()),
            inbound: tally.traffic(self.ledger.cut),
            health: tally.health(),
            problems: self.problems_of(objects.iter().chain([&facts.key])),
            objects: objects.into_iter().map(object).collect(),
        }
    }

    fn problems_of<'k>(&self, keys: impl IntoIterator<Item = &'k ObjectKey>) -> u32 {
        let keys: BTreeSet<&ObjectKey> = keys.into_iter().collect();
        keys.iter().filter_map(|key| self.problems.get(*key)).sum()
    }

    pub(crate) fn workloads(&self) -> Vec<WorkloadRow> {
        self.inventory
            .workloads
            .values()
            .map(|w| self.workload(w))
            .collect()
    }

    fn workload(&self, facts: &WorkloadFacts) -> WorkloadRow {
        let own = name(&facts.workload);
        let cut = self.ledger.cut;
        let (inbound, outbound) = (self.inbound.get(&own), self.outbound.get(&own));
        let health = of_instances(facts.pods, facts.ready);
        let traffic = |tally: Option<&Tally>| tally.cloned().unwrap_or_default().traffic(cut);
        let sides = [inbound, outbound].into_iter().flatten();
        WorkloadRow {
            namespace: own.0,
            name: own.1,
            app: facts.workload.app.clone(),
            version: facts.workload.version.clone(),
            proxy: facts.proxy().to_owned(),
            pods: facts.pods,
            ready: facts.ready,
            labels: facts.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            inbound: traffic(inbound),
            outbound: traffic(outbound),
            health: sides.map(Tally::health).fold(health, Health::max),
            proxies: facts.proxies.iter().cloned().collect(),
        }
    }

    pub(crate) fn apps(&self) -> Vec<AppRow> {
        let mut apps: BTreeMap<Name, (AppRow, Tally, Tally)> = BTreeMap::new();
        for facts in self.inventory.workloads.values() {
            let own = name(&facts.workload);
            let (namespace, app) = (own.0.clone(), facts.workload.app.clone());
            let (row, inbound, outbound) =
                apps.entry((namespace.clone(), app.clone())).or_insert_with(|| {
                    let row = AppRow {
                        namespace,
                        name: app,
                        ..AppRow::default()
                    };
                    (row, Tally::default(), Tally::default())
                });
            let version = &facts.workload.version;
            if !row.versions.contains(version) {
                row.versions.push(version.clone());
            }
            if let Some(tally) = self.inbound.get(&own) {
                inbound.merge(tally);
            }
            if let Some(tally) = self.outbound.get(&own) {
                outbound.merge(tally);
            }
            row.health = row.health.max(of_instances(facts.pods, facts.ready));
            row.workloads.push(own.1);
        }
        let cut = self.ledger.cut;
        let rows = apps.into_values().map(|(mut row, inbound, outbound)| {
            row.versions.sort();
            row.inbound = inbound.traffic(cut);
            row.outbound = outbound.traffic(cut);
            row.health = row.health.max(inbound.health()).max(outbound.health());
            row
        });
        rows.collect()
    }

    pub(crate) fn namespaces(&self) -> Vec<NamespaceRow> {
        let mut rows: BTreeMap<String, (NamespaceRow, Tally)> = BTreeMap::new();
        let mut row = |name: &str, change: &mut dyn FnMut(&mut NamespaceRow, &mut Tally)| {
            let (row, tally) = rows.entry(name.to_owned()).or_insert_with(|| {
                let row = NamespaceRow {
                    name: name.to_owned(),
                    ..NamespaceRow::default()
                };
                (row, Tally::default())
            });
            change(row, tally);
        };
        for namespace in self.generation.namespaces() {
            row(&namespace, &mut |_, _| ());
        }
        for service in &self.inventory.services {
            row(&service.key.namespace, &mut |row, _| row.services += 1);
        }
        for facts in self.inventory.workloads.values() {
            let own = name(&facts.workload);
            row(&own.0, &mut |row, tally| {
                row.workloads += 1;
                row.health = row.health.max(of_instances(facts.pods, facts.ready));
                if let Some(inbound) = self.inbound.get(&own) {
                    tally.merge(inbound);
                    row.health = row.health.max(inbound.health());
                }
                if let Some(outbound) = self.outbound.get(&own) {
                    row.health = row.health.max(outbound.health());
                }
            });
        }
        for (key, problems) in &self.problems {
            if !key.namespace.is_empty() {
                row(&key.namespace, &mut |row, _| row.problems += problems);
            }
        }
        let rows = rows.into_values().map(|(mut row, inbound)| {
            row.inbound = inbound.traffic(self.ledger.cut);
            row
        });
        rows.collect()
    }

    /// Workloads that answered for one of the hosts.
    pub(crate) fn workloads_of_hosts(&self, hosts: &[String]) -> BTreeSet<Name> {
        let found = hosts.iter().filter_map(|host| self.answered.get(host));
        found.flatten().cloned().collect()
    }

    /// Services in front of some workloads, and objects that concern either.
    pub(crate) fn around(&self, workloads: &BTreeSet<Name>) -> (Vec<ServiceRow>, BTreeSet<ObjectKey>) {
        let facts: Vec<&WorkloadFacts> = workloads
            .iter()
            .filter_map(|own| self.inventory.workloads.get(own))
            .collect();
        let services = facts.iter().flat_map(|w| self.inventory.services_of(w));
        let keys: BTreeSet<&ObjectKey> = services.map(|s| &s.key).collect();
        let mut objects: BTreeSet<ObjectKey> =
            facts.iter().flat_map(|w| self.concerns.of_workload(w)).collect();
        let mut rows = self.services();
        rows.retain(|row| keys.contains(&ObjectKey::new(&row.kind, &row.namespace, &row.name)));
        for row in &rows {
            objects.extend(
                row.objects
                    .iter()
                    .map(|o| ObjectKey::new(&o.kind, &o.namespace, &o.name)),
            );
        }
        (rows, objects)
    }

    /// Whether anyone called the workload in the interval.
    pub(crate) fn is_called(&self, workload: &Workload) -> bool {
        self.inbound.contains_key(&name(workload))
    }
}

fn object(key: ObjectKey) -> ObjectName {
    ObjectName {
        kind: key.kind,
        namespace: key.namespace,
        name: key.name,
    }
}

//! `/api/services`, `/api/workloads`, `/api/apps`, `/api/namespaces`: lists and details.

mod rows;

use std::collections::BTreeSet;

use axum::extract::{Path, Query as Params, State};
use axum::http::StatusCode;
use axum::response::Json;
use mesh_api::config::ObjectSummary;
use mesh_api::inventory::{
    AppDetail, AppList, EndpointRow, NamespaceList, RouteRow, ServiceDetail, ServiceList, WorkloadDetail,
    WorkloadList,
};
use mesh_crd::{Object, ObjectKey};
use mesh_model::edge::Reporter;
use serde::Deserialize;

use self::rows::Rows;
use super::graph::TIME_REMEDY;
use super::time::interval;
use super::{Failure, Query};
use crate::clock::unix_ms;
use crate::index::Generation;
use crate::inventory::{Concerns, Inventory, ServiceFacts};
use crate::traffic::Ledger;

#[derive(Debug, Deserialize)]
pub(super) struct ListParams {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    namespaces: String,
}

type ListQuery = Result<Params<ListParams>, axum::extract::rejection::QueryRejection>;

impl ListParams {
    fn namespaces(&self) -> BTreeSet<String> {
        let names = self.namespaces.split(',').map(str::trim);
        names.filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }
}

impl Query {
    /// What there is and what it did in the interval.
    pub(super) async fn rows(&self, from: Option<&str>, to: Option<&str>) -> Result<Rows, Failure> {
        let now_ms = unix_ms();
        let interval = interval(from, to, now_ms).map_err(|e| Failure::bad(e, TIME_REMEDY))?;
        let generation = self.generation()?;
        let ledger = self.ledger(interval, now_ms / 1000).await?;
        let connected = self.proxies.by_pod();
        let judged = self.judged.borrow().clone();
        super::computed(move || {
            let inventory = Inventory::of(&generation.world, &connected);
            Rows::of(generation, inventory, ledger, &judged)
        })
        .await
    }

    async fn rows_of(&self, params: ListQuery) -> Result<(Rows, BTreeSet<String>), Failure> {
        let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
        let rows = self.rows(params.from.as_deref(), params.to.as_deref()).await?;
        Ok((rows, params.namespaces()))
    }

    /// Summaries of objects, in the order of their names.
    pub(super) fn summaries(
        &self,
        generation: &Generation,
        keys: impl IntoIterator<Item = ObjectKey>,
    ) -> Vec<ObjectSummary> {
        let keys = keys.into_iter();
        keys.filter_map(|key| self.summary(generation, &key)).collect()
    }
}

fn shown(namespaces: &BTreeSet<String>, namespace: &str) -> bool {
    namespaces.is_empty() || namespaces.contains(namespace)
}

pub(super) async fn services(
    State(query): State<Query>,
    params: ListQuery,
) -> Result<Json<ServiceList>, Failure> {
    let (rows, namespaces) = query.rows_of(params).await?;
    let mut services = rows.services();
    services.retain(|row| shown(&namespaces, &row.namespace));
    Ok(Json(ServiceList { services }))
}

pub(super) async fn workloads(
    State(query): State<Query>,
    params: ListQuery,
) -> Result<Json<WorkloadList>, Failure> {
    let (rows, namespaces) = query.rows_of(params).await?;
    let mut workloads = rows.workloads();
    workloads.retain(|row| shown(&namespaces, &row.namespace));
    Ok(Json(WorkloadList { workloads }))
}

pub(super) async fn apps(State(query): State<Query>, params: ListQuery) -> Result<Json<AppList>, Failure> {
    let (rows, namespaces) = query.rows_of(params).await?;
    let mut apps = rows.apps();
    apps.retain(|row| shown(&namespaces, &row.namespace));
    Ok(Json(AppList { apps }))
}

pub(super) async fn namespaces(
    State(query): State<Query>,
    params: ListQuery,
) -> Result<Json<NamespaceList>, Failure> {
    let (rows, namespaces) = query.rows_of(params).await?;
    let mut list = rows.namespaces();
    list.retain(|row| shown(&namespaces, &row.name));
    Ok(Json(NamespaceList { namespaces: list }))
}

fn absent(what: &str, namespace: &str, name: &str) -> Failure {
    let mut failure = Failure::new(
        StatusCode::NOT_FOUND,
        format!("there is no {what} {namespace}/{name}, and no traffic of it in the interval"),
    );
    failure.remedy = Some(format!("see /api/{what}s for those that there are"));
    failure
}

pub(super) async fn service(
    State(query): State<Query>,
    Path((namespace, name)): Path<(String, String)>,
    params: ListQuery,
) -> Result<Json<ServiceDetail>, Failure> {
    let (rows, _) = query.rows_of(params).await?;
    let row = rows
        .services()
        .into_iter()
        .find(|row| row.namespace == namespace && row.name == name)
        .ok_or_else(|| absent("service", &namespace, &name))?;
    let own = |s: &&ServiceFacts| s.key.namespace == namespace && s.key.name == name;
    let facts = rows.inventory.services.iter().find(own).cloned();
    let hosts = facts
        .as_ref()
        .map_or_else(|| vec![row.host.clone()], |f| f.hosts.clone());
    let mut behind: BTreeSet<_> = rows.workloads_of_hosts(&hosts);
    let endpoints = facts.iter().flat_map(|f| &f.endpoints);
    behind.extend(endpoints.clone().filter_map(|e| e.workload.clone()));
    let mut workloads = rows.workloads();
    workloads.retain(|w| behind.contains(&(w.namespace.clone(), w.name.clone())));
    let endpoints = endpoints.map(|endpoint| EndpointRow {
        address: format!("{}:{}", endpoint.ip, endpoint.port),
        workload: endpoint
            .workload
            .as_ref()
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .unwrap_or_default(),
        version: endpoint
            .workload
            .as_ref()
            .and_then(|name| rows.inventory.workloads.get(name))
            .map(|w| w.workload.version.clone())
            .unwrap_or_default(),
        ready: endpoint.ready,
    });
    let concerns = Concerns::of(&rows.generation.world);
    let concerning = facts
        .as_ref()
        .map_or_else(|| concerns.of_host(&hosts), |facts| concerns.of_service(facts));
    Ok(Json(ServiceDetail {
        workloads,
        endpoints: endpoints.collect(),
        routes: routes(&rows.generation, &rows.ledger, &concerns.virtual_services(&hosts)),
        objects: query.summaries(&rows.generation, concerning),
        service: row,
    }))
}

/// Every rule of the VirtualServices in their order, then what older versions of them decided in the interval.
fn routes(generation: &Generation, ledger: &Ledger, virtual_services: &[ObjectKey]) -> Vec<RouteRow> {
    let mut rows: Vec<RouteRow> = Vec::new();
    let row = |virtual_service: &str, route: &str, match_name: &str| RouteRow {
        virtual_service: virtual_service.to_owned(),
        route: route.to_owned(),
        match_name: match_name.to_owned(),
        ..RouteRow::default()
    };
    let names: BTreeSet<String> = virtual_services
        .iter()
        .map(|key| format!("{}/{}", key.namespace, key.name))
        .collect();
    for key in virtual_services {
        let Some(Object::VirtualService(object)) = generation.world.get(key).map(AsRef::as_ref) else {
            continue;
        };
        let name = format!("{}/{}", key.namespace, key.name);
        for rule in &object.spec.http {
            if rule.matches.is_empty() {
                rows.push(row(&name, &rule.name, ""));
            }
            for alternative in &rule.matches {
                rows.push(row(&name, &rule.name, &alternative.name));
            }
        }
    }
    // Rules and matches without names cannot be told apart by their traffic.
    rows.dedup_by(|a, b| {
        (&a.virtual_service, &a.route, &a.match_name) == (&b.virtual_service, &b.route, &b.match_name)
    });
    for (key, entry) in ledger.series() {
        let origin = &key.origin;
        // Who routes is the source; a gateway's calls from outside repeat what it routed.
        if key.reporter != Reporter::Source || !names.contains(&origin.virtual_service) {
            continue;
        }
        let same = |r: &RouteRow| {
            r.virtual_service == origin.virtual_service
                && r.route == origin.route
                && r.match_name == origin.match_name
        };
        let index = rows.iter().position(same).unwrap_or_else(|| {
            rows.push(row(&origin.virtual_service, &origin.route, &origin.match_name));
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(index) {
            row.requests += entry.sum.requests;
            row.errors += if key.is_error() { entry.sum.requests } else { 0 };
        }
    }
    rows
}

pub(super) async fn workload(
    State(query): State<Query>,
    Path((namespace, name)): Path<(String, String)>,
    params: ListQuery,
) -> Result<Json<WorkloadDetail>, Failure> {
    let (rows, _) = query.rows_of(params).await?;
    let workload = rows
        .workloads()
        .into_iter()
        .find(|row| row.namespace == namespace && row.name == name)
        .ok_or_else(|| absent("workload", &namespace, &name))?;
    let own = BTreeSet::from([(namespace, name)]);
    let (services, objects) = rows.around(&own);
    Ok(Json(WorkloadDetail {
        workload,
        services,
        objects: query.summaries(&rows.generation, objects),
    }))
}

pub(super) async fn app(
    State(query): State<Query>,
    Path((namespace, name)): Path<(String, String)>,
    params: ListQuery,
) -> Result<Json<AppDetail>, Failure> {
    let (rows, _) = query.rows_of(params).await?;
    let app = rows
        .apps()
        .into_iter()
        .find(|row| row.namespace == namespace && row.name == name)
        .ok_or_else(|| absent("app", &namespace, &name))?;
    let own: BTreeSet<_> = app
        .workloads
        .iter()
        .map(|workload| (namespace.clone(), workload.clone()))
        .collect();
    let mut workloads = rows.workloads();
    workloads.retain(|w| own.contains(&(w.namespace.clone(), w.name.clone())));
    let (services, objects) = rows.around(&own);
    Ok(Json(AppDetail {
        app,
        workloads,
        services,
        objects: query.summaries(&rows.generation, objects),
    }))
}

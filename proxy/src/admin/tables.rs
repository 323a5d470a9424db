//! Listeners, clusters, statistics and the server itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use mesh_model::cluster::{Cluster, Discovery};
use mesh_model::matching::Pattern;
use mesh_xds::json::Descriptors;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::runtime::EndpointState;
use crate::serve::Answer;

pub(super) fn state(admin: &Admin) -> &'static str {
    if admin.facts.health.is_draining() {
        "DRAINING"
    } else if admin.facts.runtime.revision().is_none() {
        "PRE_INITIALIZING"
    } else if admin.facts.ready().is_ok() || admin.facts.health.is_failed() {
        "LIVE"
    } else {
        "INITIALIZING"
    }
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

pub(super) fn listeners_json(admin: &Admin) -> Value {
    let statuses: Vec<Value> = admin
        .facts
        .runtime
        .listeners()
        .into_iter()
        .map(|l| json!({ "name": l.name, "local_address": address(l.address) }))
        .collect();
    json!({ "listener_statuses": statuses })
}

pub(super) fn listeners_text(admin: &Admin) -> String {
    admin
        .facts
        .runtime
        .listeners()
        .iter()
        .map(|l| format!("{}::{}\n", l.name, l.address))
        .collect()
}

/// Every cluster in force, with whether discovery brought it, and its endpoints.
fn clusters(admin: &Admin) -> BTreeMap<String, (bool, Arc<Cluster>, Vec<EndpointState>)> {
    let mut all = BTreeMap::new();
    for cluster in &admin.config.bootstrap.clusters {
        let entry = (false, Arc::new(cluster.clone()), Vec::new());
        all.insert(cluster.name.clone(), entry);
    }
    if let Some(discovery) = &admin.facts.discovery {
        for (name, held) in &discovery.get().state.clusters {
            all.insert(name.clone(), (true, Arc::clone(&held.model), Vec::new()));
        }
    }
    for endpoint in admin.facts.runtime.endpoints_state() {
        if let Some((_, _, endpoints)) = all.get_mut(&endpoint.cluster) {
            endpoints.push(endpoint);
        }
    }
    all
}

fn numbers(endpoint: &EndpointState) -> [(&'static str, &'static str, u64); 7] {
    let success = endpoint.requests_total.saturating_sub(endpoint.requests_error);
    [
        ("cx_connect_fail", "COUNTER", endpoint.connections_failed),
        ("cx_total", "COUNTER", endpoint.connections_total),
        ("rq_error", "COUNTER", endpoint.requests_error),
        ("rq_success", "COUNTER", success),
        ("rq_total", "COUNTER", endpoint.requests_total),
        ("cx_active", "GAUGE", endpoint.connections_active),
        ("rq_active", "GAUGE", endpoint.requests_active),
    ]
}

pub(super) fn clusters_json(admin: &Admin) -> Value {
    let statuses: Vec<Value> = clusters(admin)
        .into_iter()
        .map(|(name, (dynamic, cluster, endpoints))| {
            let limits = &cluster.limits;
            let mut status = json!({
                "name": name,
                "added_via_api": dynamic,
                "host_statuses": endpoints.iter().map(host_status).collect::<Vec<_>>(),
                "circuit_breakers": { "thresholds": [{
                    "max_connections": limits.max_connections,
                    "max_pending_requests": limits.max_pending,
                    "max_requests": limits.max_requests,
                    "max_retries": limits.max_retries,
                }] },
                "observability_name": name,
            });
            if let (Discovery::Eds(service), Some(object)) = (&cluster.discovery, status.as_object_mut()) {
                object.insert("eds_service_name".into(), service.clone().into());
            }
            status
        })
        .collect();
    json!({ "cluster_statuses": statuses })
}

fn host_status(endpoint: &EndpointState) -> Value {
    // As Envoy prints them: 64-bit numbers are strings, zeros and COUNTER are left out.
    let stats: Vec<Value> = numbers(endpoint)
        .into_iter()
        .map(|(name, kind, value)| {
            let mut one = Map::new();
            if kind != "COUNTER" {
                one.insert("type".into(), kind.into());
            }
            if value != 0 {
                one.insert("value".into(), value.to_string().into());
            }
            one.insert("name".into(), name.into());
            Value::Object(one)
        })
        .collect();
    let mut health = json!({
        "eds_health_status": if endpoint.healthy { "HEALTHY" } else { "UNHEALTHY" },
    });
    if let (true, Some(health)) = (endpoint.ejected, health.as_object_mut()) {
        health.insert("failed_outlier_check".into(), true.into());
    }
    let mut parts = endpoint.locality.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let locality = json!({ "region": part(), "zone": part(), "sub_zone": part() });
    json!({
        "address": address(endpoint.address),
        "stats": stats,
        "health_status": health,
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "locality": locality,
    })
}

pub(super) fn clusters_text(admin: &Admin) -> String {
    let mut out = String::new();
    for (name, (dynamic, cluster, endpoints)) in clusters(admin) {
        let limits = &cluster.limits;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{name}::observability_name::{name}\n\
             {name}::default_priority::max_connections::{}\n\
             {name}::default_priority::max_pending_requests::{}\n\
             {name}::default_priority::max_requests::{}\n\
             {name}::default_priority::max_retries::{}\n\
             {name}::added_via_api::{dynamic}",
            limits.max_connections, limits.max_pending, limits.max_requests, limits.max_retries
        );
        for endpoint in &endpoints {
            let at = endpoint.address;
            for (what, _, value) in numbers(endpoint) {
                let _ = writeln!(out, "{name}::{at}::{what}::{value}");
            }
            let flags = match (endpoint.healthy, endpoint.ejected) {
                (true, false) => "healthy",
                (true, true) => "/failed_outlier_check",
                (false, _) => "/failed_eds_health",
            };
            let _ = writeln!(
                out,
                "{name}::{at}::health_flags::{flags}\n{name}::{at}::weight::{}\n{name}::{at}::priority::{}",
                endpoint.weight, endpoint.priority
            );
        }
    }
    out
}

/// Envoy's names for what we count.
fn statistics(admin: &Admin) -> BTreeMap<String, u64> {
    let facts = &admin.facts;
    let mut all = BTreeMap::from([
        ("server.uptime".to_owned(), admin.started.elapsed().as_secs()),
        ("server.live".to_owned(), u64::from(state(admin) == "LIVE")),
        (
            "server.concurrency".to_owned(),
            admin.config.arguments.concurrency.unwrap_or_default() as u64,
        ),
        (
            "listener_manager.total_listeners_active".to_owned(),
            facts.runtime.listeners().len() as u64,
        ),
        (
            "sightline.telemetry.batches_acknowledged".to_owned(),
            facts.report.acknowledged(),
        ),
        ("sightline.telemetry.failures".to_owned(), facts.report.failures()),
        ("sightline.telemetry.dropped".to_owned(), facts.report.dropped()),
    ]);
    let (open, most, memory) = crate::overload::shown();
    all.insert("sightline.overload.connections".to_owned(), open as u64);
    all.insert("sightline.overload.memory_percent".to_owned(), memory);
    if let Some(most) = most {
        all.insert("sightline.overload.most_connections".to_owned(), most as u64);
    }
    if let Some(discovery) = &facts.discovery {
        let view = discovery.get();
        all.insert(
            "control_plane.connected_state".to_owned(),
            u64::from(view.connected),
        );
        for (kind, (accepted, refused)) in view.counts {
            use crate::discovery::state::Kind;
            let prefix = match kind {
                Kind::Cluster => "cluster_manager.cds",
                Kind::Endpoints => "cluster_manager.eds",
                Kind::Listener => "listener_manager.lds",
                Kind::Route => "http.rds",
                Kind::Secret => "sds",
            };
            all.insert(format!("{prefix}.update_success"), accepted);
            all.insert(format!("{prefix}.update_rejected"), refused);
        }
    }
    let clusters = clusters(admin);
    all.insert(
        "cluster_manager.active_clusters".to_owned(),
        clusters.len() as u64,
    );
    for (name, (_, _, endpoints)) in clusters {
        let mut put = |what: &str, value: u64| all.insert(format!("cluster.{name}.{what}"), value);
        let sum = |of: fn(&EndpointState) -> u64| endpoints.iter().map(of).sum::<u64>();
        put("membership_total", endpoints.len() as u64);
        put("membership_healthy", sum(|e| u64::from(e.healthy && !e.ejected)));
        put(
            "outlier_detection.ejections_active",
            sum(|e| u64::from(e.ejected)),
        );
        put("upstream_cx_active", sum(|e| e.connections_active));
        put("upstream_cx_total", sum(|e| e.connections_total));
        put("upstream_cx_connect_fail", sum(|e| e.connections_failed));
        put("upstream_rq_active", sum(|e| e.requests_active));
        put("upstream_rq_total", sum(|e| e.requests_total));
    }
    all
}

pub(super) fn stats(admin: &Admin, filter: Option<&str>, as_json: bool) -> Answer {
    let mut all = statistics(admin);
    if let Some(filter) = filter {
        // Envoy searches; our patterns match the whole.
        match Pattern::new(&format!(".*(?:{filter}).*")) {
            Ok(pattern) => all.retain(|name, _| pattern.is_full_match(name.as_bytes())),
            Err(reason) => return Answer::text(StatusCode::BAD_REQUEST, format!("filter: {reason}\n")),
        }
    }
    if as_json {
        let stats: Vec<Value> = all
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        return Answer::json(&json!({ "stats": stats }));
    }
    let lines: String = all
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    Answer::text(StatusCode::OK, lines)
}

pub(super) fn server_info(admin: &Admin) -> Answer {
    let arguments = &admin.config.arguments;
    let node = &admin.config.bootstrap.node;
    let node = Descriptors::load()
        .and_then(|d| d.to_json("envoy.config.core.v3.Node", &node.encode_to_vec()))
        .unwrap_or_default();
    let uptime = format!("{}s", admin.started.elapsed().as_secs());
    Answer::json(&json!({
        "version": format!("sightline-proxy/{}", env!("CARGO_PKG_VERSION")),
        "state": state(admin),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "sightline.1",
        "command_line_options": {
            "base_id": arguments.base_id.to_string(),
            "restart_epoch": arguments.restart_epoch,
            "concurrency": arguments.concurrency.unwrap_or_default(),
            "config_path": arguments.config_path.display().to_string(),
            "log_level": arguments.log_level,
            "drain_time": format!("{}s", admin.config.drain_time.as_secs()),
            "parent_shutdown_time": format!("{}s", arguments.parent_shutdown_time_s.unwrap_or_default()),
            "service_node": admin.config.bootstrap.node.id,
            "service_cluster": admin.config.bootstrap.node.cluster,
        },
        "node": node,
    }))
}

//! Nodes of what is in the mesh, whether it has traffic or not: pages and console name them alike.

use crate::graph::{GraphType, Node, NodeKind};
use crate::inventory::{AppList, ServiceList, WorkloadList};

/// The path of the list that names the nodes of a graph type.
pub fn path(kind: GraphType) -> &'static str {
    match kind {
        GraphType::Workload | GraphType::VersionedApp => "/api/workloads",
        GraphType::App => "/api/apps",
        GraphType::Service => "/api/services",
    }
}

/// Nodes of workloads, or of applications by version.
pub fn of_workloads(list: &WorkloadList, kind: GraphType) -> Vec<Node> {
    let node = |row: &crate::inventory::WorkloadRow| {
        let versioned = kind == GraphType::VersionedApp;
        Node {
            id: if versioned {
                format!("{}/{}@{}", row.namespace, row.app, row.version)
            } else {
                format!("{}/{}", row.namespace, row.name)
            },
            namespace: row.namespace.clone(),
            workload: if versioned {
                String::new()
            } else {
                row.name.clone()
            },
            app: row.app.clone(),
            version: row.version.clone(),
            kind: match (row.proxy.as_str(), versioned) {
                ("gateway", _) => NodeKind::Gateway,
                (_, true) => NodeKind::App,
                (_, false) => NodeKind::Workload,
            },
        }
    };
    let mut nodes: Vec<Node> = list.workloads.iter().map(node).collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    nodes.dedup_by(|a, b| a.id == b.id);
    nodes
}

/// Nodes of applications.
pub fn of_apps(list: &AppList) -> Vec<Node> {
    let node = |row: &crate::inventory::AppRow| Node {
        id: format!("{}/{}", row.namespace, row.name),
        namespace: row.namespace.clone(),
        app: row.name.clone(),
        kind: NodeKind::App,
        ..Node::default()
    };
    list.apps.iter().map(node).collect()
}

/// Nodes of services.
pub fn of_services(list: &ServiceList) -> Vec<Node> {
    let node = |row: &crate::inventory::ServiceRow| Node {
        id: format!("service:{}", row.host),
        namespace: row.namespace.clone(),
        kind: NodeKind::Service,
        ..Node::default()
    };
    list.services.iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::WorkloadRow;

    #[test]
    fn versions_of_an_app_are_one_node_each() {
        let row = |name: &str, version: &str| WorkloadRow {
            namespace: "a".into(),
            name: name.into(),
            app: "x".into(),
            version: version.into(),
            ..WorkloadRow::default()
        };
        let list = WorkloadList {
            workloads: vec![row("x-1", "v1"), row("x-2", "v1"), row("x-3", "v2")],
        };
        let ids = |kind| {
            of_workloads(&list, kind)
                .into_iter()
                .map(|node| node.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(GraphType::VersionedApp), ["a/x@v1", "a/x@v2"]);
        assert_eq!(ids(GraphType::Workload), ["a/x-1", "a/x-2", "a/x-3"]);
    }
}

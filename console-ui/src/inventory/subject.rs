//! What a page is about, as the graph, the charts and the explorer name it. Pure.

use mesh_api::graph::Edge;

use crate::requests::Filter;

/// A kind of thing with a page of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A service.
    Service,
    /// A workload.
    Workload,
    /// An application.
    App,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// Id of its node in the graph of its type.
    pub node: String,
    /// FQDN of a service; else `namespace/name`.
    pub name: String,
}

impl Kind {
    /// Path of its list.
    pub fn path(self) -> &'static str {
        match self {
            Self::Service => "/services",
            Self::Workload => "/workloads",
            Self::App => "/apps",
        }
    }

    /// As the API names the graph's type.
    pub fn graph(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Workload => "workload",
            Self::App => "app",
        }
    }
}

impl Subject {
    /// A service by its FQDN.
    pub fn service(host: &str) -> Self {
        Self {
            kind: Kind::Service,
            node: format!("service:{host}"),
            name: host.to_owned(),
        }
    }

    /// A workload or an application by `namespace/name`.
    pub fn named(kind: Kind, name: String) -> Self {
        Self {
            kind,
            node: name.clone(),
            name,
        }
    }

    /// Requests that concern it.
    pub fn filter(&self) -> Filter {
        let field = match self.kind {
            Kind::Service => "service",
            Kind::Workload => "workload",
            Kind::App => "app",
        };
        Filter::of(field, self.name.clone())
    }

    /// Edges that end or begin at it.
    pub fn edges<'a>(&'a self, edges: &'a [Edge], incoming: bool) -> impl Iterator<Item = &'a Edge> {
        edges.iter().filter(move |edge| {
            let (mine, other) = if incoming {
                (&edge.target, &edge.source)
            } else {
                (&edge.source, &edge.target)
            };
            *mine == self.node && *other != self.node
        })
    }
}

/// Name and path of a node, for a link; `unknown` has no page.
pub fn page_of_node(kind: Kind, node: &str) -> (String, Option<String>) {
    if let Some(host) = node.strip_prefix("service:") {
        let mut parts = host.split('.');
        let (name, namespace) = (parts.next().unwrap_or(host), parts.next());
        let local = host.ends_with(".svc.cluster.local") || host.contains(".svc.");
        return match namespace {
            Some(namespace) if local => (
                format!("{namespace}/{name}"),
                Some(format!("/services/{namespace}/{name}")),
            ),
            _ => (host.to_owned(), None),
        };
    }
    if !node.contains('/') {
        return (node.to_owned(), None);
    }
    (node.to_owned(), Some(format!("{}/{node}", kind.path())))
}

/// Requests of one edge, as the explorer filters them.
pub fn filter_of_edge(kind: Kind, edge: &Edge) -> Filter {
    let mut filter = Filter::default();
    let mut set = |field: &'static str, value: &str| {
        filter.values.insert(field, vec![value.to_owned()]);
    };
    if kind == Kind::Workload {
        set("source", &edge.source);
        if edge.target != "unknown" {
            set("destination", &edge.target);
        }
    } else if edge.source.contains('/') && kind == Kind::App {
        set("app", &edge.source);
    }
    if !edge.service.is_empty() && edge.service != "unknown" {
        set("service", &edge.service);
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_pages() {
        for (kind, node, name, path) in [
            (
                Kind::Service,
                "service:reviews.default.svc.cluster.local",
                "default/reviews",
                Some("/services/default/reviews"),
            ),
            (Kind::Service, "service:api.example.com", "api.example.com", None),
            (
                Kind::Workload,
                "default/reviews-v1",
                "default/reviews-v1",
                Some("/workloads/default/reviews-v1"),
            ),
            (Kind::App, "unknown", "unknown", None),
        ] {
            assert_eq!(
                page_of_node(kind, node),
                (name.to_owned(), path.map(str::to_owned)),
                "{node}"
            );
        }
    }

    #[test]
    fn edges_of_a_subject() {
        let edge = |source: &str, target: &str| Edge {
            source: source.into(),
            target: target.into(),
            ..Edge::default()
        };
        let edges = [edge("a/x", "a/y"), edge("a/y", "a/z"), edge("a/y", "a/y")];
        let subject = Subject::named(Kind::Workload, "a/y".into());
        assert_eq!(subject.edges(&edges, true).count(), 1);
        assert_eq!(subject.edges(&edges, false).count(), 1);
        assert_eq!(subject.filter().query(), "&workload=a%2Fy");
        assert_eq!(
            filter_of_edge(Kind::Workload, &edges[0]).query(),
            "&source=a%2Fx&destination=a%2Fy"
        );
    }
}

//! From the graph to the requests, traces and pages behind it. Pure.

use mesh_api::graph::GraphType;
use mesh_api::layout::LOCAL_ANSWERS;

/// A filter as pairs of a URL.
pub type Filter = Vec<(&'static str, String)>;

/// What is on the picture, as the filter of requests names it.
fn end(id: &str) -> String {
    if id == LOCAL_ANSWERS {
        "unknown".to_owned()
    } else {
        id.to_owned()
    }
}

fn app_of(id: &str) -> String {
    id.split_once('@').map_or(id, |(app, _)| app).to_owned()
}

fn host_of(id: &str) -> String {
    id.strip_prefix("service:").unwrap_or(id).to_owned()
}

/// The requests of an edge. Applications and services are not ends of a request; their edges are told by the caller's
/// application and the called service.
pub fn edge(kind: GraphType, source: &str, target: &str, services: &[String]) -> Filter {
    let mut filter = Filter::new();
    match kind {
        GraphType::Workload => {
            filter.push(("source", source.to_owned()));
            filter.push(("destination", end(target)));
        }
        GraphType::App | GraphType::VersionedApp => {
            if source == "unknown" {
                filter.push(("source", source.to_owned()));
            } else {
                filter.push(("app", app_of(source)));
            }
            filter.extend(services.iter().map(|service| ("service", service.clone())));
        }
        GraphType::Service => {
            if target == LOCAL_ANSWERS || target == "unknown" {
                filter.push(("destination", "unknown".to_owned()));
            } else {
                filter.push(("service", host_of(target)));
            }
            if source == "unknown" {
                filter.push(("source", source.to_owned()));
            }
        }
    }
    filter
}

/// The requests of a node.
pub fn node(kind: GraphType, id: &str) -> Filter {
    if id == LOCAL_ANSWERS {
        return vec![("destination", "unknown".to_owned())];
    }
    if id == "unknown" {
        return vec![("source", id.to_owned())];
    }
    match kind {
        GraphType::Workload => vec![("workload", id.to_owned())],
        GraphType::App | GraphType::VersionedApp => vec![("app", app_of(id))],
        GraphType::Service => vec![("service", host_of(id))],
    }
}

/// The page of a node.
pub fn page(kind: GraphType, id: &str) -> Option<String> {
    if id == LOCAL_ANSWERS || id == "unknown" {
        return None;
    }
    match kind {
        GraphType::Workload => Some(format!("/workloads/{id}")),
        GraphType::App | GraphType::VersionedApp => Some(format!("/apps/{}", app_of(id))),
        GraphType::Service => {
            let host = host_of(id);
            let mut parts = host.strip_suffix(".svc.cluster.local")?.split('.');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some(namespace), None) => Some(format!("/services/{namespace}/{name}")),
                _ => None,
            }
        }
    }
}

/// Path with the filter, percent-encoded by `encode`.
pub fn path(page: &str, filter: &[(&'static str, String)], encode: fn(&str) -> String) -> String {
    let pairs: Vec<String> = filter
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    if pairs.is_empty() {
        page.to_owned()
    } else {
        format!("{page}?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &Filter, expected: &str) {
        assert_eq!(
            path("/requests", filter, str::to_owned),
            format!("/requests?{expected}")
        );
    }

    #[test]
    fn an_edge_leads_to_its_requests() {
        let services = ["reviews.a.svc.cluster.local".to_owned()];
        let of = |kind, source: &str, target: &str| edge(kind, source, target, &services);
        check(
            &of(GraphType::Workload, "a/x", "a/y"),
            "source=a/x&destination=a/y",
        );
        check(
            &of(GraphType::Workload, "a/x", LOCAL_ANSWERS),
            "source=a/x&destination=unknown",
        );
        check(
            &of(GraphType::VersionedApp, "a/x@v1", "a/y@v2"),
            "app=a/x&service=reviews.a.svc.cluster.local",
        );
        check(
            &of(GraphType::App, "unknown", "a/y"),
            "source=unknown&service=reviews.a.svc.cluster.local",
        );
        check(
            &of(
                GraphType::Service,
                "service:a.a.svc.cluster.local",
                "service:b.a.svc.cluster.local",
            ),
            "service=b.a.svc.cluster.local",
        );
    }

    #[test]
    fn a_node_leads_to_its_page() {
        for (kind, id, expected) in [
            (GraphType::Workload, "a/x-v1", Some("/workloads/a/x-v1")),
            (GraphType::VersionedApp, "a/x@v1", Some("/apps/a/x")),
            (
                GraphType::Service,
                "service:b.a.svc.cluster.local",
                Some("/services/a/b"),
            ),
            (GraphType::Service, "service:api.example.com", None),
            (GraphType::Workload, "unknown", None),
            (GraphType::Workload, LOCAL_ANSWERS, None),
        ] {
            assert_eq!(page(kind, id).as_deref(), expected, "{id}");
        }
    }
}

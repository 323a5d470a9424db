//! What a proxy was sent, as tables. Reads Envoy's `/config_dump` in its two shapes (`configs` with types, and plain
//! lists by name), and takes what it finds. Pure.

use serde_json::Value;

/// A table of the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Clusters.
    Clusters,
    /// Listeners.
    Listeners,
    /// Routes.
    Routes,
    /// Endpoints.
    Endpoints,
}

/// A row: its cells, and the resource that it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// As many as the table has columns.
    pub cells: Vec<String>,
    /// The resource.
    pub resource: Value,
}

impl Part {
    /// All.
    pub const ALL: [Self; 4] = [Self::Clusters, Self::Listeners, Self::Routes, Self::Endpoints];

    /// In the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Listeners => "listeners",
            Self::Routes => "routes",
            Self::Endpoints => "endpoints",
        }
    }

    /// Key of a resource inside what wraps it.
    fn wrapped_in(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Listeners => "listener",
            Self::Routes => "route_config",
            Self::Endpoints => "endpoint_config",
        }
    }

    /// The resources of this kind.
    pub fn resources(self, dump: &Value) -> Vec<Value> {
        let key = self.wrapped_in();
        let mut found = Vec::new();
        if let Some(list) = dump.get(self.name()).and_then(Value::as_array) {
            found.extend(list.iter().map(|item| unwrapped(item, key)));
        }
        for config in dump
            .get("configs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            for (_, list) in config.as_object().into_iter().flatten() {
                let items = list.as_array().into_iter().flatten();
                found.extend(
                    items
                        .filter(|item| holds(item, key))
                        .map(|item| unwrapped(item, key)),
                );
            }
        }
        found
    }

    /// Rows of the table.
    pub fn items(self, dump: &Value) -> Vec<Item> {
        let rows = |resource: &Value| match self {
            Self::Clusters => vec![cluster(resource)],
            Self::Listeners => vec![listener(resource)],
            Self::Routes => routes(resource),
            Self::Endpoints => endpoints(resource),
        };
        let resources = self.resources(dump);
        let all = resources.iter().flat_map(|resource| {
            rows(resource).into_iter().map(|cells| Item {
                cells,
                resource: resource.clone(),
            })
        });
        all.collect()
    }
}

fn holds(item: &Value, key: &str) -> bool {
    item.get(key).is_some() || item.pointer(&format!("/active_state/{key}")).is_some()
}

fn unwrapped(item: &Value, key: &str) -> Value {
    item.get(key)
        .or_else(|| item.pointer(&format!("/active_state/{key}")))
        .unwrap_or(item)
        .clone()
}

/// A field in snake or camel case.
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| {
        let mut camel = String::new();
        let mut up = false;
        for c in name.chars() {
            if c == '_' {
                up = true;
            } else if up {
                camel.extend(c.to_uppercase());
                up = false;
            } else {
                camel.push(c);
            }
        }
        value.get(&camel)
    })
}

fn text(value: &Value, name: &str) -> String {
    field(value, name).map_or_else(String::new, plain)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `outbound|9080|v1|reviews.default.svc.cluster.local`: direction, port, subset, host.
fn cluster(value: &Value) -> Vec<String> {
    let name = text(value, "name");
    let parts: Vec<&str> = name.split('|').collect();
    let (direction, port, subset, host) = match parts.as_slice() {
        [direction, port, subset, host] => (*direction, *port, *subset, *host),
        _ => ("", "", "", name.as_str()),
    };
    let kind = field(value, "type").map_or_else(
        || {
            field(value, "cluster_type")
                .map(|kind| text(kind, "name"))
                .unwrap_or_default()
        },
        plain,
    );
    let tls =
        field(value, "transport_socket").is_some() || !list(value, "transport_socket_matches").is_empty();
    vec![
        host.to_owned(),
        direction.to_owned(),
        port.to_owned(),
        subset.to_owned(),
        kind,
        text(value, "lb_policy"),
        if tls { "TLS" } else { "" }.to_owned(),
    ]
}

fn address(value: &Value) -> String {
    let Some(socket) = field(value, "address").and_then(|address| field(address, "socket_address")) else {
        return field(value, "address")
            .and_then(|address| field(address, "pipe"))
            .map(|pipe| text(pipe, "path"))
            .unwrap_or_default();
    };
    let port = text(socket, "port_value");
    format!("{}:{port}", text(socket, "address"))
}

fn listener(value: &Value) -> Vec<String> {
    let chains = list(value, "filter_chains");
    let filters: Vec<String> = chains
        .iter()
        .flat_map(|chain| list(chain, "filters"))
        .map(|filter| {
            let name = text(filter, "name");
            name.rsplit('.').next().unwrap_or_default().to_owned()
        })
        .collect();
    let mut kinds = filters;
    kinds.sort();
    kinds.dedup();
    vec![
        text(value, "name"),
        address(value),
        text(value, "traffic_direction").to_lowercase(),
        chains.len().to_string(),
        kinds.join(", "),
    ]
}

fn routes(value: &Value) -> Vec<Vec<String>> {
    let table = text(value, "name");
    let mut rows = Vec::new();
    for host in list(value, "virtual_hosts") {
        let domains: Vec<String> = list(host, "domains").iter().map(plain).collect();
        for route in list(host, "routes") {
            rows.push(vec![
                table.clone(),
                domains.join(", "),
                match_text(field(route, "match").unwrap_or(&Value::Null)),
                target(route),
                text(route, "name"),
            ]);
        }
    }
    rows
}

fn match_text(value: &Value) -> String {
    let mut words = Vec::new();
    for (name, sign) in [("path", "= "), ("prefix", ""), ("path_separated_prefix", "")] {
        let found = text(value, name);
        if !found.is_empty() {
            words.push(format!("{sign}{found}{}", if name == "path" { "" } else { "*" }));
        }
    }
    if let Some(regex) = field(value, "safe_regex") {
        words.push(format!("~ {}", text(regex, "regex")));
    }
    let headers = list(value, "headers");
    words.extend(headers.iter().map(|header| text(header, "name")));
    words.join(" · ")
}

fn target(route: &Value) -> String {
    if let Some(redirect) = field(route, "redirect") {
        return format!(
            "redirect {}{}",
            text(redirect, "host_redirect"),
            text(redirect, "path_redirect")
        );
    }
    if let Some(answer) = field(route, "direct_response") {
        return format!("status {}", text(answer, "status"));
    }
    let Some(action) = field(route, "route") else {
        return String::new();
    };
    let Some(weighted) = field(action, "weighted_clusters") else {
        return text(action, "cluster");
    };
    let one = |cluster: &Value| format!("{} ({})", text(cluster, "name"), text(cluster, "weight"));
    list(weighted, "clusters")
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

fn endpoints(value: &Value) -> Vec<Vec<String>> {
    let name = text(value, "cluster_name");
    let mut rows = Vec::new();
    for group in list(value, "endpoints") {
        for endpoint in list(group, "lb_endpoints") {
            let inner = field(endpoint, "endpoint").unwrap_or(&Value::Null);
            let health = text(endpoint, "health_status");
            rows.push(vec![
                address(inner),
                name.clone(),
                if health.is_empty() {
                    "HEALTHY".to_owned()
                } else {
                    health
                },
                text(endpoint, "load_balancing_weight"),
                text(group, "priority"),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(part: Part, dump: &Value, expected: &[&[&str]]) {
        let rows: Vec<Vec<String>> = part.items(dump).into_iter().map(|item| item.cells).collect();
        assert_eq!(rows, expected, "{}", part.name());
    }

    #[test]
    fn clusters_of_both_shapes() {
        let cluster = json!({"name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS", "lbPolicy": "LEAST_REQUEST", "transport_socket": {}});
        let row: &[&str] = &[
            "reviews.default.svc.cluster.local",
            "outbound",
            "9080",
            "v1",
            "EDS",
            "LEAST_REQUEST",
            "TLS",
        ];
        check(Part::Clusters, &json!({"clusters": [cluster]}), &[row]);
        check(
            Part::Clusters,
            &json!({"configs": [{"@type": "…ClustersConfigDump", "dynamic_active_clusters": [{"version_info": "1", "cluster": cluster}]}]}),
            &[row],
        );
        check(
            Part::Clusters,
            &json!({"clusters": [{"name": "xds-grpc"}]}),
            &[&["xds-grpc", "", "", "", "", "", ""]],
        );
    }

    #[test]
    fn listeners_routes_endpoints() {
        let dump = json!({
            "configs": [
                {"dynamic_listeners": [{"name": "x", "active_state": {"listener": {
                    "name": "inbound", "address": {"socket_address": {"address": "127.64.1.2", "port_value": 9080}},
                    "traffic_direction": "INBOUND", "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager"}]}]}}}]},
                {"dynamic_route_configs": [{"route_config": {"name": "9080", "virtual_hosts": [{"domains": ["reviews", "reviews.default"], "routes": [
                    {"name": "all", "match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 90}, {"name": "b", "weight": 10}]}}},
                    {"match": {"path": "/x"}, "direct_response": {"status": 404}}]}]}}]},
            ],
            "endpoints": [{"clusterName": "a", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": {"socketAddress": {"address": "127.64.2.2", "portValue": 9080}}}}]}]}],
        });
        check(
            Part::Listeners,
            &dump,
            &[&[
                "inbound",
                "127.64.1.2:9080",
                "inbound",
                "1",
                "http_connection_manager",
            ]],
        );
        check(
            Part::Routes,
            &dump,
            &[
                &["9080", "reviews, reviews.default", "/*", "a (90), b (10)", "all"],
                &["9080", "reviews, reviews.default", "= /x", "status 404", ""],
            ],
        );
        check(
            Part::Endpoints,
            &dump,
            &[&["127.64.2.2:9080", "a", "HEALTHY", "", ""]],
        );
    }

    #[test]
    fn nonsense_gives_nothing() {
        for dump in [
            json!(null),
            json!([]),
            json!({"clusters": 5, "configs": [1, {"a": "b"}]}),
        ] {
            for part in Part::ALL {
                check(part, &dump, &[]);
            }
        }
    }
}

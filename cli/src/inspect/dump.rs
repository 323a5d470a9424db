//! Rows from what a proxy's admin answers.

use serde_json::{Value, json};

use super::output::Rows;
use super::proxy_config::What;

/// The part of an answer that a command is about, for programs.
pub(super) fn part(what: What, value: &Value) -> Value {
    let config = |name: &str| {
        configs(value)
            .find(|config| config["@type"].as_str().is_some_and(|kind| kind.ends_with(name)))
            .cloned()
            .unwrap_or(Value::Null)
    };
    match what {
        What::Bootstrap => config("BootstrapConfigDump"),
        What::Cluster => json!(of(value, CLUSTERS)),
        What::Listener => json!(of(value, LISTENERS)),
        What::Route => json!(of(value, ROUTES)),
        What::Endpoint => value["cluster_statuses"].clone(),
        What::Secret => value["certificates"].clone(),
        What::Log | What::All => value.clone(),
    }
}

/// Lists of a dump, and where an item of each is.
type Lists = &'static [(&'static str, &'static str)];
const CLUSTERS: Lists = &[
    ("static_clusters", "/cluster"),
    ("dynamic_active_clusters", "/cluster"),
];
const LISTENERS: Lists = &[
    ("static_listeners", "/listener"),
    ("dynamic_listeners", "/active_state/listener"),
];
const ROUTES: Lists = &[
    ("static_route_configs", "/route_config"),
    ("dynamic_route_configs", "/route_config"),
];

fn configs(value: &Value) -> impl Iterator<Item = &Value> {
    value["configs"].as_array().into_iter().flatten()
}

fn of(value: &Value, lists: Lists) -> Vec<&Value> {
    configs(value)
        .flat_map(|config| {
            lists
                .iter()
                .flat_map(|(list, at)| items(&config[*list]).filter_map(|item| item.pointer(at)))
        })
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Who it is and whom it asks.
pub(super) fn bootstrap(value: &Value) -> Rows {
    let mut rows = Rows::new(&["FIELD", "VALUE"]);
    let dump = part(What::Bootstrap, value);
    let node = &dump["bootstrap"]["node"];
    rows.push(vec!["id".to_owned(), text(&node["id"])]);
    rows.push(vec!["cluster".to_owned(), text(&node["cluster"])]);
    for (name, value) in node["metadata"].as_object().into_iter().flatten() {
        rows.push(vec![name.clone(), text(value)]);
    }
    rows
}

/// `direction|port|subset|host`, as clusters of a mesh are called.
pub(super) fn clusters(value: &Value) -> Rows {
    let mut rows = Rows::new(&["SERVICE", "PORT", "SUBSET", "DIRECTION", "TYPE"]);
    for cluster in of(value, CLUSTERS) {
        let name = text(&cluster["name"]);
        let parts: Vec<&str> = name.split('|').collect();
        let kind = match text(&cluster["type"]) {
            kind if kind.is_empty() => "STATIC".to_owned(),
            kind => kind,
        };
        let row = match parts.as_slice() {
            [direction, port, subset, host] => [host, port, subset, direction].map(|part| (*part).to_owned()),
            _ => [name.clone(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
        };
        let mut row = row.to_vec();
        row.push(kind);
        rows.push(row);
    }
    rows
}

/// Each endpoint of each cluster.
pub(super) fn endpoints(value: &Value) -> Rows {
    let mut rows = Rows::new(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"]);
    for cluster in items(&value["cluster_statuses"]) {
        for host in items(&cluster["host_statuses"]) {
            let health = &host["health_status"];
            let ejected = health["failed_outlier_check"] == true;
            rows.push(vec![
                socket(&host["address"]),
                text(&health["eds_health_status"]),
                if ejected { "FAILED" } else { "OK" }.to_owned(),
                text(&cluster["name"]),
            ]);
        }
    }
    rows
}

fn socket(address: &Value) -> String {
    let socket = &address["socket_address"];
    format!("{}:{}", text(&socket["address"]), text(&socket["port_value"]))
}

/// Each filter chain of each listener.
pub(super) fn listeners(value: &Value) -> Rows {
    let mut rows = Rows::new(&["ADDRESS", "NAME", "CHAIN", "DESTINATION"]);
    for listener in of(value, LISTENERS) {
        let default = Some(&listener["default_filter_chain"]).filter(|chain| chain.is_object());
        for chain in items(&listener["filter_chains"]).chain(default) {
            let destination = items(&chain["filters"])
                .filter_map(|filter| destination(&filter["typed_config"]))
                .collect::<Vec<_>>()
                .join(", ");
            rows.push(vec![
                socket(&listener["address"]),
                text(&listener["name"]),
                text(&chain["name"]),
                destination,
            ]);
        }
    }
    rows
}

/// Where a network filter sends what arrives.
fn destination(filter: &Value) -> Option<String> {
    if let Some(name) = filter["rds"]["route_config_name"].as_str() {
        return Some(format!("Route: {name}"));
    }
    if let Some(name) = filter["route_config"]["name"].as_str() {
        return Some(format!("Inline route: {name}"));
    }
    if let Some(name) = filter["cluster"].as_str() {
        return Some(format!("Cluster: {name}"));
    }
    let clusters: Vec<String> = items(&filter["weighted_clusters"]["clusters"])
        .map(|cluster| format!("{} {}", text(&cluster["weight"]), text(&cluster["name"])))
        .collect();
    (!clusters.is_empty()).then(|| format!("Clusters: {}", clusters.join(", ")))
}

/// Each route of each virtual host.
pub(super) fn routes(value: &Value) -> Rows {
    let mut rows = Rows::new(&["TABLE", "VIRTUAL HOST", "ROUTE", "MATCH", "VIRTUAL SERVICE"]);
    for table in of(value, ROUTES) {
        for host in items(&table["virtual_hosts"]) {
            for route in items(&host["routes"]) {
                let ours = &route["metadata"]["filter_metadata"]["sightline"];
                rows.push(vec![
                    text(&table["name"]),
                    text(&host["name"]),
                    text(&route["name"]),
                    matched(&route["match"]),
                    text(&ours["virtual_service"]),
                ]);
            }
        }
    }
    rows
}

fn matched(found: &Value) -> String {
    let path = if let Some(prefix) = found["prefix"].as_str() {
        format!("{prefix}*")
    } else if let Some(prefix) = found["path_separated_prefix"].as_str() {
        format!("{prefix}/*")
    } else if let Some(path) = found["path"].as_str() {
        path.to_owned()
    } else {
        text(&found["safe_regex"]["regex"])
    };
    let headers = items(&found["headers"])
        .map(|header| text(&header["name"]))
        .collect::<Vec<_>>();
    if headers.is_empty() {
        path
    } else {
        format!("{path} and {}", headers.join(", "))
    }
}

/// Each certificate.
pub(super) fn secrets(value: &Value) -> Rows {
    let mut rows = Rows::new(&["NAME", "TYPE", "SERIAL", "NOT BEFORE", "NOT AFTER", "IDENTITY"]);
    for certificate in items(&value["certificates"]) {
        let kinds = [
            ("default", "Cert Chain", "cert_chain"),
            ("ROOTCA", "CA", "ca_cert"),
        ];
        for (name, kind, list) in kinds {
            for one in items(&certificate[list]) {
                let identity = items(&one["subject_alt_names"])
                    .map(|name| text(&name["uri"]))
                    .collect::<Vec<_>>()
                    .join(", ");
                rows.push(vec![
                    name.to_owned(),
                    kind.to_owned(),
                    text(&one["serial_number"]),
                    text(&one["valid_from"]),
                    text(&one["expiration_time"]),
                    identity,
                ]);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &Rows, parts: &[&str]) {
        let text = rows.text();
        for part in parts {
            assert!(text.contains(part), "{text}\nlacks {part}");
        }
    }

    #[test]
    fn rows_of_a_dump() {
        let value = json!({ "configs": [
            { "@type": "x/envoy.admin.v3.BootstrapConfigDump", "bootstrap": { "node": { "id": "sidecar~a", "metadata": { "NAME": "pod-1" } } } },
            { "@type": "x/envoy.admin.v3.ClustersConfigDump",
              "static_clusters": [{ "cluster": { "name": "xds-grpc" } }],
              "dynamic_active_clusters": [{ "cluster": { "name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS" } }] },
            { "@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{ "active_state": { "listener": {
                "name": "virtualInbound", "address": { "socket_address": { "address": "127.64.1.2", "port_value": 9080 } },
                "filter_chains": [
                    { "name": "a", "filters": [{ "typed_config": { "rds": { "route_config_name": "9080" } } }] },
                    { "name": "b", "filters": [{ "typed_config": { "cluster": "inbound|9080||" } }] },
                ] } } }] },
            { "@type": "x/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [{ "route_config": { "name": "9080", "virtual_hosts": [
                { "name": "reviews:9080", "routes": [{ "name": "readers.all", "match": { "prefix": "/", "headers": [{ "name": "end-user" }] },
                  "metadata": { "filter_metadata": { "sightline": { "virtual_service": "default/reviews" } } } }] }] } }] },
        ] });
        check(&bootstrap(&value), &["sidecar~a", "pod-1"]);
        check(
            &clusters(&value),
            &["reviews.default.svc.cluster.local", "v1", "EDS", "xds-grpc"],
        );
        check(
            &listeners(&value),
            &["127.64.1.2:9080", "Route: 9080", "Cluster: inbound|9080||"],
        );
        check(
            &routes(&value),
            &["readers.all", "/* and end-user", "default/reviews"],
        );
        assert_eq!(part(What::Cluster, &value).as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn rows_of_endpoints_and_certificates_and_a_filter() {
        let address = json!({ "socket_address": { "address": "127.64.4.2", "port_value": 9080 } });
        let value = json!({ "cluster_statuses": [{ "name": "outbound|9080||x", "host_statuses": [
            { "address": address, "health_status": { "eds_health_status": "HEALTHY", "failed_outlier_check": true } },
        ] }] });
        check(&endpoints(&value), &["127.64.4.2:9080", "HEALTHY", "FAILED"]);
        let mut none = endpoints(&value);
        none.keep("elsewhere");
        assert!(!none.text().contains("127.64.4.2"));
        let value = json!({ "certificates": [{ "cert_chain": [
            { "serial_number": "1a", "subject_alt_names": [{ "uri": "spiffe://cluster.local/ns/default/sa/x" }] },
        ] }] });
        check(
            &secrets(&value),
            &["1a", "spiffe://cluster.local/ns/default/sa/x", "Cert Chain"],
        );
    }

    #[test]
    fn an_unexpected_answer_gives_no_rows_and_no_panic() {
        for value in [json!({}), json!([]), json!({ "configs": "x" }), Value::Null] {
            for rows in [
                bootstrap(&value),
                clusters(&value),
                listeners(&value),
                routes(&value),
                secrets(&value),
                endpoints(&value),
            ] {
                assert!(!rows.text().is_empty());
            }
        }
    }
}

//! Services: defaults, cluster addresses and node ports, and their rules.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use rand::Rng;
use serde_json::{Value, json};

use super::{edit, list, or_set, text};
use crate::names;
use crate::registry::Resource;
use crate::status::{Cause, Refusal};
use crate::store::Transaction;

/// Cluster addresses come from 10.96.0.0/12; nothing routes there on a laptop, they only name services.
const FIRST: u32 = (10 << 24) | (96 << 16);
const SIZE: u32 = 1 << 20;
const NODE_PORTS: std::ops::Range<u16> = 30_000..32_768;

pub(super) fn default(object: &mut Value) {
    edit(object, "spec", |spec| {
        or_set(spec, "sessionAffinity", "None");
        or_set(spec, "type", "ClusterIP");
        let kind = spec
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
            or_set(
                spec,
                "sessionAffinityConfig",
                json!({"clientIP": {"timeoutSeconds": 10800}}),
            );
        }
        if let Some(Value::Array(ports)) = spec.get_mut("ports") {
            for port in ports.iter_mut().filter_map(Value::as_object_mut) {
                or_set(port, "protocol", "TCP");
                let unset = port
                    .get("targetPort")
                    .is_none_or(|t| *t == json!(0) || *t == json!(""));
                if unset {
                    let number = port.get("port").cloned().unwrap_or_else(|| 0.into());
                    port.insert("targetPort".into(), number);
                }
            }
        }
        if kind == "NodePort" || kind == "LoadBalancer" {
            or_set(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            or_set(spec, "allocateLoadBalancerNodePorts", true);
        }
        if kind != "ExternalName" {
            or_set(spec, "internalTrafficPolicy", "Cluster");
        }
    });
    edit(object, "status", |status| {
        or_set(status, "loadBalancer", json!({}));
        let ingress = status.get_mut("loadBalancer").and_then(|l| l.get_mut("ingress"));
        for entry in ingress.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(entry) = entry
                && entry.contains_key("ip")
            {
                or_set(entry, "ipMode", "VIP");
            }
        }
    });
}

/// An update that leaves the address out keeps it.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    if text(new, "/spec/type") == "ExternalName" {
        edit(new, "spec", |spec| {
            for field in [
                "clusterIP",
                "clusterIPs",
                "ipFamilies",
                "ipFamilyPolicy",
                "internalTrafficPolicy",
            ] {
                spec.shift_remove(field);
            }
        });
        return;
    }
    let old_spec = old.get("spec").cloned().unwrap_or_default();
    edit(new, "spec", |spec| {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old_spec.get(field) {
                or_set(spec, field, value.clone());
            }
        }
    });
}

/// Gives a service its address and node ports.
pub(super) async fn allocate(
    tx: &mut Transaction<'_>,
    object: &mut Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    let kind = text(object, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    let others = tx.list(resource.storage, None).await?;
    let uid = text(object, "/metadata/uid").to_owned();
    let others = others.iter().filter(|o| text(o, "/metadata/uid") != uid);
    let mut addresses = HashSet::new();
    let mut node_ports = HashSet::new();
    for other in others {
        addresses.insert(text(other, "/spec/clusterIP").to_owned());
        for port in list(other, "/spec/ports") {
            node_ports.extend(port.get("nodePort").and_then(Value::as_u64));
        }
    }
    let asked = text(object, "/spec/clusterIP").to_owned();
    let address = match asked.as_str() {
        "" => free_address(&addresses)
            .ok_or_else(|| Refusal::internal("failed to allocate a serviceIP: range is full"))?,
        "None" => asked,
        _ if addresses.contains(&asked) => {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: format!(
                    "Invalid value: {:?}: failed to allocate IP {asked}: provided IP is already allocated",
                    json!([asked]).to_string()
                )
                .replace("\\\"", "\"")
                .replace("\"[", "[")
                .replace("]\"", "]"),
                field: "spec.clusterIPs".into(),
            };
            return Err(Refusal::invalid(
                resource,
                text(object, "/metadata/name"),
                &[cause],
            ));
        }
        _ => asked,
    };
    edit(object, "spec", |spec| {
        spec.insert("clusterIP".into(), address.clone().into());
        spec.insert("clusterIPs".into(), json!([address]));
        or_set(spec, "ipFamilies", json!(["IPv4"]));
        or_set(spec, "ipFamilyPolicy", "SingleStack");
        if kind == "NodePort" || kind == "LoadBalancer" {
            for port in spec
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Value::Object(port) = port
                    && port.get("nodePort").is_none()
                    && let Some(free) = free_port(&node_ports)
                {
                    node_ports.insert(u64::from(free));
                    port.insert("nodePort".into(), free.into());
                }
            }
        }
    });
    Ok(())
}

fn free_address(used: &HashSet<String>) -> Option<String> {
    let mut rng = rand::rng();
    (0..10_000)
        // The first 256 are left to addresses that people choose.
        .map(|_| Ipv4Addr::from(FIRST + rng.random_range(256..SIZE - 1)).to_string())
        .find(|address| !used.contains(address))
}

fn free_port(used: &HashSet<u64>) -> Option<u16> {
    let mut rng = rand::rng();
    (0..10_000)
        .map(|_| rng.random_range(NODE_PORTS))
        .find(|port| !used.contains(&u64::from(*port)))
}

pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = new.get("spec").cloned().unwrap_or_default();
    let kind = text(&spec, "/type");
    let ports = list(&spec, "/ports");
    let headless = text(&spec, "/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        let name = text(&spec, "/externalName");
        if name.is_empty() {
            causes.push(Cause::required("spec.externalName", ""));
        } else if let Some(fault) = names::subdomain(name.trim_end_matches('.')) {
            causes.push(Cause::invalid("spec.externalName", &json!(name), &fault));
        }
    }
    check_ports(ports, &mut causes);
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName") {
        causes.push(Cause::unsupported(
            "spec.type",
            &json!(kind),
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        ));
    }

    if let Some(affinity) = spec.get("sessionAffinity")
        && !matches!(affinity.as_str(), Some("None" | "ClientIP"))
    {
        causes.push(Cause::unsupported(
            "spec.sessionAffinity",
            affinity,
            &["ClientIP", "None"],
        ));
    }
    let ingress = "/status/loadBalancer/ingress";
    if kind != "LoadBalancer"
        && !list(new, ingress).is_empty()
        && old.is_some_and(|old| list(old, ingress) != list(new, ingress))
    {
        causes.push(Cause::forbidden(
            "status.loadBalancer.ingress",
            "may only be used when `spec.type` is 'LoadBalancer'",
        ));
    }
    let address = text(&spec, "/clusterIP");
    if !address.is_empty() && !headless && address.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!(address), detail));
    }
    if let Some(old) = old {
        let before = text(old, "/spec/clusterIP");
        if !before.is_empty() && !address.is_empty() && before != address && kind != "ExternalName" {
            causes.push(Cause::invalid(
                "spec.clusterIPs[0]",
                &json!([address]),
                "may not change once set",
            ));
        }
    }
    causes
}

fn check_ports(ports: &[Value], causes: &mut Vec<Cause>) {
    let mut names_seen = HashSet::new();
    let mut ports_seen = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{at}].{name}");
        let name = text(port, "/name");
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(field("name"), ""));
            }
        } else {
            if let Some(fault) = names::label(name) {
                causes.push(Cause::invalid(field("name"), &json!(name), &fault));
            }
            if !names_seen.insert(name.to_owned()) {
                causes.push(Cause::duplicate(field("name"), &json!(name)));
            }
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            causes.push(Cause::invalid(
                field("port"),
                &json!(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
        let protocol = text(port, "/protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            causes.push(Cause::unsupported(
                field("protocol"),
                &json!(protocol),
                &["SCTP", "TCP", "UDP"],
            ));
        }
        match port.get("targetPort") {
            Some(Value::Number(target)) if !target.as_i64().is_some_and(|t| (1..=65535).contains(&t)) => {
                let detail = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(field("targetPort"), &json!(target), detail));
            }
            Some(Value::String(target)) => {
                if let Some(fault) = port_name(target) {
                    causes.push(Cause::invalid(field("targetPort"), &json!(target), fault));
                }
            }
            _ => {}
        }
        if !ports_seen.insert((protocol.to_owned(), number)) {
            let mut cause = Cause::duplicate(format!("spec.ports[{at}]"), &Value::Null);
            // As the server's own type prints itself, with only the parts that clash.
            cause.message = format!(
                "Duplicate value: {{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            causes.push(cause);
        }
    }
}

fn port_name(name: &str) -> Option<&'static str> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() > 15 {
        Some("must be no more than 15 characters")
    } else if !name.chars().all(fine) {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    } else if !name.contains(|c: char| c.is_ascii_lowercase()) {
        Some("must contain at least one letter (a-z)")
    } else if name.contains("--") {
        Some("must not contain consecutive hyphens")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen")
    } else {
        None
    }
}

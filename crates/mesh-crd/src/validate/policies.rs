//! Sidecar, and the kinds that are not typed yet.

use serde_json::Value;

use super::{Report, names};
use crate::networking::Sidecar;
use crate::object::Untyped;
use crate::parse::is_dns_label;

pub(super) fn sidecar(spec: &Sidecar, report: &mut Report<'_>) {
    for (i, listener) in spec.egress.iter().enumerate() {
        let at = format!("spec.egress[{i}]");
        if listener.hosts.is_empty() {
            report.error(
                format!("{at}.hosts"),
                "sidecar: egress listener must contain at least one host",
                "name hosts as namespace/host",
            );
        }
        if let Some(port) = &listener.port
            && port.number != 0
        {
            names::port(&format!("{at}.port.number"), port.number, report);
        }
        for (j, host) in listener.hosts.iter().enumerate() {
            egress_host(&format!("{at}.hosts[{j}]"), host, report);
        }
    }
    for (i, listener) in spec.ingress.iter().enumerate() {
        let at = format!("spec.ingress[{i}]");
        names::port(&format!("{at}.port.number"), listener.port.number, report);
        if spec
            .ingress
            .iter()
            .take(i)
            .any(|l| l.port.number == listener.port.number)
        {
            report.error(
                format!("{at}.port.number"),
                "sidecar: ports on IP bound listeners must be unique",
                "use another port",
            );
        }
    }
}

/// `namespace/host`.
fn egress_host(field: &str, text: &str, report: &mut Report<'_>) {
    let Some((namespace, host)) = text.split_once('/') else {
        report.error(
            field,
            format!("{text:?} must be of form namespace/dnsName"),
            "write namespace/host, ./host or */host",
        );
        return;
    };
    let excluded = namespace.strip_prefix('~').unwrap_or(namespace);
    if !matches!(excluded, "" | "*" | ".") && !is_dns_label(excluded) {
        report.error(
            field,
            format!("{namespace:?} is not a namespace"),
            "use *, . or a namespace",
        );
    }
    if host != "*"
        && let Some(reason) = names::wildcard_name(host)
    {
        report.error(field, reason, "write a DNS name or *.suffix");
    }
}

pub(super) fn untyped(spec: &Untyped, report: &mut Report<'_>) {
    if spec.kind == "AuthorizationPolicy" {
        authorization_policy(&spec.spec, report);
    }
}

const ATTRIBUTES: &[&str] = &[
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

fn authorization_policy(spec: &Value, report: &mut Report<'_>) {
    let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let action = text(spec, "action");
    let rules = list(spec, "rules");
    if action == "DENY" && spec.get("rules").is_none() {
        report.error(
            "spec.rules",
            "a DENY policy without rules never matches",
            "add rules; [{}] matches everything",
        );
    }
    let provider = spec.get("provider").map(|p| text(p, "name"));
    match (action.as_str(), provider) {
        ("CUSTOM", None) => report.error(
            "spec.provider",
            "`provider` must not be nil with CUSTOM action",
            "name a provider of meshConfig.extensionProviders",
        ),
        ("CUSTOM", Some(name)) if name.is_empty() => {
            report.error(
                "spec.provider.name",
                "`provider.name` must not be empty",
                "name it",
            );
        }
        ("CUSTOM", Some(_)) | (_, None) => {}
        (_, Some(_)) => report.error(
            "spec.provider",
            "`provider` must not be used with other actions than CUSTOM",
            "remove it, or use action CUSTOM",
        ),
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{i}]");
        for (j, from) in list(rule, "from").iter().enumerate() {
            block(&format!("{at}.from[{j}].source"), from.get("source"), report);
        }
        for (j, to) in list(rule, "to").iter().enumerate() {
            block(&format!("{at}.to[{j}].operation"), to.get("operation"), report);
        }
        for (j, when) in list(rule, "when").iter().enumerate() {
            condition(&format!("{at}.when[{j}]"), when, report);
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A source or an operation: not empty, no empty values, valid ranges, paths and ports.
fn block(at: &str, block: Option<&Value>, report: &mut Report<'_>) {
    let fields = block.and_then(Value::as_object);
    let Some(fields) = fields.filter(|f| !f.is_empty()) else {
        report.error(at, "must not be empty", "add a field, or remove the entry");
        return;
    };
    for (name, values) in fields {
        let field = format!("{at}.{name}");
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        if values.is_empty() {
            report.error(
                &field,
                format!("`{name}` must not be empty"),
                "add a value, or remove the field",
            );
        }
        for (i, value) in values.iter().filter_map(Value::as_str).enumerate() {
            let field = format!("{field}[{i}]");
            if value.is_empty() {
                report.error(&field, "empty value not allowed", "write a value");
                continue;
            }
            match name.as_str() {
                "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => {
                    range(&field, value, report);
                }
                "ports" | "notPorts" if !value.parse::<u16>().is_ok_and(|p| p > 0) => {
                    report.error(
                        &field,
                        format!("invalid port {value:?}"),
                        "use a port from 1 to 65535",
                    );
                }
                _ => {}
            }
        }
    }
}

fn range(field: &str, value: &str, report: &mut Report<'_>) {
    let good = if value.contains('/') {
        value.parse::<ipnet::IpNet>().is_ok()
    } else {
        value.parse::<std::net::IpAddr>().is_ok()
    };
    if !good {
        report.error(
            field,
            format!("bad CIDR range ({value})"),
            "write an address or address/bits",
        );
    }
}

fn condition(at: &str, when: &Value, report: &mut Report<'_>) {
    let key = when.get("key").and_then(Value::as_str).unwrap_or_default();
    let indexed = |prefix: &str| {
        key.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']') && rest.len() > 2)
    };
    let known = ATTRIBUTES.contains(&key)
        || indexed("request.headers")
        || indexed("request.auth.claims")
        || key.starts_with("experimental.envoy.filters.");
    if !known {
        report.error(
            format!("{at}.key"),
            format!("unknown attribute: {key}"),
            format!(
                "use request.headers[name], request.auth.claims[name] or one of {}",
                ATTRIBUTES.join(", ")
            ),
        );
    }
    let (values, not_values) = (list(when, "values"), list(when, "notValues"));
    if values.is_empty() && not_values.is_empty() {
        report.error(
            at,
            "at least one of `values` or `notValues` must be set",
            "add values",
        );
    }
    if matches!(key, "source.ip" | "remote.ip" | "destination.ip") {
        for (name, list) in [("values", values), ("notValues", not_values)] {
            for (i, value) in list.iter().filter_map(Value::as_str).enumerate() {
                range(&format!("{at}.{name}[{i}]"), value, report);
            }
        }
    }
}

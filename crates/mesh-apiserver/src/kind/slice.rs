//! EndpointSlices.

use serde_json::{Value, json};

use super::{list, or_set, text};
use crate::status::Cause;

pub(super) fn default(object: &mut Value) {
    if let Value::Object(map) = object {
        for port in map
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(port) = port {
                or_set(port, "name", "");
                or_set(port, "protocol", "TCP");
            }
        }
        for endpoint in map
            .get_mut("endpoints")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(endpoint) = endpoint {
                or_set(endpoint, "conditions", json!({}));
            }
        }
        for field in ["endpoints", "ports"] {
            if map.get(field).is_none() {
                map.insert(field.into(), Value::Null);
            }
        }
    }
}

const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let family = text(new, "/addressType");
    if family.is_empty() {
        causes.push(Cause::required("addressType", ""));
    } else if !matches!(family, "IPv4" | "IPv6" | "FQDN") {
        causes.push(Cause::unsupported(
            "addressType",
            &json!(family),
            &["FQDN", "IPv4", "IPv6"],
        ));
    }
    for (at, endpoint) in list(new, "/endpoints").iter().enumerate() {
        let addresses = list(endpoint, "/addresses");
        if addresses.is_empty() {
            causes.push(Cause::required(
                format!("endpoints[{at}].addresses"),
                "must contain at least 1 address",
            ));
        }
        for (i, address) in addresses.iter().enumerate() {
            let field = format!("endpoints[{at}].addresses[{i}]");
            let text = address.as_str().unwrap_or_default();
            match family {
                "IPv4" if text.parse::<std::net::Ipv4Addr>().is_err() => {
                    causes.push(Cause::invalid(field, address, ADDRESS));
                }
                "IPv6" if text.parse::<std::net::Ipv6Addr>().is_err() => {
                    causes.push(Cause::invalid(field, address, ADDRESS));
                }
                _ => {}
            }
        }
    }
    if let Some(old) = old
        && new.get("addressType") != old.get("addressType")
    {
        causes.push(Cause::invalid(
            "addressType",
            &new["addressType"],
            "field is immutable",
        ));
    }
    causes
}

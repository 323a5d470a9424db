//! Placeholders of the recording: addresses of the run and keys of a step.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// Addresses of this run, by `namespace/name`.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `$POD_IP(namespace/app-version)`.
    pub pods: BTreeMap<String, IpAddr>,
    /// `$CLUSTER_IP(namespace/service)`.
    pub services: BTreeMap<String, IpAddr>,
    /// Addresses of the recording outside the loopback network, and what stands for them here: nothing leaves it.
    pub elsewhere: BTreeMap<String, String>,
}

/// A host of the recording that nobody has: no route led to it. Here its place is an address without listener.
pub const NO_HOST: &str = "10.11.12.13";
/// A host of the recording that takes packets and does not answer.
pub const SILENT_HOST: &str = "10.244.0.250";

impl Places {
    /// Replaces the addresses; fails on a name that this run does not have.
    pub fn expand(&self, text: &str) -> anyhow::Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, tail) = rest.split_at(at);
            out.push_str(before);
            let (places, tail) = if let Some(tail) = tail.strip_prefix("$POD_IP(") {
                (&self.pods, tail)
            } else if let Some(tail) = tail.strip_prefix("$CLUSTER_IP(") {
                (&self.services, tail)
            } else {
                out.push('$');
                rest = &tail[1..];
                continue;
            };
            let Some((name, tail)) = tail.split_once(')') else {
                bail!("placeholder without end: {rest:?}");
            };
            let address = places
                .get(name)
                .with_context(|| format!("no address for {name:?} in this run"))?;
            out.push_str(&address.to_string());
            rest = tail;
        }
        out.push_str(rest);
        for (there, here) in &self.elsewhere {
            out = out.replace(there, here);
        }
        Ok(out)
    }
}

/// Replaces `$U` in every string below a value.
pub fn with_key(value: &Value, key: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("$U", key)),
        Value::Array(values) => values.iter().map(|value| with_key(value, key)).collect(),
        Value::Object(map) => Value::Object(map_with_key(map, key)),
        other => other.clone(),
    }
}

/// Replaces `$U` in every string of a map's values.
#[must_use]
pub fn map_with_key(map: &Map<String, Value>, key: &str) -> Map<String, Value> {
    map.iter()
        .map(|(name, value)| (name.clone(), with_key(value, key)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let places = Places {
            pods: BTreeMap::from([("app/web-v2".to_owned(), IpAddr::from([127, 80, 3, 2]))]),
            services: BTreeMap::from([("app/web".to_owned(), IpAddr::from([127, 80, 0, 10]))]),
            elsewhere: BTreeMap::from([(NO_HOST.to_owned(), "127.80.9.13".to_owned())]),
        };
        assert_eq!(places.expand(text).ok().as_deref(), expected);
    }

    #[test]
    fn placeholders() {
        check(
            "http://$POD_IP(app/web-v2):8080/$U",
            Some("http://127.80.3.2:8080/$U"),
        );
        check("[$CLUSTER_IP(app/web), $x, $]", Some("[127.80.0.10, $x, $]"));
        check("http://10.11.12.13:8080/", Some("http://127.80.9.13:8080/"));
        check("$POD_IP(app/web)", None);
        check("$CLUSTER_IP(app/web-v2)", None);
        check("$POD_IP(app/web-v2", None);
        assert_eq!(
            with_key(&serde_json::json!({"a": ["/x?key=$U", 1]}), "k1"),
            serde_json::json!({"a": ["/x?key=k1", 1]})
        );
    }
}

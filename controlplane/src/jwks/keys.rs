//! What an issuer may say: a JSON Web Key Set of public keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Keys of one set.
const KEYS_MAX: usize = 100;
/// Members of private keys, which nobody publishes on purpose.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// The public keys of a set as text; symmetric ones are none.
pub(super) fn check(bytes: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    let list = value
        .get("keys")
        .and_then(Value::as_array)
        .ok_or("no key set: `keys` is missing")?;
    let keys: Vec<Value> = list
        .iter()
        .filter_map(Value::as_object)
        .filter_map(public)
        .collect();
    if keys.is_empty() {
        return Err("the key set has no public key".to_owned());
    }
    if keys.len() > KEYS_MAX {
        return Err(format!("the key set has more than {KEYS_MAX} keys"));
    }
    Ok(serde_json::json!({"keys": keys}).to_string())
}

fn public(key: &Map<String, Value>) -> Option<Value> {
    let kind = key.get("kty").and_then(Value::as_str)?;
    let signs = key
        .get("use")
        .and_then(Value::as_str)
        .is_none_or(|usage| usage == "sig");
    if !matches!(kind, "RSA" | "EC" | "OKP") || !signs {
        return None;
    }
    // In one order, whatever the document's: equal keys are equal texts.
    let members: BTreeMap<_, _> = key
        .iter()
        .filter(|(name, _)| !PRIVATE.contains(&name.as_str()))
        .collect();
    let members = members.into_iter();
    Some(
        members
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// `jwks_uri` of a discovery document, which must be that of the issuer.
pub(super) fn discovered(bytes: &[u8], issuer: &str) -> Result<String, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    if text("issuer").map(bare) != Some(bare(issuer)) {
        return Err(format!("the discovery document is not that of issuer {issuer}"));
    }
    text("jwks_uri")
        .map(str::to_owned)
        .ok_or_else(|| "the discovery document has no jwks_uri".to_owned())
}

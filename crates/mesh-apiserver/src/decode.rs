//! Bodies to JSON: repeated fields are noticed, YAML is taken too, and the kind must be the path's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::status::Refusal;

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Complaints of a strict reading so far: `duplicate field "spec.hosts"`.
    pub(crate) complaints: Vec<String>,
}

/// Reads a body of the given content type.
pub(crate) fn decode(content_type: &str, body: &[u8]) -> Result<Decoded, Refusal> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/json" | "*/*" => json(body),
        "application/vnd.kubernetes.protobuf" => match crate::protobuf::decode(body) {
            Ok(value) => Ok(Decoded {
                value,
                complaints: Vec::new(),
            }),
            Err(why) => Err(Refusal::bad_request(format!(
                "the protobuf body cannot be read: {why}"
            ))),
        },
        "application/yaml" | "application/x-yaml" => yaml(body),
        _ => Err(Refusal::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Reads JSON, noticing repeated fields.
pub(crate) fn json(body: &[u8]) -> Result<Decoded, Refusal> {
    let mut complaints = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Seed {
        path: &mut String::new(),
        complaints: &mut complaints,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Refusal::bad_request(format!("the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse error: {error}")))?;
    Ok(Decoded { value, complaints })
}

fn yaml(body: &[u8]) -> Result<Decoded, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refusal::bad_request(format!("error converting YAML to JSON: {error}")))?;
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|error| Refusal::bad_request(format!("error converting YAML to JSON: {error}")))?;
    Ok(Decoded {
        value,
        complaints: Vec::new(),
    })
}

/// Builds a [`Value`] and remembers where an object has a field twice (the last one counts).
struct Seed<'a> {
    path: &'a mut String,
    complaints: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        let length = self.path.len();
        loop {
            self.path.push_str(&format!("[{}]", items.len()));
            let seed = Seed {
                path: &mut *self.path,
                complaints: &mut *self.complaints,
            };
            let next = access.next_element_seed(seed)?;
            self.path.truncate(length);
            match next {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.path.len();
        while let Some(key) = access.next_key::<String>()? {
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&key);
            if map.contains_key(&key) {
                self.complaints.push(format!("duplicate field \"{}\"", self.path));
            }
            let seed = Seed {
                path: &mut *self.path,
                complaints: &mut *self.complaints,
            };
            let value = access.next_value_seed(seed)?;
            self.path.truncate(length);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

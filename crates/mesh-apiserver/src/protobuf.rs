//! Bodies in Kubernetes' protobuf form, which `kubectl` sends for the core kinds. Answers are always JSON.
//!
//! `protobuf/messages.txt` lists the messages that these kinds reach: `number name type`, where `s` is text, `i` an
//! integer, `b` a truth value, `d` a double, `y` bytes, anything else a message; `*` marks a list, `%` a map, `^` a
//! struct whose fields stand in the outer one's JSON, `?` a pointer (whose zero means something).

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The bytes before every body.
const MAGIC: &[u8] = b"k8s\0";
/// Nesting that no real object reaches.
const DEPTH: usize = 40;

/// How often a field's type occurs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    Pointer,
    Inline,
    List,
    Map,
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) kind: &'static str,
}

type Message = HashMap<u64, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let text: &'static str = include_str!("protobuf/messages.txt");
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, fields)| (name, fields.split("; ").filter_map(field).collect()))
        .collect()
});

fn field(text: &'static str) -> Option<(u64, Field)> {
    let mut words = text.split(' ');
    let number = words.next()?.parse().ok()?;
    let name = words.next()?;
    let kind = words.next()?;
    let shapes = [
        ('?', Shape::Pointer),
        ('^', Shape::Inline),
        ('*', Shape::List),
        ('%', Shape::Map),
    ];
    let (shape, kind) = shapes
        .iter()
        .find_map(|(mark, shape)| Some((*shape, kind.strip_prefix(*mark)?)))
        .unwrap_or((Shape::One, kind));
    Some((number, Field { name, shape, kind }))
}

/// The message of a name, as the table spells it.
pub(crate) fn name(name: &str) -> Option<&'static str> {
    MESSAGES.get_key_value(name).map(|(name, _)| *name)
}

/// The fields of a message.
pub(crate) fn fields(name: &str) -> impl Iterator<Item = Field> {
    MESSAGES.get(name).into_iter().flat_map(|m| m.values().copied())
}

/// The package whose messages a group's kinds are.
pub(crate) fn package(api_version: &str) -> Option<&'static str> {
    Some(match api_version {
        "v1" => "core",
        "rbac.authorization.k8s.io/v1" => "rbac",
        "discovery.k8s.io/v1" => "discovery",
        "coordination.k8s.io/v1" => "coordination",
        "events.k8s.io/v1" => "events",
        "authentication.k8s.io/v1" => "authentication",
        "authorization.k8s.io/v1" => "authorization",
        _ => return None,
    })
}

/// The object of a body; the error says what is wrong with it.
pub(crate) fn decode(body: &[u8]) -> Result<Value, String> {
    let body = body
        .strip_prefix(MAGIC)
        .ok_or("the body does not begin with the protobuf mark k8s\\0")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), [].as_slice());
    for entry in (Reader { rest: body }).fields() {
        match entry? {
            (1, Wire::Bytes(meta)) => {
                for entry in (Reader { rest: meta }).fields() {
                    match entry? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = match kind.as_str() {
        "DeleteOptions" => "meta.DeleteOptions".to_owned(),
        kind => format!("{}.{kind}", package(&api_version).unwrap_or_default()),
    };
    let message = MESSAGES
        .get(name.as_str())
        .ok_or_else(|| format!("{api_version} {kind} is not read as protobuf"))?;
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    read(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A value as it is on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn fields(mut self) -> impl Iterator<Item = Result<(u64, Wire<'a>), String>> {
        std::iter::from_fn(move || {
            if self.rest.is_empty() {
                return None;
            }
            let next = self.field();
            if next.is_err() {
                self.rest = &[];
            }
            Some(next)
        })
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or("a number is cut off")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long".into())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| "a field is too long")?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or("a field is cut off")?;
        self.rest = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), String> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(
                self.take(8)?
                    .iter()
                    .rev()
                    .fold(0, |all, b| (all << 8) | u64::from(*b)),
            ),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Number(
                self.take(4)?
                    .iter()
                    .rev()
                    .fold(0, |all, b| (all << 8) | u64::from(*b)),
            ),
            other => return Err(format!("wire type {other} is not known")),
        };
        Ok((tag >> 3, wire))
    }
}

fn read(message: &Message, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err("the object is nested too deeply".into());
    }
    for entry in (Reader { rest: bytes }).fields() {
        let (number, wire) = entry?;
        let Some(field) = message.get(&number) else {
            continue;
        };
        match (field.shape, wire) {
            (Shape::Inline, Wire::Bytes(bytes)) => {
                if let Some(inner) = MESSAGES.get(field.kind) {
                    read(inner, bytes, out, depth + 1)?;
                }
            }
            (Shape::List, wire) => {
                let item = value(field.kind, wire, depth)?;
                match out.entry(field.name).or_insert_with(|| json!([])) {
                    Value::Array(items) => items.push(item),
                    other => *other = json!([item]),
                }
            }
            (Shape::Map, Wire::Bytes(bytes)) => {
                let (key, item) = entry_of(field.kind, bytes, depth)?;
                if let Value::Object(map) = out.entry(field.name).or_insert_with(|| json!({})) {
                    map.insert(key, item);
                }
            }
            (Shape::One | Shape::Pointer, wire) => {
                let item = value(field.kind, wire, depth)?;
                if field.shape == Shape::Pointer || !is_zero(&item) {
                    out.insert(field.name.into(), item);
                }
            }
            _ => return Err(format!("{} has the wrong wire type", field.name)),
        }
    }
    Ok(())
}

/// What a field that is no pointer leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn entry_of(kind: &str, bytes: &[u8], depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut item) = (String::new(), Value::Null);
    for entry in (Reader { rest: bytes }).fields() {
        match entry? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => item = value(kind, wire, depth)?,
            _ => {}
        }
    }
    Ok((key, item))
}

fn value(kind: &str, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    Ok(match (kind, wire) {
        ("i", Wire::Number(n)) => n.cast_signed().into(),
        ("b", Wire::Number(n)) => (n != 0).into(),
        ("d", Wire::Number(n)) => json!(f64::from_bits(n)),
        ("s", Wire::Bytes(bytes)) => utf8(bytes)?.into(),
        ("y", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("meta.Time" | "meta.MicroTime", Wire::Bytes(bytes)) => time(bytes, kind == "meta.MicroTime")?,
        ("intstr.IntOrString", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        ("resource.Quantity", Wire::Bytes(bytes)) => first_text(bytes)?.into(),
        ("meta.FieldsV1", Wire::Bytes(bytes)) => {
            let raw = (Reader { rest: bytes }).fields().next().transpose()?;
            match raw {
                Some((1, Wire::Bytes(json))) => serde_json::from_slice(json).unwrap_or_else(|_| json!({})),
                _ => json!({}),
            }
        }
        (name, Wire::Bytes(bytes)) => {
            let message = MESSAGES
                .get(name)
                .ok_or_else(|| format!("{name} is not read as protobuf"))?;
            let mut map = Map::new();
            read(message, bytes, &mut map, depth + 1)?;
            match map.shift_remove("items") {
                // A list with a name of its own (ExtraValue) is a plain list in JSON.
                Some(items) if map.is_empty() && name.ends_with("ExtraValue") => items,
                Some(items) => {
                    map.insert("items".into(), items);
                    Value::Object(map)
                }
                None => Value::Object(map),
            }
        }
        _ => return Err("a field has the wrong wire type".into()),
    })
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, String> {
    let (mut seconds, mut nanos) = (None, 0);
    for entry in (Reader { rest: bytes }).fields() {
        match entry? {
            (1, Wire::Number(n)) => seconds = Some(n.cast_signed()),
            (2, Wire::Number(n)) => nanos = i32::try_from(n).unwrap_or(0),
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Ok(Value::Null);
    };
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(time.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for entry in (Reader { rest: bytes }).fields() {
        match entry? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(n)) => number = n.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn first_text(bytes: &[u8]) -> Result<String, String> {
    match (Reader { rest: bytes }).fields().next().transpose()? {
        Some((1, Wire::Bytes(text))) => utf8(text),
        _ => Ok(String::new()),
    }
}

//! The table that says, for each Envoy field: honoured, ignored with the reason, or refused.
//!
//! [`check`] walks the bytes of a resource along the table, so that a field nobody thought of (also one newer than
//! our message types) is refused with its path instead of silently dropped. [`canonical`] walks the same way to
//! order map entries, so that equal resources are equal bytes.

mod document;
mod table;
mod wire;

pub use document::document;
pub use table::{BOOTSTRAP, CLUSTER, ENDPOINTS, LISTENER, ROUTE_CONFIGURATION, SECRET};

use crate::{Ignored, Invalid};
use wire::{Field as WireField, fields};

/// A message type with the fields that are not refused.
#[derive(Debug)]
pub struct Message {
    /// Full protobuf name.
    pub name: &'static str,
    /// Its known fields; every other field is refused.
    pub fields: &'static [Field],
}

/// A known field.
#[derive(Debug)]
pub struct Field {
    /// Field number.
    pub number: u32,
    /// Field name.
    pub name: &'static str,
    /// What happens to it.
    pub rule: Rule,
}

/// What happens to a field.
#[derive(Debug)]
pub enum Rule {
    /// Read; its value is checked where it is decoded.
    Honoured,
    /// A message whose fields have rules of their own.
    Message(&'static Message),
    /// A list of such messages.
    List(&'static Message),
    /// A map from string to such messages.
    Map(&'static Message),
    /// A map from string to `Any` of the listed types.
    MapAny(&'static [&'static Message]),
    /// An `Any` of one of the listed types.
    Any(&'static [&'static Message]),
    /// A list of filters: name (field 1) and `typed_config`.
    Filters(&'static Filters),
    /// Accepted without effect; the reason says why no answer changes or what does its work.
    Ignored(&'static str),
    /// Accepted only when it is off; the reason says what its use would need.
    OffOnly(&'static str),
    /// Refused with a better reason than for a field that is not listed.
    Refused(&'static str),
}

/// Which filters a list may hold.
#[derive(Debug)]
pub struct Filters {
    /// Field number of `typed_config`.
    pub config: u32,
    /// Field number of `disabled`; 0 = has none.
    pub disabled: u32,
    /// Types that are honoured.
    pub types: &'static [&'static Message],
    /// Filters known by name whose work is native, with the reason.
    pub native: &'static [(&'static str, &'static str)],
}

impl Filters {
    /// Why the filter of this name needs no configuration here, if it is such a one.
    #[must_use]
    pub fn native(&self, name: &str) -> Option<&'static str> {
        self.native.iter().find(|(n, _)| *n == name).map(|(_, why)| *why)
    }
}

/// Deepest nesting that is walked; Envoy resources stay far below.
const DEEPEST: usize = 64;

/// Checks a serialised message against the table; `root` begins every path. Answers what was ignored.
pub fn check(message: &'static Message, bytes: &[u8], root: &str) -> Result<Vec<Ignored>, Invalid> {
    let mut ignored = Vec::new();
    walk(message, bytes, root, &mut ignored, 0)?;
    ignored.sort();
    ignored.dedup();
    Ok(ignored)
}

fn walk(
    message: &'static Message,
    bytes: &[u8],
    path: &str,
    ignored: &mut Vec<Ignored>,
    depth: usize,
) -> Result<(), Invalid> {
    if depth > DEEPEST {
        return Err(Invalid::new(path, "is nested too deeply"));
    }
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for field in fields(bytes) {
        let field = field.ok_or_else(|| Invalid::new(path, "is not valid protobuf"))?;
        let Some(known) = message.fields.iter().find(|f| f.number == field.number) else {
            let name = crate::json::field_name(message.name, field.number);
            return Err(Invalid::new(
                format!("{path}.{name}"),
                "is not supported; remove it",
            ));
        };
        let index = match counts.iter_mut().find(|(n, _)| *n == field.number) {
            Some((_, n)) => {
                *n += 1;
                *n - 1
            }
            None => {
                counts.push((field.number, 1));
                0
            }
        };
        follow(known, &field, index, path, ignored, depth)?;
    }
    Ok(())
}

fn follow(
    known: &'static Field,
    field: &WireField<'_>,
    index: usize,
    path: &str,
    ignored: &mut Vec<Ignored>,
    depth: usize,
) -> Result<(), Invalid> {
    let here = || format!("{path}.{}", known.name);
    match &known.rule {
        Rule::Honoured => Ok(()),
        Rule::Message(inner) => walk(inner, field.bytes, &here(), ignored, depth + 1),
        Rule::List(inner) => walk(
            inner,
            field.bytes,
            &format!("{path}.{}[{index}]", known.name),
            ignored,
            depth + 1,
        ),
        Rule::Map(inner) => {
            let (key, value) =
                entry(field.bytes).ok_or_else(|| Invalid::new(here(), "is not a valid map"))?;
            let path = format!("{path}.{}[{key:?}]", known.name);
            walk(inner, value, &path, ignored, depth + 1)
        }
        Rule::MapAny(types) => {
            let (key, value) =
                entry(field.bytes).ok_or_else(|| Invalid::new(here(), "is not a valid map"))?;
            let path = format!("{path}.{}[{key:?}]", known.name);
            any(types, value, &path, ignored, depth)
        }
        Rule::Any(types) => any(types, field.bytes, &here(), ignored, depth),
        Rule::Filters(filters) => {
            let path = format!("{path}.{}[{index}]", known.name);
            filter(filters, field.bytes, &path, ignored, depth)
        }
        Rule::Ignored(reason) => {
            ignored.push(Ignored { path: here(), reason });
            Ok(())
        }
        Rule::OffOnly(reason) if field.is_off() => {
            let _ = reason;
            Ok(())
        }
        Rule::OffOnly(reason) | Rule::Refused(reason) => Err(Invalid::new(here(), *reason)),
    }
}

/// Key and value of a map entry with string keys.
fn entry(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value) = ("", &bytes[..0]);
    for field in fields(bytes) {
        let field = field?;
        match field.number {
            1 => key = std::str::from_utf8(field.bytes).ok()?,
            2 => value = field.bytes,
            _ => return None,
        }
    }
    Some((key, value))
}

/// Type name (after the last `/`) and value of an `Any`.
fn open_any(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (url, value) = entry(bytes)?;
    Some((url.rsplit('/').next().unwrap_or(url), value))
}

fn any(
    types: &'static [&'static Message],
    bytes: &[u8],
    path: &str,
    ignored: &mut Vec<Ignored>,
    depth: usize,
) -> Result<(), Invalid> {
    let (name, value) = open_any(bytes).ok_or_else(|| Invalid::new(path, "is not a valid Any"))?;
    match types.iter().find(|t| t.name == name) {
        Some(inner) => walk(inner, value, path, ignored, depth + 1),
        None => Err(Invalid::new(
            path,
            format!("type {name:?} is not supported; supported: {}", names(types)),
        )),
    }
}

fn names(types: &[&'static Message]) -> String {
    types.iter().map(|t| t.name).collect::<Vec<_>>().join(", ")
}

fn filter(
    filters: &'static Filters,
    bytes: &[u8],
    path: &str,
    ignored: &mut Vec<Ignored>,
    depth: usize,
) -> Result<(), Invalid> {
    let (mut name, mut config, mut disabled) = ("", None, false);
    for field in fields(bytes) {
        let field = field.ok_or_else(|| Invalid::new(path, "is not valid protobuf"))?;
        if field.number == 1 {
            name = std::str::from_utf8(field.bytes).unwrap_or_default();
        } else if field.number == filters.config {
            config = Some(field.bytes);
        } else if field.number == filters.disabled {
            disabled = !field.is_off();
        } else if field.number == 6 && filters.disabled != 0 {
            // is_optional: a filter that we do not know is refused all the same.
        } else {
            return Err(Invalid::new(
                format!("{path}({name})"),
                format!("field number {} is not supported in a filter", field.number),
            ));
        }
    }
    if let Some(reason) = filters.native(name) {
        ignored.push(Ignored {
            path: format!("{path}({name})"),
            reason,
        });
        return Ok(());
    }
    if disabled {
        ignored.push(Ignored {
            path: format!("{path}({name})"),
            reason: "it is disabled",
        });
        return Ok(());
    }
    let Some(config) = config else {
        return Err(Invalid::new(format!("{path}({name})"), "has no typed_config"));
    };
    let known = open_any(config).is_some_and(|(t, _)| filters.types.iter().any(|m| m.name == t));
    if !known {
        let what = open_any(config).map_or("", |(t, _)| t);
        return Err(Invalid::new(
            path,
            format!("filter {name:?} of type {what:?} is not supported; remove it"),
        ));
    }
    any(
        filters.types,
        config,
        &format!("{path}.typed_config"),
        ignored,
        depth,
    )
}

/// The same message with map entries in key order, everywhere below.
#[must_use]
pub fn canonical(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut open_map = 0;
    for field in fields(bytes) {
        let Some(field) = field else {
            return bytes.to_vec();
        };
        if field.number != open_map {
            flush(&mut out, open_map, &mut entries);
            open_map = 0;
        }
        let rule = message
            .fields
            .iter()
            .find(|f| f.number == field.number)
            .map(|f| &f.rule);
        match rule {
            Some(Rule::Message(inner) | Rule::List(inner)) => {
                wire::put(&mut out, field.number, &canonical(inner, field.bytes));
            }
            Some(Rule::Any(types)) => wire::put(&mut out, field.number, &canonical_any(types, field.bytes)),
            Some(Rule::Filters(filters)) => {
                wire::put(&mut out, field.number, &canonical_filter(filters, field.bytes));
            }
            Some(Rule::Map(inner)) => {
                open_map = field.number;
                entries.push(canonical_entry(field.bytes, |v| canonical(inner, v)));
            }
            Some(Rule::MapAny(types)) => {
                open_map = field.number;
                entries.push(canonical_entry(field.bytes, |v| canonical_any(types, v)));
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    flush(&mut out, open_map, &mut entries);
    out
}

fn flush(out: &mut Vec<u8>, number: u32, entries: &mut Vec<Vec<u8>>) {
    entries.sort();
    for entry in entries.drain(..) {
        wire::put(out, number, &entry);
    }
}

fn canonical_entry(bytes: &[u8], value: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((key, inner)) = entry(bytes) else {
        return bytes.to_vec();
    };
    let mut out = Vec::with_capacity(bytes.len());
    wire::put(&mut out, 1, key.as_bytes());
    wire::put(&mut out, 2, &value(inner));
    out
}

fn canonical_any(types: &'static [&'static Message], bytes: &[u8]) -> Vec<u8> {
    match open_any(bytes).and_then(|(name, _)| types.iter().find(|t| t.name == name)) {
        Some(inner) => canonical_entry(bytes, |v| canonical(inner, v)),
        None => bytes.to_vec(),
    }
}

fn canonical_filter(filters: &'static Filters, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for field in fields(bytes) {
        match field {
            Some(f) if f.number == filters.config => {
                wire::put(&mut out, f.number, &canonical_any(filters.types, f.bytes));
            }
            Some(f) => out.extend_from_slice(f.raw),
            None => return bytes.to_vec(),
        }
    }
    out
}

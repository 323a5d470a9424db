//! JSON of Envoy messages, through descriptors that are loaded for the call and freed after it.
//!
//! The descriptors are compiled from the proto files inside the envoy-types package by
//! `cargo xtask descriptors`, pruned to what [`crate::fields`] and the admin pages reach, and kept compressed.

use std::io::Read;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::Any;

/// The compressed descriptor set.
static DESCRIPTORS: &[u8] = include_bytes!("../descriptors.binpb.gz");

/// Why a conversion to or from JSON failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The embedded descriptors cannot be read: a bug.
    #[error("embedded descriptors: {0}")]
    Descriptors(String),
    /// The message type is not among the supported ones.
    #[error("type {0:?} is not known here")]
    UnknownType(String),
    /// The text does not fit the type.
    #[error("{0}")]
    Invalid(String),
}

/// Loaded descriptors. Keep it only as long as the conversion takes: it is some megabytes.
#[derive(Debug)]
pub struct Descriptors(DescriptorPool);

impl Descriptors {
    /// Decompresses and parses the embedded descriptors.
    pub fn load() -> Result<Self, JsonError> {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(DESCRIPTORS)
            .read_to_end(&mut bytes)
            .map_err(|e| JsonError::Descriptors(e.to_string()))?;
        let pool =
            DescriptorPool::decode(bytes.as_slice()).map_err(|e| JsonError::Descriptors(e.to_string()))?;
        Ok(Self(pool))
    }

    fn message(&self, name: &str) -> Result<MessageDescriptor, JsonError> {
        self.0
            .get_message_by_name(name)
            .ok_or_else(|| JsonError::UnknownType(name.to_owned()))
    }

    /// The protobuf bytes of a JSON value of the named type; unknown fields are an error with their name.
    pub fn from_json(&self, name: &str, json: &serde_json::Value) -> Result<Vec<u8>, JsonError> {
        let descriptor = self.message(name)?;
        let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(true);
        DynamicMessage::deserialize_with_options(descriptor, json, &options)
            .map(|m| m.encode_to_vec())
            .map_err(|e| JsonError::Invalid(e.to_string()))
    }

    /// The JSON of protobuf bytes of the named type, with Envoy's field names (snake case).
    pub fn to_json(&self, name: &str, bytes: &[u8]) -> Result<serde_json::Value, JsonError> {
        let descriptor = self.message(name)?;
        let message =
            DynamicMessage::decode(descriptor, bytes).map_err(|e| JsonError::Invalid(e.to_string()))?;
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .stringify_64_bit_integers(true);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|e| JsonError::Invalid(e.to_string()))
    }

    /// The JSON of an `Any`, with `@type`.
    pub fn any_to_json(&self, any: &Any) -> Result<serde_json::Value, JsonError> {
        let name = any.type_url.rsplit('/').next().unwrap_or(&any.type_url);
        let mut value = self.to_json(name, &any.value)?;
        if let Some(object) = value.as_object_mut() {
            object.shift_insert(0, "@type".into(), any.type_url.clone().into());
        }
        Ok(value)
    }

    /// Descriptor pool, for tests of the table.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.0
    }
}

/// Name of a field for messages to people; its number when it is newer than our descriptors.
pub(crate) fn field_name(message: &str, number: u32) -> String {
    Descriptors::load()
        .ok()
        .and_then(|d| d.message(message).ok())
        .and_then(|m| m.get_field(number))
        .map_or_else(|| format!("<field number {number}>"), |f| f.name().to_owned())
}

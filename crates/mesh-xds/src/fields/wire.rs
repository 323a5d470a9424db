//! The protobuf wire format, as far as walking needs it.

/// One field as it stands in the bytes.
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// Key and value.
    pub(super) raw: &'a [u8],
    /// The value: payload of a length-delimited field, raw bytes of any other.
    pub(super) bytes: &'a [u8],
    length_delimited: bool,
}

impl Field<'_> {
    /// Whether a bool, a number, a `BoolValue` or `UInt32Value`-like wrapper says "off" (zero).
    pub(super) fn is_off(&self) -> bool {
        if self.length_delimited {
            // A wrapper: empty, or field 1 with value zero.
            self.bytes.is_empty() || self.bytes == [8, 0]
        } else {
            self.bytes.iter().all(|b| *b == 0)
        }
    }
}

/// Iterates over fields; `None` once, at the first malformed byte.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = bytes;
    let mut broken = false;
    std::iter::from_fn(move || {
        if rest.is_empty() || broken {
            return None;
        }
        match next(rest) {
            Some((field, after)) => {
                rest = after;
                Some(Some(field))
            }
            None => {
                broken = true;
                Some(None)
            }
        }
    })
}

fn next(all: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (key, rest) = varint(all)?;
    let number = u32::try_from(key >> 3).ok().filter(|n| *n != 0)?;
    let (bytes, after) = match key & 7 {
        0 => {
            let (_, after) = varint(rest)?;
            rest.split_at_checked(rest.len() - after.len())?
        }
        1 => rest.split_at_checked(8)?,
        2 => {
            let (length, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(length).ok()?)?
        }
        5 => rest.split_at_checked(4)?,
        _ => return None,
    };
    let (raw, _) = all.split_at_checked(all.len() - after.len())?;
    let field = Field {
        number,
        raw,
        bytes,
        length_delimited: key & 7 == 2,
    };
    Some((field, after))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

/// Appends a length-delimited field.
pub(super) fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

//! Consistent-hash inputs of a request.

use mesh_model::balance::consistent::xx_hash;
use mesh_model::matching::query_value;
use mesh_model::request::RequestView as _;
use mesh_model::route::HashSource;

use crate::codec::fields::Id;
use crate::codec::head::Request;
use crate::http::Downstream;

fn hash(bytes: &[u8]) -> u64 {
    xx_hash(bytes, 0)
}

/// The hash of a request, and the cookie that keeps it.
#[derive(Debug, Default)]
pub(crate) struct Hashed {
    /// `None` = nothing to hash: an ordinary draw.
    pub(crate) value: Option<u64>,
    /// `set-cookie` for a client that has none yet.
    pub(crate) set_cookie: Option<Vec<u8>>,
}

/// Combines every source that the request has.
#[must_use]
pub(crate) fn of(request: &Request, downstream: &Downstream, sources: &[HashSource]) -> Hashed {
    let mut hashed = Hashed::default();
    for source in sources {
        let one = match source {
            HashSource::Header(name) => request
                .fields
                .get_named(name.to_ascii_lowercase().as_bytes())
                .map(hash),
            HashSource::SourceIp => Some(hash(downstream.remote.ip().to_string().as_bytes())),
            HashSource::Query(name) => query_value(request.query(), name.as_bytes()).map(hash),
            HashSource::Cookie {
                name,
                path,
                ttl,
                attributes,
            } => cookie(request, name).map(hash).or_else(|| {
                let ttl = (*ttl)?;
                // Of the connection's addresses: requests on one connection stay together from the first.
                let value = hash(format!("{}{}", downstream.remote, downstream.local).as_bytes());
                let mut header = format!("{name}=\"{value:016x}\"");
                if !ttl.is_zero() {
                    header += &format!("; Max-Age={}", ttl.as_secs());
                }
                if !path.is_empty() {
                    header += &format!("; Path={path}");
                }
                for (name, value) in attributes {
                    header += &if value.is_empty() {
                        format!("; {name}")
                    } else {
                        format!("; {name}={value}")
                    };
                }
                header += "; HttpOnly";
                hashed.set_cookie = Some(header.into_bytes());
                Some(hash(format!("{value:016x}").as_bytes()))
            }),
        };
        if let Some(one) = one {
            hashed.value = Some(hashed.value.map_or(one, |so_far| so_far.rotate_left(1) ^ one));
        }
    }
    hashed
}

fn cookie<'r>(request: &'r Request, name: &str) -> Option<&'r [u8]> {
    let cookies = request.fields.get(Id::Cookie)?;
    cookies.split(|b| *b == b';').find_map(|pair| {
        let value = pair
            .trim_ascii()
            .strip_prefix(name.as_bytes())?
            .strip_prefix(b"=")?;
        let unquoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
        Some(unquoted.unwrap_or(value))
    })
}

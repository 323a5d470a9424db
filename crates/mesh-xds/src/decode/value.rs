//! Scalars, wrappers and addresses.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_model::matching::{Pattern, Patterns, StringMatch};
use mesh_model::route::PerMillion;

use super::Path;
use crate::Invalid;
use crate::pb::matcher::string_matcher::MatchPattern;
use crate::pb::{self, BoolValue, UInt32Value, core, kind, matcher};

pub(super) fn flag(value: Option<&BoolValue>, default: bool) -> bool {
    value.map_or(default, |v| v.value)
}

pub(super) fn number(value: Option<&UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |v| v.value)
}

pub(super) fn duration(value: &pb::Duration, path: &Path<'_>) -> Result<Duration, Invalid> {
    let seconds = u64::try_from(value.seconds).ok();
    let nanos = u32::try_from(value.nanos).ok().filter(|n| *n < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(path.invalid("is not a duration of zero or more")),
    }
}

/// Absent gives the default, zero means "never".
pub(super) fn limit(
    value: Option<&pb::Duration>,
    default: Option<Duration>,
    path: &Path<'_>,
) -> Result<Option<Duration>, Invalid> {
    match value {
        None => Ok(default),
        Some(value) => Ok(Some(duration(value, path)?).filter(|d| !d.is_zero())),
    }
}

/// Absent gives the default.
pub(super) fn time(
    value: Option<&pb::Duration>,
    default: Duration,
    path: &Path<'_>,
) -> Result<Duration, Invalid> {
    value.map_or(Ok(default), |v| duration(v, path))
}

pub(super) fn host_port(address: Option<&core::Address>, path: &Path<'_>) -> Result<(String, u16), Invalid> {
    let Some(core::address::Address::SocketAddress(socket)) = address.and_then(|a| a.address.as_ref()) else {
        return Err(path.invalid("needs a socket_address"));
    };
    let path = path.field("socket_address");
    if socket.protocol() != core::socket_address::Protocol::Tcp {
        return Err(path.field("protocol").invalid("must be TCP"));
    }
    let port = match &socket.port_specifier {
        Some(core::socket_address::PortSpecifier::PortValue(port)) => u16::try_from(*port)
            .map_err(|_| path.field("port_value").invalid(format!("{port} is not a port")))?,
        Some(core::socket_address::PortSpecifier::NamedPort(_)) => {
            return Err(path.field("named_port").invalid("give a port_value"));
        }
        None => 0,
    };
    Ok((socket.address.clone(), port))
}

pub(super) fn socket_address(
    address: Option<&core::Address>,
    path: &Path<'_>,
) -> Result<SocketAddr, Invalid> {
    let (host, port) = host_port(address, path)?;
    let ip: IpAddr = host.parse().map_err(|_| {
        path.field("socket_address")
            .field("address")
            .invalid(format!("{host:?} is not an IP address"))
    })?;
    if port == 0 {
        return Err(path
            .field("socket_address")
            .field("port_value")
            .invalid("must be 1 to 65535"));
    }
    Ok(SocketAddr::new(ip, port))
}

pub(super) fn pattern(from: &matcher::RegexMatcher, path: &Path<'_>) -> Result<Pattern, Invalid> {
    thread_local! {
        /// Configuration is decoded by one thread, over and over; most routes' patterns are those of before.
        static PATTERNS: RefCell<Patterns> = RefCell::default();
    }
    PATTERNS
        .with_borrow_mut(|patterns| patterns.get(&from.regex))
        .map_err(|e| path.field("regex").invalid(e))
}

pub(super) fn string_match(from: &matcher::StringMatcher, path: &Path<'_>) -> Result<StringMatch, Invalid> {
    Ok(match (&from.match_pattern, from.ignore_case) {
        (Some(MatchPattern::Exact(s)), false) => StringMatch::Exact(s.clone()),
        (Some(MatchPattern::Exact(s)), true) => StringMatch::ExactIgnoreCase(s.clone()),
        (Some(MatchPattern::Prefix(s)), false) => StringMatch::Prefix(s.clone()),
        (Some(MatchPattern::Prefix(s)), true) => StringMatch::PrefixIgnoreCase(s.clone()),
        (Some(MatchPattern::Suffix(s)), false) => StringMatch::Suffix(s.clone()),
        (Some(MatchPattern::Suffix(s)), true) => StringMatch::SuffixIgnoreCase(s.clone()),
        (Some(MatchPattern::Contains(s)), false) => StringMatch::Contains(s.clone()),
        (Some(MatchPattern::Contains(_)), true) => {
            return Err(path
                .field("ignore_case")
                .invalid("is not supported with contains; use safe_regex with (?i)"));
        }
        // Envoy ignores ignore_case for regular expressions.
        (Some(MatchPattern::SafeRegex(r)), _) => StringMatch::Regex(pattern(r, &path.field("safe_regex"))?),
        (Some(MatchPattern::Custom(_)), _) => return Err(path.field("custom").invalid("is not supported")),
        (None, _) => return Err(path.invalid("needs exact, prefix, suffix, contains or safe_regex")),
    })
}

pub(super) fn percent(
    from: Option<&kind::FractionalPercent>,
    default: u32,
    path: &Path<'_>,
) -> Result<PerMillion, Invalid> {
    use kind::fractional_percent::DenominatorType as D;
    let Some(from) = from else {
        return Ok(PerMillion(default));
    };
    let factor = match from.denominator() {
        D::Hundred => 10_000,
        D::TenThousand => 100,
        D::Million => 1,
    };
    match from.numerator.checked_mul(factor) {
        Some(share) if share <= 1_000_000 => Ok(PerMillion(share)),
        _ => Err(path.invalid("is more than 100 %")),
    }
}

/// Inline bytes of a data source; files are not read here.
pub(super) fn inline(from: &core::DataSource, path: &Path<'_>) -> Result<Vec<u8>, Invalid> {
    use core::data_source::Specifier as S;
    match &from.specifier {
        Some(S::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(S::InlineString(text)) => Ok(text.clone().into_bytes()),
        _ => Err(path.invalid("give inline_string or inline_bytes")),
    }
}

pub(super) fn inline_text(from: &core::DataSource, path: &Path<'_>) -> Result<String, Invalid> {
    String::from_utf8(inline(from, path)?).map_err(|_| path.invalid("is not UTF-8"))
}

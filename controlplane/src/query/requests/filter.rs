//! A filter as query parameters, and whether a request passes it (pure).

use mesh_model::edge::SeriesKey;
use mesh_model::flags::ResponseFlags;
use mesh_model::record::{KeptReason, KeptRequest, TraceId};
use mesh_store::records::RequestQuery;

use super::super::time;
use super::Failure;
use super::shape::{app, node};

/// Most values of all parameters together.
const MAX_VALUES: usize = 200;
/// Longest value, bytes.
const MAX_VALUE: usize = 512;

/// What was asked for: the filter, and the route's own parameters.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: RequestQuery,
    own: Vec<(String, String)>,
}

/// What is wrong, and what to do.
type Wrong = (String, String);

impl Asked {
    pub(super) fn parse(pairs: &[(String, String)], own: &[&str], now_ms: u64) -> Result<Self, Wrong> {
        if pairs.len() > MAX_VALUES {
            let remedy = format!("use at most {MAX_VALUES} values");
            return Err(("the filter has too many values".into(), remedy));
        }
        let mut asked = Self {
            query: RequestQuery {
                from_ns: now_ms.saturating_sub(300_000).saturating_mul(1_000_000),
                ..RequestQuery::default()
            },
            own: Vec::new(),
        };
        for (name, value) in pairs {
            if value.len() > MAX_VALUE {
                let remedy = format!("use at most {MAX_VALUE} bytes");
                return Err((format!("{name} is too long"), remedy));
            }
            if own.contains(&name.as_str()) {
                asked.own.push((name.clone(), value.clone()));
            } else {
                take(&mut asked.query, name, value, now_ms)?;
            }
        }
        Ok(asked)
    }

    pub(super) fn own(&self, name: &str) -> Option<&str> {
        let found = self.own.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number of the route's own, from 1 to `most`.
    pub(super) fn number<N>(&self, name: &str, otherwise: N, most: N) -> Result<N, Failure>
    where
        N: std::str::FromStr + Ord + From<u8> + std::fmt::Display + Copy,
    {
        let Some(text) = self.own(name) else {
            return Ok(otherwise);
        };
        let number = text.parse::<N>().ok().filter(|n| *n >= N::from(1) && *n <= most);
        number.ok_or_else(|| {
            Failure::bad(
                format!("{name} {text:?} is no number from 1 to {most}"),
                "leave it out for the usual one",
            )
        })
    }
}

fn take(query: &mut RequestQuery, name: &str, value: &str, now_ms: u64) -> Result<(), Wrong> {
    let owned = value.to_owned();
    match name {
        "from" => query.from_ns = time_ns(name, value, now_ms)?,
        // Clocks of proxies may be ahead, so now is no end.
        "to" if value == "now" => query.to_ns = 0,
        "to" => query.to_ns = time_ns(name, value, now_ms)?,
        "source" => query.sources.push(owned),
        "destination" => query.destinations.push(owned),
        "workload" => query.workloads.push(owned),
        "app" => query.apps.push(owned),
        "service" => query.services.push(owned),
        "namespace" => query.namespaces.push(owned),
        "code" => codes(query, value)?,
        "flags" => query.flags.push(owned),
        "virtualService" => query.virtual_services.push(owned),
        "route" => query.routes.push(owned),
        "match" => query.matches.push(owned),
        "method" => query.methods.push(owned),
        "protocol" => query.protocols.push(owned),
        "reporter" => query.reporters.push(owned),
        "reason" => query.reasons.push(KeptReason::parse(value).ok_or_else(|| {
            let remedy = "use error, slow or sample".to_owned();
            (format!("reason {value:?} is not known"), remedy)
        })?),
        "minMs" => query.min_duration_ns = duration_ns(name, value)?,
        "maxMs" => query.max_duration_ns = duration_ns(name, value)?,
        "text" => query.text = owned,
        "trace" => {
            query.trace = Some(TraceId::parse(value).ok_or_else(|| {
                let remedy = "write 32 hexadecimal digits".to_owned();
                (format!("trace {value:?} is no trace id"), remedy)
            })?);
        }
        _ => {
            let remedy = "see the API's description for the parameters of a filter".to_owned();
            return Err((format!("parameter {name:?} is not known"), remedy));
        }
    }
    Ok(())
}

/// A code, or a class of them (`5xx`).
fn codes(query: &mut RequestQuery, value: &str) -> Result<(), Wrong> {
    let class = value
        .strip_suffix("xx")
        .and_then(|class| class.parse::<u16>().ok());
    match (class, value.parse::<u16>()) {
        (Some(class @ 1..=5), _) => query.codes.extend(class * 100..class * 100 + 100),
        (_, Ok(code)) => query.codes.push(code),
        _ => {
            let remedy = "write a status like 503, a class like 5xx, or 0 for no answer".to_owned();
            return Err((format!("code {value:?} is no status"), remedy));
        }
    }
    Ok(())
}

pub(in crate::query) fn time_ns(name: &str, value: &str, now_ms: u64) -> Result<u64, Wrong> {
    time::parse(value, now_ms)
        .map(|ms| ms.saturating_mul(1_000_000))
        .map_err(|e| {
            (
                format!("{name}: {e}"),
                super::super::graph::TIME_REMEDY.to_owned(),
            )
        })
}

pub(in crate::query) fn duration_ns(name: &str, value: &str) -> Result<u64, Wrong> {
    let ms = value.parse::<f64>().ok().filter(|ms| (0.0..=1e12).contains(ms));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1e18"
    )]
    ms.map(|ms| (ms * 1e6).round() as u64).ok_or_else(|| {
        let remedy = "write milliseconds, for example 250".to_owned();
        (format!("{name} {value:?} is no duration"), remedy)
    })
}

/// Whether a request passes: the same rule as the store's, for requests that just came.
pub(super) fn matches(query: &RequestQuery, request: &KeptRequest) -> bool {
    let key = &request.key;
    let (source, destination) = (node(&key.source), node(&key.destination));
    let one_of = |wanted: &[String], values: &[&str]| {
        wanted.is_empty() || wanted.iter().any(|w| values.contains(&w.as_str()))
    };
    let namespaces = [key.source.namespace.as_str(), key.destination.namespace.as_str()];
    let apps = [app(&key.source), app(&key.destination)];
    request.started_ns >= query.from_ns
        && (query.to_ns == 0 || request.started_ns < query.to_ns)
        && request.duration_ns >= query.min_duration_ns
        && (query.max_duration_ns == 0 || request.duration_ns <= query.max_duration_ns)
        && one_of(&query.sources, &[&source])
        && one_of(&query.destinations, &[&destination])
        && one_of(&query.workloads, &[&source, &destination])
        && one_of(&query.services, &[&key.service.host])
        && one_of(&query.namespaces, &namespaces)
        && one_of(&query.apps, &[&apps[0], &apps[1]])
        && (query.codes.is_empty() || query.codes.contains(&key.response_code))
        && flags(&query.flags, key)
        && one_of(&query.virtual_services, &[&key.origin.virtual_service])
        && one_of(&query.routes, &[&key.origin.route])
        && one_of(&query.matches, &[&key.origin.match_name])
        && one_of(&query.methods, &[&request.method])
        && one_of(&query.protocols, &[key.protocol.as_str()])
        && one_of(&query.reporters, &[key.reporter.as_str()])
        && (query.reasons.is_empty() || query.reasons.contains(&request.reason))
        && query.trace.is_none_or(|trace| trace == request.trace_id)
        && text(&query.text, request)
}

/// A flag among others counts.
fn flags(wanted: &[String], key: &SeriesKey) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|wanted| match ResponseFlags::parse(wanted) {
            Some(flags) if flags.is_empty() => key.flags.is_empty(),
            Some(flags) => key.flags.has(flags),
            None => false,
        })
}

fn text(wanted: &str, request: &KeptRequest) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let wanted = wanted.to_lowercase();
    let trace = request.trace_id.to_string();
    [
        &request.path,
        &request.authority,
        &request.request_id,
        &request.details,
        &request.user_agent,
        &request.upstream_host,
        &trace,
    ]
    .into_iter()
    .any(|field| field.to_lowercase().contains(&wanted))
}

#[cfg(test)]
mod tests;

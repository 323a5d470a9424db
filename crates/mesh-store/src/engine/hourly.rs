//! Hourly rows for people.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mesh_model::edge::{SeriesDelta, SeriesKey};

use super::tally::{Family, HOURLY_ROW};
use crate::history::Error;
use crate::link::{Link, Value, built};
use crate::sums::{Keys, Sums};

const COLUMNS: usize = 19;
/// Rows written by one statement.
const CHUNK: usize = 50;

static MANY: LazyLock<String> = LazyLock::new(|| statement(CHUNK));
static ONE: LazyLock<String> = LazyLock::new(|| statement(1));

fn statement(rows: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=COLUMNS)
            .map(|column| format!("${}", row * COLUMNS + column))
            .collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO hourly VALUES {} ON CONFLICT (hour, reporter, source_namespace, source_workload, \
         destination_service, destination_namespace, destination_workload, protocol, response_code, response_flags, \
         virtual_service, route, match) DO UPDATE SET requests = hourly.requests + excluded.requests, \
         attempts = hourly.attempts + excluded.attempts, errors = hourly.errors + excluded.errors, \
         duration_ms = hourly.duration_ms + excluded.duration_ms, \
         request_bytes = hourly.request_bytes + excluded.request_bytes, \
         response_bytes = hourly.response_bytes + excluded.response_bytes",
        rows.join(", ")
    )
}

/// What names a row: some facts of a series are not told apart here.
type Name<'k> = ([&'k str; 10], u16, String);

#[derive(Default)]
struct Facts {
    requests: u64,
    attempts: u64,
    errors: u64,
    milliseconds: f64,
    request_bytes: u64,
    response_bytes: u64,
}

impl Facts {
    fn add(&mut self, key: &SeriesKey, delta: &SeriesDelta) {
        self.requests += delta.requests;
        self.attempts += delta.attempts;
        self.errors += if key.is_error() { delta.requests } else { 0 };
        self.milliseconds += delta.duration.sum;
        self.request_bytes += delta.request_bytes;
        self.response_bytes += delta.response_bytes;
    }
}

fn name(key: &SeriesKey) -> Name<'_> {
    let texts = [
        key.reporter.as_str(),
        &key.source.namespace,
        &key.source.name,
        &key.service.host,
        &key.destination.namespace,
        &key.destination.name,
        key.protocol.as_str(),
        &key.origin.virtual_service,
        &key.origin.route,
        &key.origin.match_name,
    ];
    (texts, key.response_code, key.flags.to_string())
}

/// Adds what each hour gets.
pub(super) async fn add(link: &mut Link<'_>, hours: &[(u64, &Keys, Sums)]) -> Result<(), Error> {
    // One statement must not name a row twice.
    let mut rows: BTreeMap<(u64, Name<'_>), Facts> = BTreeMap::new();
    for (hour, keys, sums) in hours {
        for (place, sum) in sums.iter() {
            if let Some(key) = keys.list().get(place as usize) {
                rows.entry((*hour, name(key))).or_default().add(key, &sum.plain());
            }
        }
    }
    let mut starts: Vec<u64> = rows.keys().map(|(hour, _)| *hour).collect();
    starts.dedup();
    let before = count(link, &starts).await?;
    let rows: Vec<_> = rows.iter().collect();
    let whole = rows.len() - rows.len() % CHUNK;
    let (many, few) = rows.split_at(whole);
    for (chunk, sql) in
        (many.chunks(CHUNK).map(|chunk| (chunk, &*MANY))).chain(few.chunks(1).map(|c| (c, &*ONE)))
    {
        let values: Vec<Value<'_>> = chunk
            .iter()
            .flat_map(|(name, facts)| values(name, facts))
            .collect();
        link.execute(built(sql.clone()), &values).await?;
    }
    let added = count(link, &starts).await?.saturating_sub(before);
    Family::Hourly.change(link, added * HOURLY_ROW, 0).await
}

fn values<'r>((hour, (texts, code, flags)): &'r (u64, Name<'_>), facts: &Facts) -> [Value<'r>; COLUMNS] {
    let [
        reporter,
        from_ns,
        from,
        service,
        to_ns,
        to,
        protocol,
        virtual_service,
        route,
        match_name,
    ] = *texts;
    [
        Value::from(*hour),
        reporter.into(),
        from_ns.into(),
        from.into(),
        service.into(),
        to_ns.into(),
        to.into(),
        protocol.into(),
        Value::Int(i64::from(*code)),
        flags.into(),
        virtual_service.into(),
        route.into(),
        match_name.into(),
        facts.requests.into(),
        facts.attempts.into(),
        facts.errors.into(),
        Value::Float(facts.milliseconds),
        facts.request_bytes.into(),
        facts.response_bytes.into(),
    ]
}

async fn count(link: &mut Link<'_>, hours: &[u64]) -> Result<u64, Error> {
    let mut rows = 0;
    for hour in hours {
        let sql = "SELECT COUNT(*) FROM hourly WHERE hour = $1";
        rows += link.number(sql, &[Value::from(*hour)]).await?;
    }
    Ok(rows)
}

//! Values of every field among what a search finds.

use std::collections::{BTreeMap, HashMap};

use mesh_model::edge::{Reporter, RequestProtocol};
use mesh_model::flags::ResponseFlags;

use super::everything;
use crate::history::Error;
use crate::link::Transaction;
use crate::records::matcher;
use crate::records::segment::Scan;
use crate::records::{Facets, RequestQuery};

/// Most values of a facet.
const VALUES: usize = 50;

/// Counts of one search.
#[derive(Default)]
struct Counts {
    total: u64,
    fields: [HashMap<String, u64>; FIELDS.len()],
    codes: BTreeMap<u16, u64>,
    flags: BTreeMap<ResponseFlags, u64>,
    protocols: [u64; 3],
    reporters: [u64; 2],
    reasons: [u64; 3],
}

/// Fields whose values are texts, in the order of [`Counts::fields`].
const FIELDS: [&str; 7] = [
    "source",
    "destination",
    "service",
    "virtual_service",
    "route",
    "match",
    "method",
];

/// Adds to the count of a text.
fn count(counts: &mut HashMap<String, u64>, text: &str, more: u64) {
    match counts.get_mut(text) {
        Some(count) => *count += more,
        None => {
            counts.insert(text.to_owned(), more);
        }
    }
}

/// How many of `places` there are of each.
fn tally(length: usize, places: impl Iterator<Item = (usize, u64)>) -> Vec<u64> {
    let mut counts = vec![0; length];
    for (place, more) in places {
        if let Some(count) = counts.get_mut(place) {
            *count += more;
        }
    }
    counts
}

impl Counts {
    fn look(&mut self, scan: &Scan, rows: &[usize]) {
        self.total += rows.len() as u64;
        let at =
            |column: &[u16], row: &usize| (usize::from(column.get(*row).copied().unwrap_or_default()), 1);
        let series = scan.series.rows();
        let keys = tally(series.len(), rows.iter().map(|row| at(&scan.place, row)));
        let methods = tally(scan.methods.len(), rows.iter().map(|row| at(&scan.method, row)));
        for row in rows {
            let reason = scan.reason.get(*row).copied().unwrap_or_default();
            if let Some(count) = self.reasons.get_mut(usize::from(reason)) {
                *count += 1;
            }
        }
        let counted = || series.iter().zip(&keys).filter(|(_, count)| **count > 0);
        for (row, count) in counted() {
            *self.codes.entry(row.code).or_default() += count;
            *self.flags.entry(row.flags).or_default() += count;
            let [http, grpc, tcp] = &mut self.protocols;
            *match row.protocol {
                RequestProtocol::Http => http,
                RequestProtocol::Grpc => grpc,
                RequestProtocol::Tcp => tcp,
            } += count;
            let [source, destination] = &mut self.reporters;
            *match row.reporter {
                Reporter::Source => source,
                Reporter::Destination => destination,
            } += count;
        }
        let place = |place: u32, count: &u64| (place as usize, *count);
        let workloads = scan.series.workloads().count();
        let from = tally(workloads, counted().map(|(row, n)| place(row.source, n)));
        let to = tally(workloads, counted().map(|(row, n)| place(row.destination, n)));
        let services = tally(
            scan.series.hosts().count(),
            counted().map(|(row, n)| place(row.service, n)),
        );
        let origins = tally(
            scan.series.origins().count(),
            counted().map(|(row, n)| place(row.origin, n)),
        );
        let [
            source,
            destination,
            service,
            virtual_service,
            route,
            match_name,
            method,
        ] = &mut self.fields;
        for (([namespace, name, _], from), to) in scan.series.workloads().zip(from).zip(to) {
            let name = matcher::joined(namespace, name);
            if from > 0 {
                count(source, &name, from);
            }
            if to > 0 {
                count(destination, &name, to);
            }
        }
        for (host, more) in scan.series.hosts().zip(services).filter(|(_, n)| *n > 0) {
            count(service, host, more);
        }
        for (texts, more) in scan.series.origins().zip(origins).filter(|(_, n)| *n > 0) {
            for (counts, text) in [&mut *virtual_service, &mut *route, &mut *match_name]
                .into_iter()
                .zip(texts)
            {
                count(counts, text, more);
            }
        }
        for (text, more) in scan.methods.iter().zip(methods).filter(|(_, n)| *n > 0) {
            count(method, text, more);
        }
    }

    fn add(&mut self, other: Self) {
        self.total += other.total;
        for (counts, others) in self.fields.iter_mut().zip(other.fields) {
            if counts.is_empty() {
                *counts = others;
                continue;
            }
            for (text, more) in others {
                *counts.entry(text).or_default() += more;
            }
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        for (flags, count) in other.flags {
            *self.flags.entry(flags).or_default() += count;
        }
        let numbers = |counts: &mut [u64], others: &[u64]| {
            counts.iter_mut().zip(others).for_each(|(sum, n)| *sum += n);
        };
        numbers(&mut self.protocols, &other.protocols);
        numbers(&mut self.reporters, &other.reporters);
        numbers(&mut self.reasons, &other.reasons);
    }

    fn facets(self) -> Facets {
        let mut fields: Vec<(&'static str, Vec<(String, u64)>)> = FIELDS
            .into_iter()
            .zip(self.fields)
            .map(|(name, values)| (name, most_frequent(values)))
            .collect();
        let codes = self.codes.into_iter().map(|(code, n)| (code.to_string(), n));
        // Several flags of one request are several values, as in a query.
        let mut flags: BTreeMap<String, u64> = BTreeMap::new();
        for (set, n) in self.flags {
            for flag in set.to_string().split(',') {
                *flags.entry(flag.to_owned()).or_default() += n;
            }
        }
        let protocols = [RequestProtocol::Http, RequestProtocol::Grpc, RequestProtocol::Tcp];
        let named = |name: &str, n: u64| (name.to_owned(), n);
        let protocols = (protocols.iter().zip(self.protocols)).map(|(p, n)| named(p.as_str(), n));
        let reporters = [Reporter::Source, Reporter::Destination];
        let reporters = (reporters.iter().zip(self.reporters)).map(|(r, n)| named(r.as_str(), n));
        let reasons = mesh_model::record::KeptReason::ALL.iter().zip(self.reasons);
        let reasons = reasons.map(|(reason, n)| named(reason.as_str(), n));
        fields.splice(
            3..3,
            [("code", most_frequent(codes)), ("flags", most_frequent(flags))],
        );
        fields.extend([
            ("protocol", most_frequent(protocols)),
            ("reporter", most_frequent(reporters)),
            ("reason", most_frequent(reasons)),
        ]);
        Facets {
            total: self.total,
            fields,
        }
    }
}

fn most_frequent(values: impl IntoIterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let filled = |(value, count): &(String, u64)| !value.is_empty() && *count > 0;
    let mut values: Vec<(String, u64)> = values.into_iter().filter(filled).collect();
    values.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    values.truncate(VALUES);
    values
}

/// Values of every field among what matches.
pub(crate) async fn facets(view: &mut Transaction<'static>, query: &RequestQuery) -> Result<Facets, Error> {
    let mut all = Counts::default();
    everything(view, query, Counts::look, |counts| all.add(counts)).await?;
    Ok(all.facets())
}

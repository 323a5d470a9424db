//! The series of a segment's requests, in tables: what is said of workloads, services and routes stands once, and a
//! search decides it once.

use std::collections::HashMap;

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use super::texts::{Places, Texts};
use crate::block::{Input, damaged, put};
use crate::history::Error;

/// Namespace, name, app, version, cluster.
type WorkloadTexts = [u32; 5];
/// Host, name, namespace.
type ServiceTexts = [u32; 3];
/// VirtualService, route, match, revision.
type OriginTexts = [u32; 4];

/// One series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) reporter: Reporter,
    pub(crate) protocol: RequestProtocol,
    pub(crate) code: u16,
    pub(crate) flags: ResponseFlags,
    /// Places in the tables.
    pub(crate) source: u32,
    pub(crate) service: u32,
    pub(crate) destination: u32,
    pub(crate) origin: u32,
    grpc_status: Option<u16>,
    mutual_tls: bool,
    source_principal: u32,
    destination_principal: u32,
}

/// Series by place.
#[derive(Debug, Default)]
pub(crate) struct Series {
    texts: Texts,
    workloads: Vec<WorkloadTexts>,
    services: Vec<ServiceTexts>,
    origins: Vec<OriginTexts>,
    rows: Vec<Row>,
}

/// Gives each distinct row of texts its place.
fn row<const N: usize>(
    rows: &mut Vec<[u32; N]>,
    places: &mut HashMap<[u32; N], u32>,
    texts: [u32; N],
) -> u32 {
    let next = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    *places.entry(texts).or_insert_with(|| {
        rows.push(texts);
        next
    })
}

impl Series {
    /// Of distinct keys, in their order.
    pub(crate) fn of(keys: &[&SeriesKey]) -> Self {
        let mut texts = Places::default();
        let mut series = Self::default();
        let (mut workloads, mut services, mut origins) = (HashMap::new(), HashMap::new(), HashMap::new());
        for key in keys {
            let [source, destination] = [&key.source, &key.destination].map(|w| {
                let names = [&w.namespace, &w.name, &w.app, &w.version, &w.cluster];
                let names = names.map(|text| texts.place(text));
                row(&mut series.workloads, &mut workloads, names)
            });
            let service = [&key.service.host, &key.service.name, &key.service.namespace];
            let service = service.map(|text| texts.place(text));
            let origin = &key.origin;
            let origin = [
                &origin.virtual_service,
                &origin.route,
                &origin.match_name,
                &origin.revision,
            ];
            let origin = origin.map(|text| texts.place(text));
            series.rows.push(Row {
                reporter: key.reporter,
                protocol: key.protocol,
                code: key.response_code,
                flags: key.flags,
                source,
                service: row(&mut series.services, &mut services, service),
                destination,
                origin: row(&mut series.origins, &mut origins, origin),
                grpc_status: key.grpc_status,
                mutual_tls: key.mutual_tls,
                source_principal: texts.place(&key.source_principal),
                destination_principal: texts.place(&key.destination_principal),
            });
        }
        series.texts = texts.texts;
        series
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn text(&self, place: u32) -> &str {
        self.texts.get(place as usize)
    }

    /// (namespace, name, app) of every workload.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = [&str; 3]> {
        let texts = |[namespace, name, app, ..]: &WorkloadTexts| [*namespace, *name, *app];
        let rows = self.workloads.iter().map(texts);
        rows.map(|texts| texts.map(|place| self.text(place)))
    }

    /// Host of every service.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|[host, ..]| self.text(*host))
    }

    /// (VirtualService, route, match) of every origin.
    pub(crate) fn origins(&self) -> impl Iterator<Item = [&str; 3]> {
        let rows = self
            .origins
            .iter()
            .map(|[service, route, name, _]| [*service, *route, *name]);
        rows.map(|texts| texts.map(|place| self.text(place)))
    }

    /// Whether requests of each series failed.
    pub(crate) fn errors(&self) -> Vec<bool> {
        let facts = self.rows.iter().map(|row| self.facts(row));
        facts.map(|key| key.is_error()).collect()
    }

    /// A key without its texts.
    fn facts(&self, row: &Row) -> SeriesKey {
        let nobody = || Workload {
            namespace: String::new(),
            name: String::new(),
            app: String::new(),
            version: String::new(),
            cluster: String::new(),
        };
        SeriesKey {
            reporter: row.reporter,
            source: nobody(),
            source_principal: String::new(),
            service: ServiceName {
                host: String::new(),
                name: String::new(),
                namespace: String::new(),
            },
            destination: nobody(),
            destination_principal: String::new(),
            protocol: row.protocol,
            response_code: row.code,
            grpc_status: row.grpc_status,
            flags: row.flags,
            mutual_tls: row.mutual_tls,
            origin: RouteOrigin::default(),
        }
    }

    /// The key at a place.
    pub(crate) fn key(&self, place: usize) -> Option<SeriesKey> {
        let row = self.rows.get(place)?;
        let text = |place: u32| self.text(place).to_owned();
        let workload = |place: u32| {
            let names = self.workloads.get(place as usize)?;
            let [namespace, name, app, version, cluster] = names.map(text);
            Some(Workload {
                namespace,
                name,
                app,
                version,
                cluster,
            })
        };
        let [host, name, namespace] = self.services.get(row.service as usize)?.map(text);
        let [virtual_service, route, match_name, revision] = self.origins.get(row.origin as usize)?.map(text);
        Some(SeriesKey {
            source: workload(row.source)?,
            source_principal: text(row.source_principal),
            service: ServiceName {
                host,
                name,
                namespace,
            },
            destination: workload(row.destination)?,
            destination_principal: text(row.destination_principal),
            origin: RouteOrigin {
                virtual_service,
                route,
                match_name,
                revision,
            },
            ..self.facts(row)
        })
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.texts.put(out);
        put_table(out, &self.workloads);
        put_table(out, &self.services);
        put_table(out, &self.origins);
        put(out, self.rows.len() as u64);
        let columns: [fn(&Row) -> u64; COLUMNS] = [
            |r| u64::from(r.reporter == Reporter::Destination) | u64::from(r.mutual_tls) << 1,
            |r| match r.protocol {
                RequestProtocol::Http => 0,
                RequestProtocol::Grpc => 1,
                RequestProtocol::Tcp => 2,
            },
            |r| r.code.into(),
            |r| r.grpc_status.map_or(0, |status| u64::from(status) + 1),
            |r| r.flags.bits().into(),
            |r| r.source.into(),
            |r| r.service.into(),
            |r| r.destination.into(),
            |r| r.origin.into(),
            |r| r.source_principal.into(),
            |r| r.destination_principal.into(),
        ];
        for column in columns {
            self.rows.iter().for_each(|row| put(out, column(row)));
        }
    }

    pub(crate) fn read(input: &mut Input<'_>) -> Result<Self, Error> {
        let texts = Texts::read(input)?;
        let known = texts.len();
        let workloads = table(input, known)?;
        let services = table(input, known)?;
        let origins = table(input, known)?;
        let count = input.length()?;
        let mut columns: [Vec<u32>; COLUMNS] = Default::default();
        let ends = [
            4,
            3,
            1 << 16,
            (1 << 16) + 1,
            u32::MAX as usize,
            workloads.len(),
            services.len(),
            workloads.len(),
            origins.len(),
            known,
            known,
        ];
        for (column, end) in columns.iter_mut().zip(ends) {
            column.reserve(count);
            for _ in 0..count {
                column.push(place(input, end)?);
            }
        }
        let rows = (0..count).map(|at| row_of(&columns, at)).collect();
        Ok(Self {
            texts,
            workloads,
            services,
            origins,
            rows,
        })
    }
}

const COLUMNS: usize = 11;

fn row_of(columns: &[Vec<u32>; COLUMNS], at: usize) -> Row {
    let column = |which: usize| {
        let column = columns.get(which).and_then(|column| column.get(at));
        column.copied().unwrap_or_default()
    };
    let narrow = |value: u32| u16::try_from(value).unwrap_or_default();
    Row {
        reporter: if column(0) & 1 == 1 {
            Reporter::Destination
        } else {
            Reporter::Source
        },
        mutual_tls: column(0) & 2 != 0,
        protocol: match column(1) {
            0 => RequestProtocol::Http,
            1 => RequestProtocol::Grpc,
            _ => RequestProtocol::Tcp,
        },
        code: narrow(column(2)),
        grpc_status: column(3).checked_sub(1).map(narrow),
        flags: ResponseFlags::from_bits(column(4)),
        source: column(5),
        service: column(6),
        destination: column(7),
        origin: column(8),
        source_principal: column(9),
        destination_principal: column(10),
    }
}

fn put_table<const N: usize>(out: &mut Vec<u8>, rows: &[[u32; N]]) {
    put(out, rows.len() as u64);
    rows.iter()
        .flatten()
        .for_each(|place| put(out, u64::from(*place)));
}

fn table<const N: usize>(input: &mut Input<'_>, known: usize) -> Result<Vec<[u32; N]>, Error> {
    let count = input.length()?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let mut texts = [0; N];
        for text in &mut texts {
            *text = place(input, known)?;
        }
        rows.push(texts);
    }
    Ok(rows)
}

/// A number below `end`.
fn place(input: &mut Input<'_>, end: usize) -> Result<u32, Error> {
    let number = input.number()?;
    let known = usize::try_from(number).is_ok_and(|number| number < end);
    let place = u32::try_from(number).ok().filter(|_| known);
    place.ok_or_else(|| damaged("place in a segment"))
}

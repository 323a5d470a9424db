//! Searching kept requests: segments are scanned, newest first, on a few threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mesh_model::record::KeptRequest;
use tokio::task::JoinSet;

use super::keep::{self, time};
use crate::block::damaged;
use crate::history::Error;
use crate::link::{Link, Row, Transaction, Value};
use crate::records::heat::{ROWS, heat_bound, heat_row};
use crate::records::matcher::Matcher;
use crate::records::names::{self, NAME, Names};
use crate::records::segment::{self, FULL, Scan};
use crate::records::{HeatMap, RequestPage, RequestQuery};

mod facets;

pub(super) use facets::facets;

/// Segments that one thread scans at a time.
const BATCH: i64 = 8;
/// Batches in work at the same time.
const THREADS: usize = 2;
/// Most requests in a page.
const MOST: usize = 1000;

/// Some rows to look through.
struct Part {
    /// Segment; `None` = fresh ones.
    id: Option<i64>,
    to_ns: u64,
    scan: Scanned,
    texts: Vec<u8>,
    names: Vec<u8>,
}

enum Scanned {
    Packed(Vec<u8>),
    Fresh(Box<Scan>),
}

impl Part {
    /// Looks through it.
    fn look<R>(
        &mut self,
        query: &RequestQuery,
        look: impl FnOnce(&Scan, &[usize]) -> R,
    ) -> Result<Option<R>, Error> {
        let matcher = Matcher::new(query);
        let mut unpacked;
        let scan = match &mut self.scan {
            Scanned::Packed(bytes) => {
                unpacked = Scan::unpack(bytes)?;
                if matcher.needs_texts() {
                    unpacked.read_texts(&self.texts)?;
                }
                &mut unpacked
            }
            Scanned::Fresh(scan) => scan,
        };
        let names = (matcher.needs_names())
            .then(|| Names::read(&self.names))
            .transpose()?;
        let rows = matcher.rows(scan, names.as_ref());
        Ok((!rows.is_empty()).then(|| look(scan, &rows)))
    }
}

/// Fresh requests as segments of their own, with what they are made of.
async fn fresh(link: &mut Link<'_>) -> Result<Vec<(Part, Vec<KeptRequest>)>, Error> {
    let mut requests: Vec<KeptRequest> = (keep::fresh_requests(link)
        .await?
        .into_iter()
        .map(|(request, _)| request))
    .collect();
    requests.sort_by_key(|request| request.started_ns);
    requests
        .chunks(FULL)
        .map(|chunk| {
            let part = Part {
                id: None,
                to_ns: chunk
                    .iter()
                    .map(|request| request.started_ns)
                    .max()
                    .unwrap_or_default(),
                scan: Scanned::Fresh(Box::new(Scan::of(chunk))),
                texts: Vec::new(),
                names: names::names(chunk),
            };
            Ok((part, chunk.to_vec()))
        })
        .collect()
}

/// Segments of the query's time, newest first, in batches.
struct Segments<'q> {
    query: &'q RequestQuery,
    /// Names and texts are fetched, too.
    whole: bool,
    /// Where the next batch goes on: latest start, id.
    after: (u64, i64),
    ended: bool,
}

impl<'q> Segments<'q> {
    fn new(query: &'q RequestQuery) -> Self {
        Self {
            query,
            whole: Matcher::new(query).needs_texts(),
            after: (i64::MAX as u64, i64::MAX),
            ended: false,
        }
    }

    async fn next(&mut self, link: &mut Link<'_>) -> Result<Vec<Part>, Error> {
        if self.ended {
            return Ok(Vec::new());
        }
        let to = if self.query.to_ns == 0 {
            u64::MAX
        } else {
            self.query.to_ns
        };
        let mut values = vec![
            Value::from(time(self.query.from_ns)),
            Value::from(time(to)),
            Value::from(self.after.0),
            Value::Int(self.after.1),
            Value::Int(BATCH),
        ];
        let sql = match (&self.query.trace, &link) {
            (_, _) if self.whole => {
                "SELECT id, to_ns, scan, names, payload FROM request_segment \
                 LEFT JOIN request_text ON segment = id WHERE to_ns >= $1 AND from_ns <= $2 \
                 AND (to_ns, id) < ($3, $4) ORDER BY to_ns DESC, id DESC LIMIT $5"
            }
            // The database looks for the trace: what does not have it need not come here.
            (Some(trace), link) => {
                values.push(Value::Blob(&trace.0));
                match link {
                    Link::Sqlite(_) => {
                        "SELECT id, to_ns, scan, names FROM request_segment WHERE to_ns >= $1 AND from_ns <= $2 \
                         AND (to_ns, id) < ($3, $4) AND instr(names, $6) > 0 \
                         ORDER BY to_ns DESC, id DESC LIMIT $5"
                    }
                    Link::Postgres(_) => {
                        "SELECT id, to_ns, scan, names FROM request_segment WHERE to_ns >= $1 AND from_ns <= $2 \
                         AND (to_ns, id) < ($3, $4) AND position($6 IN names) > 0 \
                         ORDER BY to_ns DESC, id DESC LIMIT $5"
                    }
                }
            }
            (None, _) => {
                "SELECT id, to_ns, scan FROM request_segment WHERE to_ns >= $1 AND from_ns <= $2 \
                 AND (to_ns, id) < ($3, $4) ORDER BY to_ns DESC, id DESC LIMIT $5"
            }
        };
        let rows = link.rows(sql, &values).await?;
        self.ended = rows.len() < BATCH as usize;
        let parts = rows
            .iter()
            .map(|row| self.part(row))
            .collect::<Result<Vec<Part>, Error>>()?;
        if let Some(last) = parts.last() {
            self.after = (last.to_ns, last.id.unwrap_or_default());
        }
        Ok(parts)
    }

    fn part(&self, row: &Row) -> Result<Part, Error> {
        Ok(Part {
            id: Some(row.int(0)?),
            to_ns: row.number(1)?,
            scan: Scanned::Packed(row.blob(2)?.to_vec()),
            names: if self.whole || self.query.trace.is_some() {
                row.blob(3)?.to_vec()
            } else {
                Vec::new()
            },
            texts: if self.whole {
                row.blob_or_none(4)?.unwrap_or_default().to_vec()
            } else {
                Vec::new()
            },
        })
    }
}

/// Looks through everything of the query's time; `add` gets what each batch gave.
async fn everything<R: Default + Send + 'static>(
    view: &mut Transaction<'static>,
    query: &RequestQuery,
    look: impl Fn(&mut R, &Scan, &[usize]) + Clone + Send + 'static,
    mut add: impl FnMut(R),
) -> Result<(), Error> {
    let mut link = view.link();
    let shared = Arc::new(query.clone());
    let mut segments = Segments::new(query);
    let mut batch: Vec<Part> = fresh(&mut link)
        .await?
        .into_iter()
        .map(|(part, _)| part)
        .collect();
    let mut threads: JoinSet<Result<R, Error>> = JoinSet::new();
    loop {
        let (query, look) = (Arc::clone(&shared), look.clone());
        threads.spawn_blocking(move || {
            let mut result = R::default();
            for mut part in batch {
                part.look(&query, |scan, rows| look(&mut result, scan, rows))?;
            }
            Ok(result)
        });
        batch = segments.next(&mut link).await?;
        let last = batch.is_empty();
        while threads.len() >= THREADS || (last && !threads.is_empty()) {
            if let Some(result) = threads.join_next().await {
                add(result.map_err(|e| Error::Unavailable(e.to_string()))??);
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// Most columns of a heat map.
const MOST_COLUMNS: u32 = 1000;

/// Time × duration of what matches.
pub(super) async fn heat_map(
    view: &mut Transaction<'static>,
    query: &RequestQuery,
    columns: u32,
) -> Result<HeatMap, Error> {
    let columns = columns.clamp(1, MOST_COLUMNS);
    let (from, to) = times(&mut view.link(), query).await?;
    let width = (to.saturating_sub(from)).div_ceil(u64::from(columns)).max(1);
    let mut cells = vec![(0_u64, 0_u64); columns as usize * ROWS];
    let length = cells.len();
    let look = move |found: &mut Vec<(u64, u64)>, scan: &Scan, rows: &[usize]| {
        found.resize(length, (0, 0));
        let errors = scan.series.errors();
        for row in rows {
            let started = scan.started.get(*row).copied().unwrap_or_default();
            let duration = scan.duration.get(*row).copied().unwrap_or_default();
            let column = (started.saturating_sub(from) / width).min(u64::from(columns) - 1);
            let at = column as usize * ROWS + heat_row(duration);
            let place = usize::from(scan.place.get(*row).copied().unwrap_or_default());
            if let Some(cell) = found.get_mut(at) {
                cell.0 += 1;
                cell.1 += u64::from(errors.get(place).copied().unwrap_or_default());
            }
        }
    };
    everything(view, query, look, |found| {
        for (cell, (requests, errors)) in cells.iter_mut().zip(found) {
            cell.0 += requests;
            cell.1 += errors;
        }
    })
    .await?;
    let filled = || {
        cells
            .iter()
            .enumerate()
            .filter(|(_, (requests, _))| *requests > 0)
    };
    let rows = || filled().map(|(at, _)| at % ROWS);
    let (low, high) = (rows().min().unwrap_or_default(), rows().max());
    let number = |value: usize| u32::try_from(value).unwrap_or_default();
    Ok(HeatMap {
        from_ns: from,
        column_ns: width,
        rows_ns: high.map_or_else(Vec::new, |high| (low..=high).map(heat_bound).collect()),
        cells: filled()
            .map(|(at, (requests, errors))| (number(at / ROWS), number(at % ROWS - low), *requests, *errors))
            .collect(),
    })
}

/// The query's interval; where it is open, that of what there is.
async fn times(link: &mut Link<'_>, query: &RequestQuery) -> Result<(u64, u64), Error> {
    if query.from_ns > 0 && query.to_ns > 0 {
        return Ok((query.from_ns, query.to_ns));
    }
    let fresh = fresh(link).await?;
    let starts = || {
        fresh
            .iter()
            .flat_map(|(_, requests)| requests.iter().map(|r| r.started_ns))
    };
    let sql = "SELECT COUNT(*), MIN(from_ns), MAX(to_ns) FROM request_segment";
    let row = link.row(sql, &[]).await?;
    let (mut first, mut last) = (
        starts().min().unwrap_or(u64::MAX),
        starts().max().unwrap_or_default(),
    );
    if let Some(row) = row
        && row.int(0)? > 0
    {
        first = first.min(row.number(1)?);
        last = last.max(row.number(2)?);
    }
    let first = if first == u64::MAX { 0 } else { first };
    let from = if query.from_ns > 0 { query.from_ns } else { first };
    let to = if query.to_ns > 0 {
        query.to_ns
    } else {
        last.saturating_add(1)
    };
    Ok((from, to))
}

/// What orders a page, newest first: start, then name.
type Order = (u64, [u8; NAME]);

/// Where a request that was found stands: its segment (`None` = fresh) and row.
type Spot = (Option<i64>, usize);

fn read_cursor(text: &str) -> Result<Order, Error> {
    let wrong = || damaged("`after` is not what a page before gave as `next`");
    let (started, name) = text.split_once('-').ok_or_else(wrong)?;
    let mut bytes = [0; NAME];
    if name.len() != 2 * NAME || !name.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        let digits = name.get(at..at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok((started.parse().map_err(|_| wrong())?, bytes))
}

fn write_cursor((started, name): &Order) -> String {
    let mut text = format!("{started}-");
    name.iter().for_each(|byte| names::write_hex(&mut text, *byte));
    text
}

/// A page of what matches, newest first.
pub(super) async fn page(
    view: &mut Transaction<'static>,
    query: &RequestQuery,
    limit: usize,
    after: Option<&str>,
) -> Result<RequestPage, Error> {
    let limit = limit.clamp(1, MOST);
    let after = after.map(read_cursor).transpose()?;
    let mut query = query.clone();
    if let Some((started, _)) = after {
        let end = started.saturating_add(1);
        query.to_ns = if query.to_ns == 0 {
            end
        } else {
            query.to_ns.min(end)
        };
    }
    let mut link = view.link();
    let fresh = fresh(&mut link).await?;
    let mut best = Best {
        wanted: limit + 1,
        after,
        found: BTreeMap::new(),
    };
    let mut unsealed: HashMap<usize, KeptRequest> = HashMap::new();
    for (mut part, requests) in fresh {
        let base = unsealed.len();
        let rows = part.look(&query, candidates)?;
        best.add(rows.unwrap_or_default(), None, base, &part.names)?;
        unsealed.extend((base..).zip(requests));
    }
    let shared = Arc::new(query.clone());
    let mut segments = Segments::new(&query);
    loop {
        let batch = segments.next(&mut link).await?;
        if batch.is_empty() || batch.first().is_some_and(|part| best.is_settled(part.to_ns)) {
            break;
        }
        for (part, rows) in look_through(&shared, batch).await? {
            let Some(id) = part.id.filter(|_| !best.is_settled(part.to_ns)) else {
                continue;
            };
            if !part.names.is_empty() {
                best.add(rows, Some(id), 0, &part.names)?;
                continue;
            }
            let sql = "SELECT names FROM request_segment WHERE id = $1";
            if let Some(names) = link.row(sql, &[Value::Int(id)]).await? {
                best.add(rows, Some(id), 0, names.blob(0)?)?;
            }
        }
    }
    best.page(&mut link, limit, &mut unsealed).await
}

/// (start, row) of what matches in a part.
fn candidates(scan: &Scan, rows: &[usize]) -> Vec<(u64, usize)> {
    rows.iter()
        .map(|row| (scan.started.get(*row).copied().unwrap_or_default(), *row))
        .collect()
}

type Matches = Vec<(Part, Vec<(u64, usize)>)>;

/// Half of a batch on each of two threads.
async fn look_through(query: &Arc<RequestQuery>, batch: Vec<Part>) -> Result<Matches, Error> {
    let half = batch.len().div_ceil(THREADS).max(1);
    let mut batch = batch.into_iter().peekable();
    let mut threads: JoinSet<Result<Matches, Error>> = JoinSet::new();
    while batch.peek().is_some() {
        let parts: Vec<Part> = batch.by_ref().take(half).collect();
        let query = Arc::clone(query);
        threads.spawn_blocking(move || {
            let mut matches = Vec::new();
            for mut part in parts {
                if let Some(rows) = part.look(&query, candidates)? {
                    matches.push((part, rows));
                }
            }
            Ok(matches)
        });
    }
    let mut all = Vec::new();
    while let Some(matches) = threads.join_next().await {
        all.extend(matches.map_err(|e| Error::Unavailable(e.to_string()))??);
    }
    all.sort_by_key(|(part, _)| std::cmp::Reverse(part.to_ns));
    Ok(all)
}

/// The newest that were found so far.
struct Best {
    wanted: usize,
    after: Option<Order>,
    found: BTreeMap<Order, Spot>,
}

impl Best {
    fn add(
        &mut self,
        mut rows: Vec<(u64, usize)>,
        id: Option<i64>,
        base: usize,
        names: &[u8],
    ) -> Result<(), Error> {
        let names = Names::read(names)?;
        rows.sort_unstable_by_key(|(started, _)| std::cmp::Reverse(*started));
        for (started, row) in rows {
            if self.is_settled(started) {
                break;
            }
            let name = names
                .pair(row)
                .try_into()
                .map_err(|_| damaged("names of a segment"))?;
            if self.after.is_none_or(|after| (started, name) < after) {
                self.found.insert((started, name), (id, base + row));
                if self.found.len() > self.wanted {
                    self.found.pop_first();
                }
            }
        }
        Ok(())
    }

    /// Whether nothing that started at or before `latest` can be on the page.
    fn is_settled(&self, latest: u64) -> bool {
        self.found.len() >= self.wanted
            && self
                .found
                .first_key_value()
                .is_some_and(|((s, _), _)| *s > latest)
    }

    async fn page(
        mut self,
        link: &mut Link<'_>,
        limit: usize,
        unsealed: &mut HashMap<usize, KeptRequest>,
    ) -> Result<RequestPage, Error> {
        let more = self.found.len() > limit;
        if more {
            self.found.pop_first();
        }
        let next = self
            .found
            .first_key_value()
            .filter(|_| more)
            .map(|(order, _)| write_cursor(order));
        let mut by_segment: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        let mut requests = Vec::with_capacity(self.found.len());
        for (id, row) in self.found.values() {
            match id {
                Some(id) => by_segment.entry(*id).or_default().push(*row),
                None => requests.extend(unsealed.remove(row)),
            }
        }
        for (id, mut rows) in by_segment {
            rows.sort_unstable();
            let sql = "SELECT scan, names, rest, payload FROM request_segment \
                       LEFT JOIN request_text ON segment = id WHERE id = $1";
            if let Some(row) = link.row(sql, &[Value::Int(id)]).await? {
                let mut scan = Scan::unpack(row.blob(0)?)?;
                scan.read_texts(row.blob_or_none(3)?.unwrap_or_default())?;
                let names = Names::read(row.blob(1)?)?;
                requests.extend(segment::requests(&scan, &names, row.blob(2)?, &rows)?);
            }
        }
        requests.sort_by_key(|r| std::cmp::Reverse((r.started_ns, r.trace_id, r.span_id)));
        Ok(RequestPage { requests, next })
    }
}

//! Some thousand kept requests, column by column, in four parts: what every search scans, the texts that a search for a
//! text looks through, what names them (ids), and the rest, of which only what is shown is read.

use std::collections::HashMap;

use mesh_model::edge::SeriesKey;
use mesh_model::record::KeptRequest;

use super::codec;
use super::names::{self, Names};
use super::series::Series;
use super::texts::{Places, Texts};
use crate::block::{self, Input, damaged, put};
use crate::history::Error;

/// Requests in a full segment.
pub(crate) const FULL: usize = 4096;
/// Requests of the rest that are compressed together.
const CHUNK: usize = 128;
/// In the layout before, everything stood in the scanned part, each series with its own texts.
const FIRST: u8 = 1;
const VERSION: u8 = 2;

/// Text columns that a search for a part of a text looks through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Authority = 0,
    Path = 1,
    UserAgent = 2,
    Details = 3,
    UpstreamHost = 4,
}

const TEXTS: usize = 5;

/// A segment for the database.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) requests: u64,
    pub(crate) scan: Vec<u8>,
    pub(crate) texts: Vec<u8>,
    pub(crate) names: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

impl Packed {
    /// Bytes of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        (self.scan.len() + self.texts.len() + self.names.len() + self.rest.len()) as u64
    }
}

/// What a search scans.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) series: Series,
    pub(crate) methods: Texts,
    pub(crate) started: Vec<u64>,
    pub(crate) duration: Vec<u64>,
    /// Place in `series`.
    pub(crate) place: Vec<u16>,
    /// Place in `methods`.
    pub(crate) method: Vec<u16>,
    pub(crate) reason: Vec<u8>,
    /// Where they have been read.
    pub(crate) searched: Option<Searched>,
}

/// Texts of requests.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    pub(crate) texts: Texts,
    pub(crate) columns: [Vec<u16>; TEXTS],
}

fn short(place: u32) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

impl Scan {
    /// Of requests, in their order; at most [`FULL`].
    pub(crate) fn of(requests: &[KeptRequest]) -> Self {
        let mut scan = Self::default();
        let mut keys: Vec<&SeriesKey> = Vec::new();
        let mut places: HashMap<&SeriesKey, u16> = HashMap::new();
        let mut methods = Places::default();
        for request in requests.iter().take(FULL) {
            scan.started.push(request.started_ns);
            scan.duration.push(request.duration_ns);
            let next = u16::try_from(keys.len()).unwrap_or(u16::MAX);
            scan.place.push(*places.entry(&request.key).or_insert_with(|| {
                keys.push(&request.key);
                next
            }));
            scan.method.push(short(methods.place(&request.method)));
            scan.reason.push(codec::reason_code(request.reason));
        }
        scan.series = Series::of(&keys);
        scan.methods = methods.texts;
        scan.searched = Some(Searched::of(requests));
        scan
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.started.len()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, self.len() as u64);
        self.series.put(&mut out);
        self.methods.put(&mut out);
        let mut before = 0;
        for started in &self.started {
            put(&mut out, started.wrapping_sub(before));
            before = *started;
        }
        self.duration.iter().for_each(|duration| put(&mut out, *duration));
        put_places(&mut out, &self.place);
        put_places(&mut out, &self.method);
        out.extend_from_slice(&self.reason);
        out
    }

    /// Reads [`Packed::scan`].
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        let plain = block::decompress(bytes)?;
        let mut input = Input(&plain);
        match input.byte()? {
            FIRST => return Self::read_first(&mut input),
            VERSION => {}
            _ => return Err(damaged("unknown version of a segment")),
        }
        let rows = input.length()?;
        let series = Series::read(&mut input)?;
        let methods = Texts::read(&mut input)?;
        let (started, duration) = times(&mut input, rows)?;
        let place = places(&mut input, rows, series.rows().len())?;
        let method = places(&mut input, rows, methods.len())?;
        Ok(Self {
            reason: reasons(&mut input, rows)?,
            series,
            methods,
            started,
            duration,
            place,
            method,
            searched: None,
        })
    }

    /// The layout before.
    fn read_first(input: &mut Input<'_>) -> Result<Self, Error> {
        let rows = input.length()?;
        let length = input.length()?;
        let keys: Vec<SeriesKey> = block::decode(input.bytes(length)?)?
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let mut texts = Texts::default();
        for _ in 0..input.length()? {
            texts.push(&input.text()?);
        }
        let (started, duration) = times(input, rows)?;
        let place = places(input, rows, keys.len())?;
        let at = places(input, rows, texts.len())?;
        let mut columns: [Vec<u16>; TEXTS] = Default::default();
        for column in &mut columns {
            *column = places(input, rows, texts.len())?;
        }
        let mut methods = Places::default();
        let method = at
            .iter()
            .map(|at| short(methods.place(texts.get(usize::from(*at)))))
            .collect();
        Ok(Self {
            series: Series::of(&keys.iter().collect::<Vec<_>>()),
            methods: methods.texts,
            started,
            duration,
            place,
            method,
            reason: reasons(input, rows)?,
            searched: Some(Searched { texts, columns }),
        })
    }

    /// Adds [`Packed::texts`], which a segment of the layout before does not have.
    pub(crate) fn read_texts(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.searched.is_none() {
            self.searched = Some(Searched::unpack(bytes, self.len())?);
        }
        Ok(())
    }
}

impl Searched {
    fn of(requests: &[KeptRequest]) -> Self {
        let mut texts = Places::default();
        let mut columns: [Vec<u16>; TEXTS] = Default::default();
        for request in requests.iter().take(FULL) {
            let values = [
                &request.authority,
                &request.path,
                &request.user_agent,
                &request.details,
                &request.upstream_host,
            ];
            for (column, text) in columns.iter_mut().zip(values) {
                column.push(short(texts.place(text)));
            }
        }
        Self {
            texts: texts.texts,
            columns,
        }
    }

    fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![VERSION];
        self.texts.put(&mut out);
        self.columns
            .iter()
            .for_each(|column| put_places(&mut out, column));
        block::compress(&out)
    }

    fn unpack(bytes: &[u8], rows: usize) -> Result<Self, Error> {
        let plain = block::decompress(bytes)?;
        let mut input = Input(&plain);
        if input.byte()? != VERSION {
            return Err(damaged("unknown version of texts"));
        }
        let texts = Texts::read(&mut input)?;
        let mut columns: [Vec<u16>; TEXTS] = Default::default();
        for column in &mut columns {
            *column = places(&mut input, rows, texts.len())?;
        }
        Ok(Self { texts, columns })
    }

    /// A text of a row.
    fn text(&self, text: Text, row: usize) -> &str {
        let place = self.columns.get(text as usize).and_then(|column| column.get(row));
        place.map_or("", |place| self.texts.get(usize::from(*place)))
    }
}

fn put_places(out: &mut Vec<u8>, places: &[u16]) {
    places
        .iter()
        .for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
}

fn places(input: &mut Input<'_>, rows: usize, known: usize) -> Result<Vec<u16>, Error> {
    let bytes = input.bytes(rows.saturating_mul(2))?;
    let places: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes(pair.try_into().unwrap_or_default()))
        .collect();
    match places.iter().max() {
        Some(highest) if usize::from(*highest) >= known => Err(damaged("place in a segment")),
        _ => Ok(places),
    }
}

/// Starts and durations.
fn times(input: &mut Input<'_>, rows: usize) -> Result<(Vec<u64>, Vec<u64>), Error> {
    let mut started = Vec::with_capacity(rows);
    let mut before = 0_u64;
    for _ in 0..rows {
        before = before.wrapping_add(input.number()?);
        started.push(before);
    }
    let mut duration = Vec::with_capacity(rows);
    for _ in 0..rows {
        duration.push(input.number()?);
    }
    Ok((started, duration))
}

fn reasons(input: &mut Input<'_>, rows: usize) -> Result<Vec<u8>, Error> {
    let reasons = input.bytes(rows)?.to_vec();
    if let Some(highest) = reasons.iter().max() {
        codec::reason(u64::from(*highest))?;
    }
    Ok(reasons)
}

/// Packs requests, which must be sorted by start; at most [`FULL`].
pub(crate) fn pack(requests: &[KeptRequest]) -> Result<Packed, Error> {
    let scan = Scan::of(requests);
    let mut rest = Vec::new();
    let chunks = requests
        .chunks(CHUNK)
        .map(|chunk| {
            let mut plain = Vec::new();
            chunk
                .iter()
                .for_each(|request| codec::put_rest(&mut plain, request));
            block::compress(&plain)
        })
        .collect::<Result<Vec<Vec<u8>>, Error>>()?;
    put(&mut rest, chunks.len() as u64);
    chunks.iter().for_each(|chunk| put(&mut rest, chunk.len() as u64));
    chunks.iter().for_each(|chunk| rest.extend_from_slice(chunk));
    Ok(Packed {
        from_ns: scan.started.iter().min().copied().unwrap_or_default(),
        to_ns: scan.started.iter().max().copied().unwrap_or_default(),
        requests: scan.len() as u64,
        scan: block::compress(&scan.encode())?,
        texts: scan.searched.as_ref().map_or(Ok(Vec::new()), Searched::pack)?,
        names: names::names(requests),
        rest,
    })
}

/// The requests at `rows` (rising), complete.
pub(crate) fn requests(
    scan: &Scan,
    names: &Names<'_>,
    rest: &[u8],
    rows: &[usize],
) -> Result<Vec<KeptRequest>, Error> {
    let mut input = Input(rest);
    let count = input.length()?;
    let lengths = (0..count)
        .map(|_| input.length())
        .collect::<Result<Vec<usize>, Error>>()?;
    let mut chunks = Vec::with_capacity(count);
    for length in lengths {
        chunks.push(input.bytes(length)?);
    }
    let mut found = Vec::with_capacity(rows.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for row in rows {
        let wanted = row / CHUNK;
        if open.as_ref().is_none_or(|(chunk, _)| *chunk != wanted) {
            let bytes = chunks.get(wanted).ok_or_else(|| damaged("rest of a segment"))?;
            open = Some((wanted, block::decompress(bytes)?));
        }
        if let Some((_, plain)) = &open {
            found.push(request(scan, names, plain, *row)?);
        }
    }
    Ok(found)
}

fn request(scan: &Scan, names: &Names<'_>, plain: &[u8], row: usize) -> Result<KeptRequest, Error> {
    let pair = names.pair(row);
    let place = scan.place.get(row).copied().map(usize::from);
    let key = place.and_then(|place| scan.series.key(place));
    let mut request_id = String::new();
    names.request_id(row).write(&mut request_id);
    let text = |text| {
        let searched = scan.searched.as_ref();
        searched
            .map_or("", |searched| searched.text(text, row))
            .to_owned()
    };
    let method = scan.method.get(row).copied().unwrap_or_default();
    let mut request = KeptRequest {
        trace_id: codec::trace_id(pair.get(..16).unwrap_or_default())?,
        span_id: codec::span_id(pair.get(16..).unwrap_or_default())?,
        started_ns: scan.started.get(row).copied().unwrap_or_default(),
        duration_ns: scan.duration.get(row).copied().unwrap_or_default(),
        reason: codec::reason(scan.reason.get(row).copied().unwrap_or_default().into())?,
        key: key.ok_or_else(|| damaged("row of a segment"))?,
        method: scan.methods.get(usize::from(method)).to_owned(),
        authority: text(Text::Authority),
        path: text(Text::Path),
        user_agent: text(Text::UserAgent),
        details: text(Text::Details),
        upstream_host: text(Text::UpstreamHost),
        request_id,
        proxy: String::new(),
        http_version: String::new(),
        upstream_cluster: String::new(),
        downstream_remote: String::new(),
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        headers: Vec::new(),
    };
    let mut input = Input(plain);
    for _ in 0..=row % CHUNK {
        codec::read_rest(&mut input, &mut request)?;
    }
    Ok(request)
}

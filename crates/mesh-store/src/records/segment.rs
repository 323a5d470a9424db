//! Some thousand kept requests, column by column, in three parts: what every search scans, what names them (ids), and
//! the rest, of which only what is shown is read.

use std::collections::HashMap;

use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::record::KeptRequest;

use super::codec;
use crate::block::{self, Input, damaged, put};
use crate::history::Error;

/// Requests in a full segment.
pub(crate) const FULL: usize = 4096;
/// Requests of the rest that are compressed together.
const CHUNK: usize = 128;
const VERSION: u8 = 1;
/// Bytes of trace id and span id.
pub(crate) const NAME: usize = 24;

/// Text columns of the scanned part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Method = 0,
    Authority = 1,
    Path = 2,
    UserAgent = 3,
    Details = 4,
    UpstreamHost = 5,
}

const TEXTS: usize = 6;

impl Text {
    /// Where a search for a part of a text looks.
    pub(crate) const SEARCHED: [Self; 5] = [
        Self::Authority,
        Self::Path,
        Self::UserAgent,
        Self::Details,
        Self::UpstreamHost,
    ];
}

/// A segment for the database.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) requests: u64,
    pub(crate) scan: Vec<u8>,
    pub(crate) names: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

/// What a search scans.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) keys: Vec<SeriesKey>,
    pub(crate) texts: Vec<String>,
    pub(crate) started: Vec<u64>,
    pub(crate) duration: Vec<u64>,
    /// Place in `keys`.
    pub(crate) series: Vec<u16>,
    /// Places in `texts`.
    pub(crate) columns: [Vec<u16>; TEXTS],
    pub(crate) reason: Vec<u8>,
}

impl Scan {
    /// Of requests, in their order; at most [`FULL`].
    pub(crate) fn of(requests: &[KeptRequest]) -> Self {
        let mut scan = Self::default();
        let mut keys: HashMap<&SeriesKey, u16> = HashMap::new();
        let mut texts: HashMap<&str, u16> = HashMap::new();
        for request in requests.iter().take(FULL) {
            scan.started.push(request.started_ns);
            scan.duration.push(request.duration_ns);
            let next = u16::try_from(keys.len()).unwrap_or(u16::MAX);
            scan.series.push(*keys.entry(&request.key).or_insert_with(|| {
                scan.keys.push(request.key.clone());
                next
            }));
            let values = [
                &request.method,
                &request.authority,
                &request.path,
                &request.user_agent,
                &request.details,
                &request.upstream_host,
            ];
            for (column, text) in scan.columns.iter_mut().zip(values) {
                let next = u16::try_from(texts.len()).unwrap_or(u16::MAX);
                column.push(*texts.entry(text).or_insert_with(|| {
                    scan.texts.push(text.clone());
                    next
                }));
            }
            scan.reason.push(codec::reason_code(request.reason));
        }
        scan
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.started.len()
    }

    /// A text column.
    pub(crate) fn column(&self, text: Text) -> &[u16] {
        self.columns.get(text as usize).map_or(&[], Vec::as_slice)
    }

    /// A text of a row.
    pub(crate) fn text(&self, text: Text, row: usize) -> &str {
        let place = self.column(text).get(row).copied().unwrap_or_default();
        self.texts.get(usize::from(place)).map_or("", String::as_str)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, self.len() as u64);
        let none = SeriesDelta::default();
        let series: Vec<(&SeriesKey, &SeriesDelta)> = self.keys.iter().map(|key| (key, &none)).collect();
        let keys = block::encode(&series);
        put(&mut out, keys.len() as u64);
        out.extend_from_slice(&keys);
        put(&mut out, self.texts.len() as u64);
        self.texts.iter().for_each(|text| codec::put_text(&mut out, text));
        let mut before = 0;
        for started in &self.started {
            put(&mut out, started.wrapping_sub(before));
            before = *started;
        }
        self.duration.iter().for_each(|duration| put(&mut out, *duration));
        for column in [&self.series].into_iter().chain(&self.columns) {
            for place in column {
                out.extend_from_slice(&place.to_le_bytes());
            }
        }
        out.extend_from_slice(&self.reason);
        out
    }

    /// Reads [`Packed::scan`].
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        let plain = block::decompress(bytes)?;
        let mut input = Input(&plain);
        if input.byte()? != VERSION {
            return Err(damaged("unknown version of a segment"));
        }
        let rows = input.length()?;
        let length = input.length()?;
        let keys: Vec<SeriesKey> = block::decode(input.bytes(length)?)?
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let texts = (0..input.length()?)
            .map(|_| input.text())
            .collect::<Result<Vec<String>, Error>>()?;
        let mut started = Vec::with_capacity(rows);
        let mut before = 0_u64;
        for _ in 0..rows {
            before = before.wrapping_add(input.number()?);
            started.push(before);
        }
        let duration = (0..rows)
            .map(|_| input.number())
            .collect::<Result<Vec<u64>, Error>>()?;
        let series = places(&mut input, rows, keys.len())?;
        let mut columns: [Vec<u16>; TEXTS] = Default::default();
        for column in &mut columns {
            *column = places(&mut input, rows, texts.len())?;
        }
        let reason = input.bytes(rows)?.to_vec();
        if let Some(highest) = reason.iter().max() {
            codec::reason(u64::from(*highest))?;
        }
        Ok(Self {
            keys,
            texts,
            started,
            duration,
            series,
            columns,
            reason,
        })
    }
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
        names: names(requests),
        rest,
    })
}

/// Ids of requests, for [`Names::read`].
pub(crate) fn names(requests: &[KeptRequest]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, requests.len() as u64);
    for request in requests {
        out.extend_from_slice(&request.trace_id.0);
        out.extend_from_slice(&request.span_id.0);
    }
    for request in requests {
        match uuid(&request.request_id) {
            Some(bytes) => {
                out.push(1);
                out.extend_from_slice(&bytes);
            }
            None => {
                out.push(0);
                codec::put_text(&mut out, &request.request_id);
            }
        }
    }
    out
}

/// The 16 bytes of a UUID as proxies write it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let digits = text.as_bytes();
    if digits.len() != 36 {
        return None;
    }
    let mut nibbles = 0_usize;
    for (place, digit) in digits.iter().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if *digit != b'-' {
                return None;
            }
            continue;
        }
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        let byte = bytes.get_mut(nibbles / 2)?;
        *byte = *byte << 4 | value;
        nibbles += 1;
    }
    Some(bytes)
}

/// Ids of the requests of a segment.
#[derive(Debug)]
pub(crate) struct Names<'b> {
    pairs: &'b [u8],
    ids: Vec<RequestId<'b>>,
}

/// `x-request-id` as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestId<'b> {
    Uuid(&'b [u8]),
    Text(&'b str),
}

impl RequestId<'_> {
    /// Writes it out.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Uuid(bytes) => {
                for (place, byte) in bytes.iter().enumerate() {
                    if matches!(place, 4 | 6 | 8 | 10) {
                        out.push('-');
                    }
                    write_hex(out, *byte);
                }
            }
        }
    }
}

/// Two hexadecimal digits.
pub(crate) fn write_hex(out: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from(if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }));
    }
}

impl<'b> Names<'b> {
    /// Reads [`Packed::names`].
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        let (rows, mut input) = Self::head(bytes)?;
        let pairs = input.bytes(rows.saturating_mul(NAME))?;
        let mut ids = Vec::with_capacity(rows);
        for _ in 0..rows {
            ids.push(if input.byte()? == 1 {
                RequestId::Uuid(input.bytes(16)?)
            } else {
                let length = input.length()?;
                let text = std::str::from_utf8(input.bytes(length)?);
                RequestId::Text(text.map_err(|_| damaged("request id"))?)
            });
        }
        Ok(Self { pairs, ids })
    }

    fn head(bytes: &'b [u8]) -> Result<(usize, Input<'b>), Error> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(damaged("unknown version of names"));
        }
        let rows = input.length()?;
        Ok((rows, input))
    }

    /// Whether a request of this name is among [`Packed::names`].
    pub(crate) fn contain(bytes: &[u8], name: &[u8; NAME]) -> Result<bool, Error> {
        let (rows, mut input) = Names::head(bytes)?;
        let pairs = input.bytes(rows.saturating_mul(NAME))?;
        Ok(pairs.chunks_exact(NAME).any(|pair| pair == name))
    }

    /// Trace id and span id of a row.
    pub(crate) fn pair(&self, row: usize) -> &'b [u8] {
        let from = row.saturating_mul(NAME);
        self.pairs
            .get(from..from.saturating_add(NAME))
            .unwrap_or_default()
    }

    /// Trace id of a row.
    pub(crate) fn trace(&self, row: usize) -> &'b [u8] {
        self.pair(row).get(..16).unwrap_or_default()
    }

    /// Request id of a row.
    pub(crate) fn request_id(&self, row: usize) -> RequestId<'b> {
        self.ids.get(row).copied().unwrap_or(RequestId::Text(""))
    }
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
    let place = scan.series.get(row).copied().map(usize::from);
    let key = place.and_then(|place| scan.keys.get(place));
    let mut request_id = String::new();
    names.request_id(row).write(&mut request_id);
    let text = |text| scan.text(text, row).to_owned();
    let mut request = KeptRequest {
        trace_id: codec::trace_id(pair.get(..16).unwrap_or_default())?,
        span_id: codec::span_id(pair.get(16..).unwrap_or_default())?,
        started_ns: scan.started.get(row).copied().unwrap_or_default(),
        duration_ns: scan.duration.get(row).copied().unwrap_or_default(),
        reason: codec::reason(scan.reason.get(row).copied().unwrap_or_default().into())?,
        key: key.cloned().ok_or_else(|| damaged("row of a segment"))?,
        method: text(Text::Method),
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

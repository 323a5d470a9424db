//! Series as a compressed column block.
//!
//! Columns stand one after another (all reporters, then all source namespaces, ...), texts as indexes into one
//! dictionary, numbers as variable-length integers; zstd does the rest. The layout has a version byte.

use std::collections::{BTreeMap, HashMap};

use mesh_model::edge::{Reporter, RequestProtocol, SeriesDelta, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::{ExponentialHistogram, LOWEST_SCALE, SCALE};
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use crate::history::Error;

/// Histograms were of scale 5 in version 1.
const FIRST: u8 = 1;
const VERSION: u8 = 4;
const LEVEL: i32 = 3;
/// A block that says it is larger is damaged.
const MAX_BYTES: usize = 256 << 20;
const TEXT_COLUMNS: usize = 19;
const FACTS: usize = 12;

/// Series with their facts.
pub type Block = BTreeMap<SeriesKey, SeriesDelta>;

/// Adds a series to a block.
pub fn add(block: &mut Block, key: &SeriesKey, delta: &SeriesDelta) {
    match block.get_mut(key) {
        Some(sum) => sum.merge(delta),
        None => {
            block.insert(key.clone(), delta.clone());
        }
    }
}

/// Compressed bytes of a block.
pub fn pack(block: &Block) -> Result<Vec<u8>, Error> {
    let series: Vec<(&SeriesKey, &SeriesDelta)> = block.iter().collect();
    compress(&encode(&series))
}

/// Reads [`pack`].
pub fn unpack(bytes: &[u8]) -> Result<Vec<(SeriesKey, SeriesDelta)>, Error> {
    decode(&decompress(bytes)?)
}

/// Compresses.
pub(crate) fn compress(plain: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(plain, LEVEL).map_err(|e| Error::Damaged(e.to_string()))
}

/// Reads [`compress`]; what says that it is larger than anything written here is damaged.
pub(crate) fn decompress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged = |e: std::io::Error| Error::Damaged(e.to_string());
    // The frame's own word, where it is believable, saves growing step by step.
    if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(bytes)
        && let Ok(size) = usize::try_from(size)
        && size <= bytes.len().saturating_mul(64).min(MAX_BYTES)
    {
        return zstd::bulk::decompress(bytes, size).map_err(damaged);
    }
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(damaged)?;
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(decoder, MAX_BYTES as u64), &mut plain)
        .map_err(damaged)?;
    Ok(plain)
}

/// Plain bytes of series, for the journal.
#[must_use]
pub fn encode(series: &[(&SeriesKey, &SeriesDelta)]) -> Vec<u8> {
    let mut dictionary = Dictionary::default();
    let mut columns: Vec<Vec<u64>> = vec![Vec::new(); TEXT_COLUMNS];
    for (key, _) in series {
        for (column, text) in columns.iter_mut().zip(texts(key)) {
            column.push(dictionary.index(text));
        }
    }
    let mut out = vec![VERSION];
    put(&mut out, series.len() as u64);
    put(&mut out, dictionary.texts.len() as u64);
    for text in &dictionary.texts {
        put(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    columns.iter().flatten().for_each(|index| put(&mut out, *index));
    let facts: [fn(&SeriesKey, &SeriesDelta) -> u64; FACTS] = [
        |k, _| u64::from(k.reporter == Reporter::Destination),
        |k, _| match k.protocol {
            RequestProtocol::Http => 0,
            RequestProtocol::Grpc => 1,
            RequestProtocol::Tcp => 2,
        },
        |k, _| k.response_code.into(),
        |k, _| k.grpc_status.map_or(0, |s| u64::from(s) + 1),
        |k, _| k.flags.bits().into(),
        |k, _| k.mutual_tls.into(),
        |_, d| d.requests,
        |_, d| d.attempts,
        |_, d| d.request_bytes,
        |_, d| d.response_bytes,
        |_, d| d.duration.zero_count,
        |_, d| d.duration.coarser.into(),
    ];
    for fact in facts {
        series
            .iter()
            .for_each(|(key, delta)| put(&mut out, fact(key, delta)));
    }
    for (_, delta) in series {
        out.extend_from_slice(&delta.duration.sum.to_bits().to_le_bytes());
    }
    series
        .iter()
        .for_each(|(_, d)| put(&mut out, d.duration.buckets.len() as u64));
    for (_, delta) in series {
        let mut before = 0;
        for (index, count) in &delta.duration.buckets {
            put_signed(&mut out, i64::from(*index) - before);
            put(&mut out, *count);
            before = i64::from(*index);
        }
    }
    out
}

/// Reads [`encode`].
pub fn decode(bytes: &[u8]) -> Result<Vec<(SeriesKey, SeriesDelta)>, Error> {
    let mut input = Input(bytes);
    let first = match input.byte()? {
        FIRST => true,
        VERSION => false,
        _ => return Err(damaged("unknown version")),
    };
    let count = input.length()?;
    let texts = (0..input.length()?)
        .map(|_| input.text())
        .collect::<Result<Vec<String>, Error>>()?;
    let column = |input: &mut Input<'_>| {
        (0..count)
            .map(|_| input.number())
            .collect::<Result<Vec<u64>, Error>>()
    };
    let indexes = (0..TEXT_COLUMNS)
        .map(|_| column(&mut input))
        .collect::<Result<Vec<_>, Error>>()?;
    let facts = (0..if first { FACTS - 1 } else { FACTS })
        .map(|_| column(&mut input))
        .collect::<Result<Vec<_>, Error>>()?;
    let sums = (0..count)
        .map(|_| input.float())
        .collect::<Result<Vec<f64>, Error>>()?;
    let buckets = column(&mut input)?;
    let mut series = Vec::with_capacity(count);
    for (row, sum) in sums.into_iter().enumerate() {
        let text = |which: usize| {
            let index = indexes
                .get(which)
                .and_then(|c| c.get(row))
                .copied()
                .unwrap_or(u64::MAX);
            usize::try_from(index)
                .ok()
                .and_then(|i| texts.get(i))
                .cloned()
                .ok_or_else(|| damaged("text index"))
        };
        let fact = |which: usize| {
            facts
                .get(which)
                .and_then(|c| c.get(row))
                .copied()
                .unwrap_or_default()
        };
        let key = key(&text, &fact)?;
        let coarser = if first { 1 } else { coarser(fact(11))? };
        let mut duration = ExponentialHistogram {
            coarser,
            zero_count: fact(10),
            count: fact(10),
            sum,
            ..ExponentialHistogram::default()
        };
        let mut index = 0_i64;
        for _ in 0..buckets.get(row).copied().unwrap_or_default() {
            index = index.wrapping_add(input.signed()?);
            let n = input.number()?;
            duration.count = duration.count.saturating_add(n);
            duration
                .buckets
                .insert(i32::try_from(index).map_err(|_| damaged("bucket"))?, n);
        }
        let delta = SeriesDelta {
            requests: fact(6),
            attempts: fact(7),
            duration,
            request_bytes: fact(8),
            response_bytes: fact(9),
        };
        series.push((key, delta));
    }
    Ok(series)
}

/// How far below the present scale a histogram is.
pub(crate) fn coarser(value: u64) -> Result<u8, Error> {
    let deepest = u64::from((SCALE - LOWEST_SCALE).unsigned_abs());
    let known = u8::try_from(value).ok().filter(|_| value <= deepest);
    known.ok_or_else(|| damaged("scale"))
}

fn texts(key: &SeriesKey) -> [&str; TEXT_COLUMNS] {
    let (s, d, o) = (&key.source, &key.destination, &key.origin);
    [
        &s.namespace,
        &s.name,
        &s.app,
        &s.version,
        &s.cluster,
        &key.source_principal,
        &key.service.host,
        &key.service.name,
        &key.service.namespace,
        &d.namespace,
        &d.name,
        &d.app,
        &d.version,
        &d.cluster,
        &key.destination_principal,
        &o.virtual_service,
        &o.route,
        &o.match_name,
        &o.revision,
    ]
}

fn key(
    text: &impl Fn(usize) -> Result<String, Error>,
    fact: &impl Fn(usize) -> u64,
) -> Result<SeriesKey, Error> {
    let workload = |first: usize| -> Result<Workload, Error> {
        Ok(Workload {
            namespace: text(first)?,
            name: text(first + 1)?,
            app: text(first + 2)?,
            version: text(first + 3)?,
            cluster: text(first + 4)?,
        })
    };
    let narrow = |value: u64| u16::try_from(value).map_err(|_| damaged("number"));
    Ok(SeriesKey {
        reporter: if fact(0) == 0 {
            Reporter::Source
        } else {
            Reporter::Destination
        },
        source: workload(0)?,
        source_principal: text(5)?,
        service: ServiceName {
            host: text(6)?,
            name: text(7)?,
            namespace: text(8)?,
        },
        destination: workload(9)?,
        destination_principal: text(14)?,
        protocol: match fact(1) {
            0 => RequestProtocol::Http,
            1 => RequestProtocol::Grpc,
            2 => RequestProtocol::Tcp,
            _ => return Err(damaged("protocol")),
        },
        response_code: narrow(fact(2))?,
        grpc_status: fact(3).checked_sub(1).map(narrow).transpose()?,
        flags: ResponseFlags::from_bits(u32::try_from(fact(4)).map_err(|_| damaged("flags"))?),
        mutual_tls: fact(5) != 0,
        origin: RouteOrigin {
            virtual_service: text(15)?,
            route: text(16)?,
            match_name: text(17)?,
            revision: text(18)?,
        },
    })
}

#[derive(Default)]
struct Dictionary<'t> {
    places: HashMap<&'t str, u64>,
    texts: Vec<&'t str>,
}

impl<'t> Dictionary<'t> {
    fn index(&mut self, text: &'t str) -> u64 {
        let next = self.texts.len() as u64;
        *self.places.entry(text).or_insert_with(|| {
            self.texts.push(text);
            next
        })
    }
}

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// A reader that never reads past the end.
#[derive(Clone, Copy)]
pub(crate) struct Input<'b>(pub(crate) &'b [u8]);

impl<'b> Input<'b> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'b [u8], Error> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| damaged("cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.bytes(1)?.first().copied().unwrap_or_default())
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        // Most numbers are small.
        if let Some((first, rest)) = self.0.split_first()
            && *first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("number too long"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Error> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A count of things that each take at least one byte.
    pub(crate) fn length(&mut self) -> Result<usize, Error> {
        let length = usize::try_from(self.number()?).map_err(|_| damaged("length"))?;
        if length > self.0.len() {
            return Err(damaged("length"));
        }
        Ok(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let length = self.length()?;
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| damaged("text"))
    }

    pub(crate) fn float(&mut self) -> Result<f64, Error> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| damaged("float"))?;
        Ok(f64::from_bits(u64::from_le_bytes(bytes)))
    }
}

pub(crate) fn damaged(what: &str) -> Error {
    Error::Damaged(what.into())
}

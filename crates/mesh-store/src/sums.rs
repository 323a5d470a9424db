//! The numbers of many series in one window: a block without its keys.
//!
//! Keys of one hour and shard stand once, in [`Keys`]; blocks name them by place. So a block is small, and summing
//! sixty of them touches no text. Columns stand apart, each with its length, and are read side by side.

use std::collections::{BTreeMap, HashMap};

use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::histogram::ExponentialHistogram;

use crate::block::{self, Input, damaged, put, put_signed};
use crate::history::Error;

/// Layout of a block whose keys stand apart; other versions are of [`block::encode`], which has its keys itself.
const VERSION: u8 = 3;
/// The layout before: histograms were of scale 5, and no column says so.
const SECOND: u8 = 2;
const COLUMNS: usize = 10;
/// Buckets side by side in memory: 32 doublings, a microsecond to an hour. What is beyond stands in a map.
const WIDTH: usize = 2048;
/// Buckets are added in groups of so many.
const STRIDE: i32 = 16;

/// Series keys in the order in which they came.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<SeriesKey>,
    places: HashMap<SeriesKey, u32>,
    /// How many stand in the database.
    stored: usize,
}

impl Keys {
    /// Reads [`Keys::pack`], for looking up by place only.
    pub fn unpack_list(bytes: &[u8]) -> Result<Self, Error> {
        let keys: Vec<SeriesKey> = block::unpack(bytes)?.into_iter().map(|(key, _)| key).collect();
        Ok(Self {
            stored: keys.len(),
            keys,
            places: HashMap::new(),
        })
    }

    /// Reads [`Keys::pack`].
    pub fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        let mut keys = Self::unpack_list(bytes)?;
        keys.index();
        Ok(keys)
    }

    fn index(&mut self) {
        self.places = (self.keys.iter().cloned()).zip(0..).collect();
    }

    /// Compressed bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let none = SeriesDelta::default();
        let series: Vec<(&SeriesKey, &SeriesDelta)> = self.keys.iter().map(|key| (key, &none)).collect();
        block::compress(&block::encode(&series))
    }

    /// Place of a key; it gets one if it has none.
    pub fn place(&mut self, key: &SeriesKey) -> u32 {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        if self.places.len() < self.keys.len() {
            self.index();
            return self.place(key);
        }
        let place = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(key.clone());
        self.places.insert(key.clone(), place);
        place
    }

    /// All keys, by place.
    #[must_use]
    pub fn list(&self) -> &[SeriesKey] {
        &self.keys
    }

    /// Whether keys came since it was read.
    #[must_use]
    pub fn grew(&self) -> bool {
        self.keys.len() > self.stored
    }
}

/// The sum of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    there: bool,
    requests: u64,
    attempts: u64,
    request_bytes: u64,
    response_bytes: u64,
    /// How far the histogram is below the present scale.
    coarser: u8,
    zeros: u64,
    milliseconds: f64,
    /// Index of the first of `near`.
    first: i32,
    near: Vec<u32>,
    /// What is too far away or too much for `near`.
    far: BTreeMap<i32, u64>,
}

impl Sum {
    /// Adds a delta.
    pub fn add(&mut self, delta: &SeriesDelta) {
        self.there = true;
        self.requests = self.requests.saturating_add(delta.requests);
        self.attempts = self.attempts.saturating_add(delta.attempts);
        self.request_bytes = self.request_bytes.saturating_add(delta.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(delta.response_bytes);
        self.zeros = self.zeros.saturating_add(delta.duration.zero_count);
        self.milliseconds += delta.duration.sum;
        let by = self.meet(delta.duration.coarser);
        for (index, count) in &delta.duration.buckets {
            self.count(index >> by, *count);
        }
    }

    /// Takes the lower of two scales; says by how much to shift the indexes of buckets that come.
    #[inline]
    fn meet(&mut self, coarser: u8) -> u32 {
        if coarser > self.coarser {
            self.coarsen(coarser);
        }
        u32::from(self.coarser - coarser)
    }

    #[cold]
    fn coarsen(&mut self, coarser: u8) {
        let by = u32::from(coarser - self.coarser);
        let before = std::mem::take(self);
        let (near, far) = (Vec::new(), BTreeMap::new());
        *self = Self {
            coarser,
            first: 0,
            near,
            far,
            ..before.clone()
        };
        before
            .buckets()
            .for_each(|(index, count)| self.count(index >> by, count));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        if !other.there {
            return;
        }
        self.there = true;
        self.requests = self.requests.saturating_add(other.requests);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.milliseconds += other.milliseconds;
        let by = self.meet(other.coarser);
        other
            .buckets()
            .for_each(|(index, count)| self.count(index >> by, count));
    }

    #[inline]
    fn count(&mut self, index: i32, count: u64) {
        let at = usize::try_from(i64::from(index) - i64::from(self.first));
        if let Some(bucket) = at.ok().and_then(|at| self.near.get_mut(at))
            && let Some(sum) = u32::try_from(count)
                .ok()
                .and_then(|count| bucket.checked_add(count))
        {
            *bucket = sum;
        } else {
            self.count_beyond(index, count);
        }
    }

    /// Makes room, near where there is some.
    fn count_beyond(&mut self, index: i32, count: u64) {
        let aligned = index.div_euclid(STRIDE).saturating_mul(STRIDE);
        if self.near.is_empty() {
            self.first = aligned;
        }
        let first = self.first.min(aligned);
        let end =
            (i64::from(self.first) + self.near.len() as i64).max(i64::from(aligned) + i64::from(STRIDE));
        let width = usize::try_from(end - i64::from(first)).unwrap_or(usize::MAX);
        if width > WIDTH {
            self.count_far(index, count);
            return;
        }
        let before = usize::try_from(i64::from(self.first) - i64::from(first)).unwrap_or_default();
        if before > 0 {
            self.near.splice(0..0, std::iter::repeat_n(0, before));
        }
        self.first = first;
        self.near.resize(width, 0);
        let at = usize::try_from(i64::from(index) - i64::from(first)).unwrap_or(usize::MAX);
        let bucket = self.near.get_mut(at);
        match bucket.zip(u32::try_from(count).ok()) {
            Some((bucket, count)) if bucket.checked_add(count).is_some() => *bucket += count,
            _ => self.count_far(index, count),
        }
    }

    fn count_far(&mut self, index: i32, count: u64) {
        let bucket = self.far.entry(index).or_default();
        *bucket = bucket.saturating_add(count);
    }

    /// What is not empty, in any order; one index may come twice.
    fn buckets(&self) -> impl Iterator<Item = (i32, u64)> {
        let near = (self.first..).zip(&self.near).map(|(i, n)| (i, u64::from(*n)));
        let far = self.far.iter().map(|(i, n)| (*i, *n));
        near.chain(far).filter(|(_, n)| *n > 0)
    }

    /// As a delta without its buckets.
    #[must_use]
    pub fn plain(&self) -> SeriesDelta {
        SeriesDelta {
            requests: self.requests,
            attempts: self.attempts,
            duration: ExponentialHistogram {
                coarser: self.coarser,
                sum: self.milliseconds,
                ..ExponentialHistogram::default()
            },
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }

    /// As a delta.
    #[must_use]
    pub fn delta(&self) -> SeriesDelta {
        let mut buckets: BTreeMap<i32, u64> = BTreeMap::new();
        for (index, count) in self.buckets() {
            let bucket = buckets.entry(index).or_default();
            *bucket = bucket.saturating_add(count);
        }
        let counted = buckets.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
        SeriesDelta {
            requests: self.requests,
            attempts: self.attempts,
            duration: ExponentialHistogram {
                coarser: self.coarser,
                zero_count: self.zeros,
                count: counted.saturating_add(self.zeros),
                sum: self.milliseconds,
                buckets,
            },
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

/// Sums by place.
#[derive(Debug, Clone, Default)]
pub struct Sums(Vec<Sum>);

impl Sums {
    /// The sum at a place.
    pub fn at(&mut self, place: u32) -> &mut Sum {
        let place = place as usize;
        if place >= self.0.len() {
            self.0.resize_with(place + 1, Sum::default);
        }
        // There by now.
        &mut self.0[place]
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (sum, place) in other.0.iter().zip(0..) {
            if sum.there {
                self.at(place).merge(sum);
            }
        }
    }

    /// What is there, by place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Sum)> {
        (0..).zip(&self.0).filter(|(_, sum)| sum.there)
    }

    /// Compressed bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        block::compress(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut columns: [Vec<u8>; COLUMNS] = Default::default();
        let [
            places,
            requests,
            attempts,
            sent,
            received,
            zeros,
            times,
            widths,
            buckets,
            scales,
        ] = &mut columns;
        let mut rows = 0;
        let mut before = 0;
        for (place, sum) in self.iter() {
            rows += 1;
            put(places, u64::from(place - before));
            before = place;
            put(requests, sum.requests);
            // Nearly always equal.
            put_signed(attempts, sum.attempts.wrapping_sub(sum.requests).cast_signed());
            put(sent, sum.request_bytes);
            put(received, sum.response_bytes);
            put(zeros, sum.zeros);
            times.extend_from_slice(&sum.milliseconds.to_bits().to_le_bytes());
            let mut width = 0;
            let mut last = 0;
            for (index, count) in sum.buckets() {
                width += 1;
                put_signed(buckets, i64::from(index) - last);
                put(buckets, count);
                last = i64::from(index);
            }
            put(widths, width);
            put(scales, u64::from(sum.coarser));
        }
        let mut out = vec![VERSION];
        put(&mut out, rows);
        columns
            .iter()
            .for_each(|column| put(&mut out, column.len() as u64));
        columns.iter().for_each(|column| out.extend_from_slice(column));
        out
    }

    /// Adds a block. One that has its keys itself (of an earlier format) gives them to `keys`. With a `mask`, only
    /// the places that it marks are added (and all of an earlier format).
    pub fn add_block(&mut self, bytes: &[u8], keys: &mut Keys, mask: Option<&[bool]>) -> Result<(), Error> {
        let plain = block::decompress(bytes)?;
        if !matches!(plain.first(), Some(&(VERSION | SECOND))) {
            for (key, delta) in block::decode(&plain)? {
                self.at(keys.place(&key)).add(&delta);
            }
            return Ok(());
        }
        self.add_plain(&plain, keys.list().len(), mask)
    }

    fn add_plain(&mut self, plain: &[u8], known: usize, mask: Option<&[bool]>) -> Result<(), Error> {
        let mut input = Input(plain);
        let second = input.byte()? == SECOND;
        let rows = input.length()?;
        let mut lengths = [0; COLUMNS];
        for length in lengths.iter_mut().take(COLUMNS - usize::from(second)) {
            *length = usize::try_from(input.number()?).map_err(|_| damaged("length"))?;
        }
        let mut columns = [Input(&[]); COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            *column = Input(input.bytes(length)?);
        }
        let [
            places,
            requests,
            attempts,
            sent,
            received,
            zeros,
            times,
            widths,
            buckets,
            scales,
        ] = &mut columns;
        let mut place = 0_u64;
        let mut skipped = Sum::default();
        for _ in 0..rows {
            place = place.saturating_add(places.number()?);
            let at = usize::try_from(place).unwrap_or(usize::MAX);
            if at >= known {
                return Err(damaged("place of a key"));
            }
            let wanted = mask.is_none_or(|mask| mask.get(at).copied().unwrap_or_default());
            let sum = if wanted {
                self.at(u32::try_from(place).unwrap_or(u32::MAX))
            } else {
                &mut skipped
            };
            sum.there = true;
            let count = requests.number()?;
            sum.requests = sum.requests.saturating_add(count);
            let tries = count.wrapping_add(attempts.signed()?.cast_unsigned());
            sum.attempts = sum.attempts.saturating_add(tries);
            sum.request_bytes = sum.request_bytes.saturating_add(sent.number()?);
            sum.response_bytes = sum.response_bytes.saturating_add(received.number()?);
            sum.zeros = sum.zeros.saturating_add(zeros.number()?);
            sum.milliseconds += times.float()?;
            let scale = if second { 1 } else { scales.number()? };
            let by = match scale {
                // Nearly always.
                0 if sum.coarser == 0 => 0,
                scale => sum.meet(block::coarser(scale)?),
            };
            let mut index = 0_i64;
            for _ in 0..widths.number()? {
                index = index.saturating_add(buckets.signed()?);
                let count = buckets.number()?;
                if wanted {
                    sum.count(i32::try_from(index).map_err(|_| damaged("bucket"))? >> by, count);
                }
            }
        }
        Ok(())
    }
}

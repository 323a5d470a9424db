//! Reading series: blocks and journal in one consistent view.
//!
//! The database hands over blocks one shard after the other; each shard is unpacked and summed on a thread of its
//! own meanwhile.

use std::sync::Arc;

use mesh_model::edge::SeriesKey;
use tokio::sync::mpsc;

use super::{fold::SHARDS, journal};
use crate::block::{self, Block};
use crate::cover::{Segment, cover};
use crate::history::{Error, Gap, Resolution, Visit, Wanted};
use crate::link::{Link, Transaction, Value};
use crate::sums::{Keys, Sums};

/// Blocks fetched at once.
const PAGE: i64 = 64;

/// What is added up before it is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Each window for itself.
    Each,
    /// The whole interval.
    Whole,
}

/// Stored keys of an hour and shard.
pub(super) async fn keys(link: &mut Link<'_>, (hour, shard): (u64, u64)) -> Result<Option<Vec<u8>>, Error> {
    let sql = "SELECT payload FROM series WHERE hour = $1 AND shard = $2";
    let row = link.row(sql, &[Value::from(hour), Value::from(shard)]).await?;
    row.map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
}

/// Before this time, blocks of the resolution have been removed.
pub(super) async fn horizon(link: &mut Link<'_>, resolution: Resolution) -> Result<u64, Error> {
    let sql = "SELECT before FROM horizon WHERE resolution = $1";
    link.number(sql, &[Value::from(resolution.seconds())]).await
}

/// Visits what is wanted (all, if nothing is said) in `[from, to)`.
pub(super) async fn series(
    view: &mut Transaction<'static>,
    (from, to): (u64, u64),
    step: Resolution,
    group: Group,
    wanted: Option<Wanted<'_>>,
    visit: Visit<'_>,
) -> Result<(u64, u64), Error> {
    let mut link = view.link();
    let mut horizons = [0; 3];
    for (horizon, resolution) in horizons.iter_mut().zip(Resolution::ALL) {
        *horizon = self::horizon(&mut link, resolution).await?;
    }
    let [ten, minute, hour] = horizons;
    let segments = cover(from, to, step, |r| match r {
        Resolution::TenSeconds => ten,
        Resolution::Minute => minute,
        Resolution::Hour => hour,
    });
    let ends = segments.first().zip(segments.last());
    let Some((start, end)) = ends.map(|(first, last)| (first.start, last.end)) else {
        let at = Resolution::TenSeconds.floor(from);
        return Ok((at, at));
    };
    let (sender, mut results) = mpsc::channel(SHARDS as usize);
    let produce = async {
        // Moved in, so that the channel ends with it.
        let sender = sender;
        for shard in 0..SHARDS {
            shard_blocks(&mut link, shard, &segments, (group, start), wanted, &sender).await?;
        }
        Ok::<(), Error>(())
    };
    let consume = async {
        while let Some(result) = results.recv().await {
            let Summed { window, keys, sums } = result?;
            for (place, sum) in sums.iter() {
                if let Some(key) = keys.get(place as usize)
                    && wanted.is_none_or(|wanted| wanted(key))
                {
                    visit(window, key, &sum.delta());
                }
            }
        }
        Ok::<(), Error>(())
    };
    let (produced, consumed) = tokio::join!(produce, consume);
    consumed?;
    produced?;
    waiting(&mut view.link(), (start, end), group, wanted, visit).await?;
    Ok((start, end))
}

/// What a thread has added up.
struct Summed {
    window: u64,
    keys: Arc<[SeriesKey]>,
    sums: Sums,
}

type Results = mpsc::Sender<Result<Summed, Error>>;

/// Blocks of one hour, on their way to a thread.
struct Work {
    keys: Keys,
    mask: Option<Vec<bool>>,
    blocks: Vec<(u64, Vec<u8>)>,
}

/// Fetches the blocks of a shard and hands them over, hour by hour.
async fn shard_blocks(
    link: &mut Link<'_>,
    shard: u64,
    segments: &[Segment],
    (group, start): (Group, u64),
    wanted: Option<Wanted<'_>>,
    results: &Results,
) -> Result<(), Error> {
    let (work, queue) = mpsc::channel::<Work>(2);
    let results = results.clone();
    tokio::task::spawn_blocking(move || sum(queue, group, start, &results));
    let mut present: Option<(u64, Work)> = None;
    for segment in segments {
        let mut from = segment.start;
        loop {
            let rows = link
                .rows(
                    "SELECT start, payload FROM block WHERE resolution = $1 AND shard = $2 \
                     AND start >= $3 AND start < $4 ORDER BY start LIMIT $5",
                    &[
                        Value::from(segment.resolution.seconds()),
                        Value::from(shard),
                        Value::from(from),
                        Value::from(segment.end),
                        Value::Int(PAGE),
                    ],
                )
                .await?;
            let whole = rows.len() < PAGE as usize;
            for row in rows {
                let start = row.number(0)?;
                from = start + 1;
                let hour = Resolution::Hour.floor(start);
                if present.as_ref().is_none_or(|(present, _)| *present != hour) {
                    if let Some((_, full)) = present.take() {
                        // Ended early only after an error, which is among the results.
                        let _ = work.send(full).await;
                    }
                    present = Some((hour, new_work(link, (hour, shard), wanted).await?));
                }
                if let Some((_, present)) = &mut present {
                    present.blocks.push((start, row.blob(1)?.to_vec()));
                }
            }
            if whole {
                break;
            }
        }
    }
    if let Some((_, last)) = present {
        let _ = work.send(last).await;
    }
    Ok(())
}

async fn new_work(link: &mut Link<'_>, spot: (u64, u64), wanted: Option<Wanted<'_>>) -> Result<Work, Error> {
    let stored = keys(link, spot).await?;
    let keys = match stored {
        // Thousands of texts: not on the thread that serves others.
        Some(bytes) => tokio::task::spawn_blocking(move || Keys::unpack_list(&bytes))
            .await
            .map_err(|e| Error::Unavailable(e.to_string()))??,
        None => Keys::default(),
    };
    let mask = wanted.map(|wanted| keys.list().iter().map(wanted).collect());
    Ok(Work {
        keys,
        mask,
        blocks: Vec::new(),
    })
}

/// The thread of a shard.
fn sum(mut queue: mpsc::Receiver<Work>, group: Group, start: u64, results: &Results) {
    let mut total: Option<(Keys, Sums)> = None;
    while let Some(mut work) = queue.blocking_recv() {
        let outcome = match group {
            Group::Each => each(&mut work, results),
            Group::Whole => whole(work, &mut total),
        };
        if let Err(error) = outcome {
            let _ = results.blocking_send(Err(error));
            return;
        }
    }
    if let Some((keys, sums)) = total {
        let keys = keys.list().into();
        let _ = results.blocking_send(Ok(Summed {
            window: start,
            keys,
            sums,
        }));
    }
}

fn each(work: &mut Work, results: &Results) -> Result<(), Error> {
    let mut keys: Arc<[SeriesKey]> = work.keys.list().into();
    for (window, bytes) in &work.blocks {
        let mut sums = Sums::default();
        sums.add_block(bytes, &mut work.keys, work.mask.as_deref())?;
        if work.keys.list().len() > keys.len() {
            keys = work.keys.list().into();
        }
        let summed = Summed {
            window: *window,
            keys: Arc::clone(&keys),
            sums,
        };
        if results.blocking_send(Ok(summed)).is_err() {
            break;
        }
    }
    Ok(())
}

fn whole(mut work: Work, total: &mut Option<(Keys, Sums)>) -> Result<(), Error> {
    let mut sums = Sums::default();
    for (_, bytes) in &work.blocks {
        sums.add_block(bytes, &mut work.keys, work.mask.as_deref())?;
    }
    match total {
        None => *total = Some((work.keys, sums)),
        Some((keys, all)) => {
            for (place, sum) in sums.iter() {
                if let Some(key) = work.keys.list().get(place as usize) {
                    all.at(keys.place(key)).merge(sum);
                }
            }
        }
    }
    Ok(())
}

/// What is committed but not folded yet.
async fn waiting(
    link: &mut Link<'_>,
    (start, end): (u64, u64),
    group: Group,
    wanted: Option<Wanted<'_>>,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let mut after = 0;
    let mut total = Block::new();
    loop {
        let sql = "SELECT id, payload FROM journal WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = link.rows(sql, &[Value::Int(after), Value::Int(PAGE)]).await?;
        for row in &rows {
            after = row.int(0)?;
            for window in journal::decode(row.blob(1)?)? {
                if !(start..end).contains(&window.window) {
                    continue;
                }
                for (key, delta) in &window.series {
                    if !wanted.is_none_or(|wanted| wanted(key)) {
                        continue;
                    }
                    match group {
                        Group::Each => visit(window.window, key, delta),
                        Group::Whole => block::add(&mut total, key, delta),
                    }
                }
            }
        }
        if rows.len() < PAGE as usize {
            break;
        }
    }
    total.iter().for_each(|(key, delta)| visit(start, key, delta));
    Ok(())
}

/// Gaps that touch `[from, to)`.
pub(super) async fn gaps(link: &mut Link<'_>, from: u64, to: u64) -> Result<Vec<Gap>, Error> {
    let rows = link
        .rows(
            "SELECT proxy, from_ms, to_ms, reason FROM gap WHERE to_ms >= $1 AND from_ms < $2 \
             ORDER BY to_ms, proxy LIMIT 1000",
            &[
                Value::from(from.saturating_mul(1000)),
                Value::from(to.saturating_mul(1000).min(i64::MAX as u64)),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Gap {
                proxy: row.text(0)?.to_owned(),
                from_ms: row.number(1)?,
                to_ms: row.number(2)?,
                reason: row.text(3)?.to_owned(),
            })
        })
        .collect()
}

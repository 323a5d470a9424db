//! Journal rows become blocks and hourly rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use mesh_model::edge::SeriesKey;

use super::tally::Family;
use super::{expire, hourly, journal, read};
use crate::history::{Error, Limits, Resolution};
use crate::link::{Connection, Link, Lock, Value};
use crate::sums::{Keys, Sums};

/// Journal rows folded in one transaction.
const ROWS: i64 = 1000;
/// Blocks of one window: a few, so that a block stays small in large meshes, and cores share the work.
pub(super) const SHARDS: u64 = 4;

/// Start (or hour) and shard.
type Spot = (u64, u64);

/// Folds every row of the journal.
pub(super) async fn journal(connection: &mut Connection, now: u64, limits: &Limits) -> Result<(), Error> {
    while page(connection, now, limits).await? {}
    Ok(())
}

/// Folds some rows; `false` when there are none.
async fn page(connection: &mut Connection, now: u64, limits: &Limits) -> Result<bool, Error> {
    let mut transaction = connection.begin(&[Lock::Fold]).await?;
    let mut link = transaction.link();
    let sql = "SELECT id, payload FROM journal ORDER BY id LIMIT $1";
    let rows = link.rows(sql, &[Value::Int(ROWS)]).await?;
    let Some(last) = rows.last() else {
        return Ok(false);
    };
    let last = last.int(0)?;
    let mut fold = Fold::default();
    for row in &rows {
        for window in journal::decode(row.blob(1)?)? {
            for (key, delta) in &window.series {
                let hour = Resolution::Hour.floor(window.window);
                let shard = shard(key);
                let keys = fold.keys(&mut link, (hour, shard)).await?;
                let place = keys.place(key);
                let start = Resolution::TenSeconds.floor(window.window);
                fold.windows
                    .entry((start, shard))
                    .or_default()
                    .at(place)
                    .add(delta);
            }
        }
    }
    drop(rows);
    for resolution in Resolution::ALL {
        fold.blocks(&mut link, resolution, now, limits).await?;
    }
    hourly::add(&mut link, &fold.hours()).await?;
    fold.save_keys(&mut link).await?;
    link.execute("DELETE FROM journal WHERE id <= $1", &[Value::Int(last)])
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// What the rows of one transaction add.
#[derive(Default)]
struct Fold {
    /// By hour and shard, with the size that is stored.
    keys: BTreeMap<Spot, (Keys, u64)>,
    /// By 10 s window and shard.
    windows: BTreeMap<Spot, Sums>,
}

impl Fold {
    async fn keys(&mut self, link: &mut Link<'_>, spot: Spot) -> Result<&mut Keys, Error> {
        match self.keys.entry(spot) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().0),
            Entry::Vacant(free) => {
                let stored = read::keys(link, spot).await?;
                let size = stored.as_ref().map_or(0, |bytes| bytes.len() as u64);
                let keys = stored.map_or(Ok(Keys::default()), |bytes| Keys::unpack(&bytes))?;
                Ok(&mut free.insert((keys, size)).0)
            }
        }
    }

    /// Sums by window of `resolution` and shard.
    fn merged(&self, resolution: Resolution) -> BTreeMap<Spot, Sums> {
        let mut merged: BTreeMap<Spot, Sums> = BTreeMap::new();
        for ((start, shard), sums) in &self.windows {
            let spot = (resolution.floor(*start), *shard);
            merged.entry(spot).or_default().merge(sums);
        }
        merged
    }

    async fn blocks(
        &mut self,
        link: &mut Link<'_>,
        resolution: Resolution,
        now: u64,
        limits: &Limits,
    ) -> Result<(), Error> {
        let expired = resolution.floor(now.saturating_sub(limits.kept(resolution)));
        let removed = read::horizon(link, resolution).await?;
        let horizon = removed.max(expired);
        // Late beyond what is kept: the coarser resolutions still take it, and answer for that time.
        let late = self
            .windows
            .keys()
            .any(|(start, _)| resolution.floor(*start) < horizon);
        if late && horizon > removed {
            expire::set_horizon(link, resolution, horizon).await?;
        }
        for ((start, shard), mut sums) in self.merged(resolution) {
            if start < horizon {
                continue;
            }
            let spot = [
                Value::from(resolution.seconds()),
                Value::from(start),
                Value::from(shard),
            ];
            let sql = "SELECT payload FROM block WHERE resolution = $1 AND start = $2 AND shard = $3";
            let present = link.row(sql, &spot).await?;
            let present = present.as_ref().map(|row| row.blob(0)).transpose()?;
            if let Some(present) = present {
                let keys = self.keys(link, (Resolution::Hour.floor(start), shard)).await?;
                sums.add_block(present, keys, None)?;
            }
            let payload = sums.pack()?;
            let [resolution, start, shard] = spot;
            link.execute(
                "INSERT INTO block (resolution, start, shard, payload) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (resolution, start, shard) DO UPDATE SET payload = excluded.payload",
                &[resolution, start, shard, Value::from(&payload)],
            )
            .await?;
            let before = present.map_or(0, |present| present.len() as u64);
            Family::Blocks.change(link, payload.len() as u64, before).await?;
        }
        Ok(())
    }

    /// What each hour gets, with its keys.
    fn hours(&self) -> Vec<(u64, &Keys, Sums)> {
        self.merged(Resolution::Hour)
            .into_iter()
            .filter_map(|((hour, shard), sums)| {
                let (keys, _) = self.keys.get(&(hour, shard))?;
                Some((hour, keys, sums))
            })
            .collect()
    }

    async fn save_keys(&self, link: &mut Link<'_>) -> Result<(), Error> {
        for ((hour, shard), (keys, size)) in &self.keys {
            if !keys.grew() {
                continue;
            }
            let payload = keys.pack()?;
            link.execute(
                "INSERT INTO series (hour, shard, payload) VALUES ($1, $2, $3) \
                 ON CONFLICT (hour, shard) DO UPDATE SET payload = excluded.payload",
                &[Value::from(*hour), Value::from(*shard), Value::from(&payload)],
            )
            .await?;
            Family::Blocks.change(link, payload.len() as u64, *size).await?;
        }
        Ok(())
    }
}

/// FNV-1a over the source: one source's series stand together.
fn shard(key: &SeriesKey) -> u64 {
    let bytes = key.source.namespace.bytes().chain(key.source.name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % SHARDS
}

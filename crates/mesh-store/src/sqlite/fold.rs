//! Journal rows become blocks and hourly rows; old and surplus data goes.

use std::collections::BTreeMap;

use mesh_model::edge::{SeriesDelta, SeriesKey};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

use super::{file, journal, read, signed, unavailable};
use crate::block::{self, Block};
use crate::history::{Error, Limits, Resolution};

/// Journal rows folded in one transaction.
const ROWS: i64 = 2000;
/// Blocks of one window: a few, so that a block stays small in large meshes.
const SHARDS: u64 = 4;
/// A proxy's epoch is forgotten when it has been silent for so long (it keeps unacknowledged counts for less).
const EPOCH_KEPT_MS: u64 = 48 * 3600 * 1000;
/// Share of the blocks of one resolution that goes at once when there is too much, as a divisor.
const SLICE: i64 = 16;

/// Folds every row of the journal.
pub(super) async fn journal(
    connection: &mut SqliteConnection,
    now: u64,
    limits: &Limits,
) -> Result<(), Error> {
    loop {
        let rows = sqlx::query("SELECT id, payload FROM journal ORDER BY id LIMIT ?")
            .bind(ROWS)
            .fetch_all(&mut *connection)
            .await
            .map_err(unavailable)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        let last: i64 = last.try_get("id").map_err(unavailable)?;
        let mut windows: BTreeMap<u64, Block> = BTreeMap::new();
        for row in &rows {
            let payload: &[u8] = row.try_get("payload").map_err(unavailable)?;
            for window in journal::decode(payload)? {
                let block = windows.entry(window.window).or_default();
                for (key, delta) in &window.series {
                    block::add(block, key, delta);
                }
            }
        }
        drop(rows);
        let mut transaction = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(unavailable)?;
        blocks(&mut transaction, &windows, now, limits).await?;
        hourly(&mut transaction, &windows).await?;
        sqlx::query("DELETE FROM journal WHERE id <= ?")
            .bind(last)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
    }
}

async fn blocks(
    connection: &mut SqliteConnection,
    windows: &BTreeMap<u64, Block>,
    now: u64,
    limits: &Limits,
) -> Result<(), Error> {
    for resolution in Resolution::ALL {
        let expired = resolution.floor(now.saturating_sub(limits.kept(resolution)));
        let removed = read::horizon(connection, resolution).await?;
        let horizon = removed.max(expired);
        let mut late = false;
        let mut merged: BTreeMap<(u64, u64), Block> = BTreeMap::new();
        for (window, block) in windows {
            let start = resolution.floor(*window);
            // Late beyond what is kept: the coarser resolutions still take it, and answer for that time.
            if start < horizon {
                late = true;
                continue;
            }
            for (key, delta) in block {
                block::add(merged.entry((start, shard(key))).or_default(), key, delta);
            }
        }
        if late && horizon > removed {
            set_horizon(connection, resolution, horizon).await?;
        }
        for ((start, shard), mut block) in merged {
            let present: Option<Vec<u8>> = sqlx::query_scalar(
                "SELECT payload FROM block WHERE resolution = ? AND start = ? AND shard = ?",
            )
            .bind(signed(resolution.seconds()))
            .bind(signed(start))
            .bind(signed(shard))
            .fetch_optional(&mut *connection)
            .await
            .map_err(unavailable)?;
            if let Some(present) = present {
                for (key, delta) in block::unpack(&present)? {
                    block::add(&mut block, &key, &delta);
                }
            }
            sqlx::query(
                "INSERT OR REPLACE INTO block (resolution, start, shard, payload) VALUES (?, ?, ?, ?)",
            )
            .bind(signed(resolution.seconds()))
            .bind(signed(start))
            .bind(signed(shard))
            .bind(block::pack(&block)?)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        }
    }
    Ok(())
}

/// FNV-1a over the source: one source's series stand together.
fn shard(key: &SeriesKey) -> u64 {
    let bytes = key.source.namespace.bytes().chain(key.source.name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % SHARDS
}

async fn hourly(connection: &mut SqliteConnection, windows: &BTreeMap<u64, Block>) -> Result<(), Error> {
    let mut hours: BTreeMap<u64, Block> = BTreeMap::new();
    for (window, block) in windows {
        let hour = hours.entry(Resolution::Hour.floor(*window)).or_default();
        block.iter().for_each(|(key, delta)| block::add(hour, key, delta));
    }
    for (hour, block) in &hours {
        for (key, delta) in block {
            hourly_row(connection, *hour, key, delta).await?;
        }
    }
    Ok(())
}

async fn hourly_row(
    connection: &mut SqliteConnection,
    hour: u64,
    key: &SeriesKey,
    delta: &SeriesDelta,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, \
         attempts = attempts + excluded.attempts, errors = errors + excluded.errors, \
         duration_ms = duration_ms + excluded.duration_ms, \
         request_bytes = request_bytes + excluded.request_bytes, \
         response_bytes = response_bytes + excluded.response_bytes",
    )
    .bind(signed(hour))
    .bind(key.reporter.as_str())
    .bind(&key.source.namespace)
    .bind(&key.source.name)
    .bind(&key.service.host)
    .bind(&key.destination.namespace)
    .bind(&key.destination.name)
    .bind(key.protocol.as_str())
    .bind(i64::from(key.response_code))
    .bind(key.flags.to_string())
    .bind(&key.origin.virtual_service)
    .bind(&key.origin.route)
    .bind(&key.origin.match_name)
    .bind(signed(delta.requests))
    .bind(signed(delta.attempts))
    .bind(signed(if key.is_error() { delta.requests } else { 0 }))
    .bind(delta.duration.sum)
    .bind(signed(delta.request_bytes))
    .bind(signed(delta.response_bytes))
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

/// Removes what is older than its time, then, while there are too many bytes, the oldest of the finest.
pub(super) async fn expire(
    connection: &mut SqliteConnection,
    now: u64,
    limits: &Limits,
) -> Result<(), Error> {
    for resolution in Resolution::ALL {
        let before = resolution.floor(now.saturating_sub(limits.kept(resolution)));
        forget_blocks(connection, resolution, before).await?;
    }
    let oldest = now.saturating_sub(limits.hours_kept);
    delete(connection, "DELETE FROM hourly WHERE hour < ?", oldest).await?;
    delete(
        connection,
        "DELETE FROM gap WHERE to_ms < ?",
        oldest.saturating_mul(1000),
    )
    .await?;
    let silent = now.saturating_mul(1000).saturating_sub(EPOCH_KEPT_MS);
    delete(connection, "DELETE FROM progress WHERE cut_at_ms < ?", silent).await?;
    while file::bytes_in_use(connection).await? > limits.bytes {
        if !forget_oldest(connection).await? {
            break;
        }
    }
    sqlx::raw_sql("PRAGMA incremental_vacuum")
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

async fn delete(connection: &mut SqliteConnection, sql: &'static str, before: u64) -> Result<(), Error> {
    sqlx::query(sql)
        .bind(signed(before))
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// Removes a slice of the oldest windows of the finest resolution that has any; `false` if nothing is left.
async fn forget_oldest(connection: &mut SqliteConnection) -> Result<bool, Error> {
    for resolution in Resolution::ALL {
        let sql = "SELECT start FROM block WHERE resolution = ?1 ORDER BY start LIMIT 1 \
                   OFFSET (SELECT COUNT(*) FROM block WHERE resolution = ?1) / ?2";
        let start: Option<i64> = sqlx::query_scalar(sql)
            .bind(signed(resolution.seconds()))
            .bind(SLICE)
            .fetch_optional(&mut *connection)
            .await
            .map_err(unavailable)?;
        if let Some(start) = start {
            forget_blocks(
                connection,
                resolution,
                start.cast_unsigned() + resolution.seconds(),
            )
            .await?;
            return Ok(true);
        }
    }
    let sql = "DELETE FROM hourly WHERE hour = (SELECT MIN(hour) FROM hourly)";
    let done = sqlx::query(sql).execute(connection).await.map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

async fn forget_blocks(
    connection: &mut SqliteConnection,
    resolution: Resolution,
    before: u64,
) -> Result<(), Error> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(unavailable)?;
    let done = sqlx::query("DELETE FROM block WHERE resolution = ? AND start < ?")
        .bind(signed(resolution.seconds()))
        .bind(signed(before))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    // Where nothing was removed, nothing is missing, and finer windows keep answering.
    if done.rows_affected() > 0 {
        set_horizon(&mut transaction, resolution, before).await?;
    }
    transaction.commit().await.map_err(unavailable)
}

async fn set_horizon(
    connection: &mut SqliteConnection,
    resolution: Resolution,
    before: u64,
) -> Result<(), Error> {
    sqlx::query("INSERT OR REPLACE INTO horizon (resolution, before) VALUES (?, ?)")
        .bind(signed(resolution.seconds()))
        .bind(signed(before))
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

//! Reading: blocks and journal in one consistent view.

use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row, SqlitePool};

use super::{journal, signed, unavailable};
use crate::block;
use crate::cover::{Segment, cover};
use crate::history::{Error, Gap, Resolution, Visit};

/// Before this time, blocks of the resolution have been removed.
pub(super) async fn horizon(connection: &mut SqliteConnection, resolution: Resolution) -> Result<u64, Error> {
    let before: Option<i64> = sqlx::query_scalar("SELECT before FROM horizon WHERE resolution = ?")
        .bind(signed(resolution.seconds()))
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    Ok(before.unwrap_or_default().cast_unsigned())
}

pub(super) async fn series(
    pool: &SqlitePool,
    from: u64,
    to: u64,
    step: Resolution,
    visit: Visit<'_>,
) -> Result<(u64, u64), Error> {
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    // One transaction: a fold in between would move rows from the journal into blocks.
    let mut view = connection.begin().await.map_err(unavailable)?;
    let mut horizons = [0; 3];
    for (horizon, resolution) in horizons.iter_mut().zip(Resolution::ALL) {
        *horizon = self::horizon(&mut view, resolution).await?;
    }
    let [ten, minute, hour] = horizons;
    let segments = cover(from, to, step, |r| match r {
        Resolution::TenSeconds => ten,
        Resolution::Minute => minute,
        Resolution::Hour => hour,
    });
    let Some((start, end)) = segments
        .first()
        .zip(segments.last())
        .map(|(f, l)| (f.start, l.end))
    else {
        let at = Resolution::TenSeconds.floor(from);
        return Ok((at, at));
    };
    for segment in &segments {
        blocks(&mut view, *segment, visit).await?;
    }
    let mut rows = sqlx::query("SELECT payload FROM journal ORDER BY id").fetch(&mut *view);
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let payload: &[u8] = row.try_get("payload").map_err(unavailable)?;
        for window in journal::decode(payload)? {
            if (start..end).contains(&window.window) {
                window
                    .series
                    .iter()
                    .for_each(|(key, delta)| visit(window.window, key, delta));
            }
        }
    }
    Ok((start, end))
}

async fn blocks(view: &mut SqliteConnection, segment: Segment, visit: Visit<'_>) -> Result<(), Error> {
    let mut rows = sqlx::query(
        "SELECT start, payload FROM block WHERE resolution = ? AND start >= ? AND start < ? ORDER BY start",
    )
    .bind(signed(segment.resolution.seconds()))
    .bind(signed(segment.start))
    .bind(signed(segment.end))
    .fetch(view);
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let start: i64 = row.try_get("start").map_err(unavailable)?;
        let payload: &[u8] = row.try_get("payload").map_err(unavailable)?;
        for (key, delta) in block::unpack(payload)? {
            visit(start.cast_unsigned(), &key, &delta);
        }
    }
    Ok(())
}

pub(super) async fn gaps(pool: &SqlitePool, from: u64, to: u64) -> Result<Vec<Gap>, Error> {
    let rows = sqlx::query(
        "SELECT proxy, from_ms, to_ms, reason FROM gap WHERE to_ms >= ? AND from_ms < ? \
         ORDER BY to_ms, proxy LIMIT 1000",
    )
    .bind(signed(from.saturating_mul(1000)))
    .bind(signed(to.saturating_mul(1000)))
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.iter()
        .map(|row| {
            Ok(Gap {
                proxy: row.try_get("proxy").map_err(unavailable)?,
                from_ms: row
                    .try_get::<i64, _>("from_ms")
                    .map_err(unavailable)?
                    .cast_unsigned(),
                to_ms: row
                    .try_get::<i64, _>("to_ms")
                    .map_err(unavailable)?
                    .cast_unsigned(),
                reason: row.try_get("reason").map_err(unavailable)?,
            })
        })
        .collect()
}

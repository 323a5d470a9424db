//! What is too old goes, then what is too much.

use super::tally::{Family, HOURLY_ROW, ROW};
use crate::history::{Error, Limits, Resolution};
use crate::link::{Connection, Link, Lock, Value};
use crate::place;

/// A proxy's epoch is forgotten when it has been silent for so long (it keeps unacknowledged counts for less).
const EPOCH_KEPT_MS: u64 = 48 * 3600 * 1000;
/// Share of what there is that goes at once when there is too much, as a divisor.
const SLICE: u64 = 16;

/// Removes what is older than its time, then, while there are too many bytes, the oldest of the family that exceeds
/// its share most.
pub(super) async fn expire(connection: &mut Connection, now: u64, limits: &Limits) -> Result<(), Error> {
    let mut transaction = connection.begin(&[Lock::Fold, Lock::Records]).await?;
    let mut link = transaction.link();
    old(&mut link, now, limits).await?;
    transaction.commit().await?;
    loop {
        let mut transaction = connection.begin(&[Lock::Fold, Lock::Records]).await?;
        let mut link = transaction.link();
        if place::bytes_in_use(&mut link).await? <= limits.bytes || !shrink(&mut link, limits).await? {
            break;
        }
        transaction.commit().await?;
    }
    if let Connection::Sqlite(_) = connection {
        connection.link().script("PRAGMA incremental_vacuum").await?;
    }
    Ok(())
}

async fn old(link: &mut Link<'_>, now: u64, limits: &Limits) -> Result<(), Error> {
    for resolution in Resolution::ALL {
        let before = resolution.floor(now.saturating_sub(limits.kept(resolution)));
        forget_blocks(link, resolution, before).await?;
    }
    let oldest = now.saturating_sub(limits.hours_kept);
    forget_hourly(link, oldest).await?;
    let ms = Value::from(oldest.saturating_mul(1000));
    link.execute("DELETE FROM gap WHERE to_ms < $1", &[ms]).await?;
    let silent = now.saturating_mul(1000).saturating_sub(EPOCH_KEPT_MS);
    link.execute(
        "DELETE FROM progress WHERE cut_at_ms < $1",
        &[Value::from(silent)],
    )
    .await?;
    link.execute("UPDATE request SET seen = $1 WHERE seen = 0", &[Value::from(now)])
        .await?;
    forget_requests(link, now.saturating_sub(limits.requests_kept)).await?;
    link.execute("UPDATE trace SET seen = $1 WHERE seen = 0", &[Value::from(now)])
        .await?;
    forget_traces(link, now.saturating_sub(limits.spans_kept)).await?;
    let ms = now.saturating_sub(limits.revisions_kept).saturating_mul(1000);
    forget_revisions(link, "at_ms < $1", ms).await
}

/// Removes a slice of the family that exceeds its share most; `false` if nothing can go.
async fn shrink(link: &mut Link<'_>, limits: &Limits) -> Result<bool, Error> {
    let mut families = Vec::new();
    for family in Family::ALL {
        let bytes = family.bytes(link).await?;
        // In proportion to its share, in thousandths.
        let share = (limits.bytes / 100).saturating_mul(family.share()).max(1);
        families.push((bytes.saturating_mul(1000) / share, family));
    }
    families.sort_by_key(|(excess, _)| std::cmp::Reverse(*excess));
    for (_, family) in families {
        let went = match family {
            Family::Blocks => oldest_blocks(link).await?,
            Family::Hourly => oldest_hour(link).await?,
            Family::Requests => oldest_segments(link).await?,
            Family::Spans => oldest_traces(link).await?,
            Family::Revisions => oldest_revisions(link).await?,
        };
        if went {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The value `1 / SLICE` of the way through a list, if the list is not empty.
async fn slice(
    link: &mut Link<'_>,
    count: &'static str,
    nth: &'static str,
    values: &[Value<'_>],
) -> Result<Option<u64>, Error> {
    let skipped = link.number(count, values).await? / SLICE;
    let values: Vec<Value<'_>> = [Value::from(skipped)]
        .into_iter()
        .chain(values.iter().copied())
        .collect();
    link.row(nth, &values).await?.map(|row| row.number(0)).transpose()
}

/// Of the finest resolution that has any.
async fn oldest_blocks(link: &mut Link<'_>) -> Result<bool, Error> {
    for resolution in Resolution::ALL {
        let count = "SELECT COUNT(*) FROM block WHERE resolution = $1";
        let nth = "SELECT start FROM block WHERE resolution = $2 ORDER BY start LIMIT 1 OFFSET $1";
        let start = slice(link, count, nth, &[Value::from(resolution.seconds())]).await?;
        if let Some(start) = start {
            forget_blocks(link, resolution, start + resolution.seconds()).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

async fn oldest_hour(link: &mut Link<'_>) -> Result<bool, Error> {
    let row = link
        .row("SELECT hour FROM hourly ORDER BY hour LIMIT 1", &[])
        .await?;
    match row {
        Some(row) => forget_hourly(link, row.number(0)? + 1).await.map(|()| true),
        None => Ok(false),
    }
}

async fn oldest_segments(link: &mut Link<'_>) -> Result<bool, Error> {
    let count = "SELECT COUNT(*) FROM request_segment";
    let nth = "SELECT id FROM request_segment ORDER BY id LIMIT 1 OFFSET $1";
    let Some(id) = slice(link, count, nth, &[]).await? else {
        return Ok(false);
    };
    remove_segments(link, "id <= $1", id).await?;
    Ok(true)
}

async fn oldest_traces(link: &mut Link<'_>) -> Result<bool, Error> {
    let count = "SELECT COUNT(*) FROM trace";
    let nth = "SELECT started_ns FROM trace ORDER BY started_ns LIMIT 1 OFFSET $1";
    let Some(start) = slice(link, count, nth, &[]).await? else {
        return Ok(false);
    };
    remove_traces(link, "started_ns <= $1", start).await?;
    Ok(true)
}

async fn oldest_revisions(link: &mut Link<'_>) -> Result<bool, Error> {
    let count = "SELECT COUNT(*) FROM revision";
    let nth = "SELECT id FROM revision ORDER BY id LIMIT 1 OFFSET $1";
    let Some(id) = slice(link, count, nth, &[]).await? else {
        return Ok(false);
    };
    let before = Family::Revisions.bytes(link).await?;
    forget_revisions(link, "id <= $1", id).await?;
    Ok(Family::Revisions.bytes(link).await? < before)
}

async fn forget_blocks(link: &mut Link<'_>, resolution: Resolution, before: u64) -> Result<(), Error> {
    let values = [Value::from(resolution.seconds()), Value::from(before)];
    let sum = "SELECT CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) FROM block \
               WHERE resolution = $1 AND start < $2";
    let bytes = link.number(sum, &values).await?;
    let gone = link
        .execute("DELETE FROM block WHERE resolution = $1 AND start < $2", &values)
        .await?;
    // Where nothing was removed, nothing is missing, and finer windows keep answering.
    if gone == 0 {
        return Ok(());
    }
    set_horizon(link, resolution, before).await?;
    Family::Blocks.change(link, 0, bytes).await?;
    forget_keys(link).await
}

/// Keys go with the last block that names them.
async fn forget_keys(link: &mut Link<'_>) -> Result<(), Error> {
    let mut first = u64::MAX >> 1;
    for resolution in Resolution::ALL {
        let sql = "SELECT start FROM block WHERE resolution = $1 ORDER BY start LIMIT 1";
        if let Some(row) = link.row(sql, &[Value::from(resolution.seconds())]).await? {
            first = first.min(Resolution::Hour.floor(row.number(0)?));
        }
    }
    let sum = "SELECT CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) FROM series WHERE hour < $1";
    let bytes = link.number(sum, &[Value::from(first)]).await?;
    link.execute("DELETE FROM series WHERE hour < $1", &[Value::from(first)])
        .await?;
    Family::Blocks.change(link, 0, bytes).await
}

/// Notes from when on blocks of a resolution are kept.
pub(super) async fn set_horizon(
    link: &mut Link<'_>,
    resolution: Resolution,
    before: u64,
) -> Result<(), Error> {
    link.execute(
        "INSERT INTO horizon (resolution, before) VALUES ($1, $2) \
         ON CONFLICT (resolution) DO UPDATE SET before = excluded.before",
        &[Value::from(resolution.seconds()), Value::from(before)],
    )
    .await?;
    Ok(())
}

async fn forget_hourly(link: &mut Link<'_>, before: u64) -> Result<(), Error> {
    let gone = link
        .execute("DELETE FROM hourly WHERE hour < $1", &[Value::from(before)])
        .await?;
    Family::Hourly.change(link, 0, gone * HOURLY_ROW).await
}

async fn forget_requests(link: &mut Link<'_>, before: u64) -> Result<(), Error> {
    remove_segments(link, "sealed < $1", before).await?;
    let before = [Value::from(before)];
    let sum = "SELECT CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) FROM request WHERE seen < $1";
    let bytes = link.number(sum, &before).await?;
    let gone = link
        .execute("DELETE FROM request WHERE seen < $1", &before)
        .await?;
    Family::Requests.change(link, 0, bytes + gone * ROW).await
}

async fn remove_segments(link: &mut Link<'_>, which: &'static str, value: u64) -> Result<(), Error> {
    let value = [Value::from(value)];
    let these = format!("segment IN (SELECT id FROM request_segment WHERE {which})");
    let sums = [
        format!(
            "SUM(LENGTH(scan) + LENGTH(names) + LENGTH(rest)), 0) AS BIGINT) FROM request_segment WHERE {which}"
        ),
        format!("SUM(LENGTH(payload)), 0) AS BIGINT) FROM request_text WHERE {these}"),
    ];
    let mut bytes = 0;
    for sum in sums {
        let sum = crate::link::built(format!("SELECT CAST(COALESCE({sum}"));
        bytes += link.number(sum, &value).await?;
    }
    for which in [
        format!("request_text WHERE {these}"),
        format!("request_segment WHERE {which}"),
    ] {
        let delete = crate::link::built(format!("DELETE FROM {which}"));
        link.execute(delete, &value).await?;
    }
    Family::Requests.change(link, 0, bytes).await
}

async fn forget_traces(link: &mut Link<'_>, seen_before: u64) -> Result<(), Error> {
    remove_traces(link, "seen < $1", seen_before).await
}

async fn remove_traces(link: &mut Link<'_>, which: &'static str, value: u64) -> Result<(), Error> {
    let value = [Value::from(value)];
    let sum = format!("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM trace WHERE {which}");
    let bytes = link.number(crate::link::built(sum), &value).await?;
    let spans = format!("DELETE FROM span WHERE trace_id IN (SELECT trace_id FROM trace WHERE {which})");
    link.execute(crate::link::built(spans), &value).await?;
    let traces = format!("DELETE FROM trace WHERE {which}");
    link.execute(crate::link::built(traces), &value).await?;
    Family::Spans.change(link, 0, bytes).await
}

/// The newest revision of each object that is still there stays.
async fn forget_revisions(link: &mut Link<'_>, which: &'static str, value: u64) -> Result<(), Error> {
    let value = [Value::from(value)];
    let surplus = format!(
        "{which} AND (change = 'deleted' OR EXISTS (SELECT 1 FROM revision AS later \
         WHERE later.kind = revision.kind AND later.namespace = revision.namespace \
         AND later.name = revision.name AND later.id > revision.id))"
    );
    let sum = format!("SELECT CAST(COALESCE(SUM(LENGTH(yaml)), 0) AS BIGINT) FROM revision WHERE {surplus}");
    let bytes = link.number(crate::link::built(sum), &value).await?;
    let delete = format!("DELETE FROM revision WHERE {surplus}");
    let gone = link.execute(crate::link::built(delete), &value).await?;
    Family::Revisions.change(link, 0, bytes + gone * ROW * 4).await
}

//! Batches go into the journal together with what they make of their epoch's progress.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Appended, Error, Gap};
use crate::link::{Connection, Link, Lock, Value};
use crate::progress::Progress;

/// A batch for the journal.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) proxy: String,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) cut_at_ms: u64,
    pub(super) last: bool,
    pub(super) payload: Vec<u8>,
}

/// By proxy and epoch.
type Known = HashMap<String, BTreeMap<u64, Progress>>;

/// Commits all of them in one transaction.
pub(super) async fn append(connection: &mut Connection, group: &[Append]) -> Result<Vec<Appended>, Error> {
    let mut transaction = connection.begin(&[Lock::Journal]).await?;
    let mut link = transaction.link();
    // What another control plane committed in between counts too: always read again.
    let mut known = Known::new();
    for append in group {
        if !known.contains_key(&append.proxy) {
            let epochs = progress(&mut link, &append.proxy).await?;
            known.insert(append.proxy.clone(), epochs);
        }
    }
    let outcomes: Vec<Appended> = group.iter().map(|append| commit(&mut known, append)).collect();
    for (append, outcome) in group.iter().zip(&outcomes) {
        if let Appended::New(gap) = outcome {
            write(&mut link, append, gap.as_ref()).await?;
        }
    }
    let mut touched: Vec<(&str, u64)> = group.iter().map(|a| (a.proxy.as_str(), a.epoch)).collect();
    touched.sort_unstable();
    touched.dedup();
    for (proxy, epoch) in touched {
        if let Some(progress) = known.get(proxy).and_then(|epochs| epochs.get(&epoch)) {
            save(&mut link, proxy, epoch, progress).await?;
        }
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn progress(link: &mut Link<'_>, proxy: &str) -> Result<BTreeMap<u64, Progress>, Error> {
    let rows = link
        .rows(
            "SELECT epoch, through, beyond, cut_at_ms, finished FROM progress WHERE proxy = $1",
            &[Value::from(proxy)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let progress = Progress {
                through: row.number(1)?,
                beyond: Progress::parse_beyond(row.text(2)?),
                cut_at_ms: row.number(3)?,
                finished: row.boolean(4)?,
            };
            Ok((row.number(0)?, progress))
        })
        .collect()
}

fn commit(known: &mut Known, append: &Append) -> Appended {
    let epochs = known.entry(append.proxy.clone()).or_default();
    let gap = match epochs.last_key_value() {
        Some((epoch, before)) if *epoch < append.epoch && !before.finished => Some(Gap {
            proxy: append.proxy.clone(),
            from_ms: before.cut_at_ms,
            to_ms: append.cut_at_ms,
            reason: "the process ended without a goodbye; up to one flush interval is missing".into(),
        }),
        _ => None,
    };
    let progress = epochs.entry(append.epoch).or_default();
    if progress.commit(append.sequence, append.cut_at_ms, append.last) {
        Appended::New(gap)
    } else {
        Appended::Duplicate
    }
}

async fn write(link: &mut Link<'_>, append: &Append, gap: Option<&Gap>) -> Result<(), Error> {
    link.execute(
        "INSERT INTO journal (payload) VALUES ($1)",
        &[Value::from(&append.payload)],
    )
    .await?;
    if let Some(gap) = gap {
        link.execute(
            "INSERT INTO gap (proxy, from_ms, to_ms, reason) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (to_ms, proxy) DO UPDATE SET from_ms = excluded.from_ms, reason = excluded.reason",
            &[
                Value::from(&gap.proxy),
                Value::from(gap.from_ms),
                Value::from(gap.to_ms),
                Value::from(&gap.reason),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn save(link: &mut Link<'_>, proxy: &str, epoch: u64, progress: &Progress) -> Result<(), Error> {
    link.execute(
        "INSERT INTO progress (proxy, epoch, through, beyond, cut_at_ms, finished) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (proxy, epoch) DO UPDATE SET through = excluded.through, \
         beyond = excluded.beyond, cut_at_ms = excluded.cut_at_ms, finished = excluded.finished",
        &[
            Value::from(proxy),
            Value::from(epoch),
            Value::from(progress.through),
            Value::from(progress.beyond_text().as_str()),
            Value::from(progress.cut_at_ms),
            Value::Bool(progress.finished),
        ],
    )
    .await?;
    Ok(())
}

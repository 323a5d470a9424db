//! How many bytes each family of tables holds, kept up to date by whoever writes.

use crate::history::Error;
use crate::link::{Link, Value};

/// Tables that share one part of the byte limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Blocks of all resolutions and the keys of their series.
    Blocks,
    /// Hourly rows for people.
    Hourly,
    /// Kept requests.
    Requests,
    /// Spans.
    Spans,
    /// Revisions of configuration.
    Revisions,
}

/// Bytes that a row takes beside its payload, about.
pub(super) const ROW: u64 = 64;
/// Bytes of an hourly row, about.
pub(super) const HOURLY_ROW: u64 = 220;

impl Family {
    pub(super) const ALL: [Self; 5] = [
        Self::Blocks,
        Self::Hourly,
        Self::Requests,
        Self::Spans,
        Self::Revisions,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Hourly => "hourly",
            Self::Requests => "requests",
            Self::Spans => "spans",
            Self::Revisions => "revisions",
        }
    }

    /// Percent of the limit that no other family takes away.
    pub(super) fn share(self) -> u64 {
        match self {
            Self::Blocks => 40,
            Self::Hourly | Self::Revisions => 10,
            Self::Requests | Self::Spans => 20,
        }
    }

    /// Bytes that this family holds.
    pub(super) async fn bytes(self, link: &mut Link<'_>) -> Result<u64, Error> {
        let bytes = link
            .number(
                "SELECT bytes FROM tally WHERE family = $1",
                &[Value::from(self.name())],
            )
            .await?;
        // It cannot fall below zero but by an estimate.
        Ok(if bytes > i64::MAX as u64 { 0 } else { bytes })
    }

    /// Notes a change.
    pub(super) async fn change(self, link: &mut Link<'_>, added: u64, removed: u64) -> Result<(), Error> {
        let change = added.cast_signed().saturating_sub(removed.cast_signed());
        if change == 0 {
            return Ok(());
        }
        link.execute(
            "INSERT INTO tally (family, bytes) VALUES ($1, $2) \
             ON CONFLICT (family) DO UPDATE SET bytes = tally.bytes + excluded.bytes",
            &[Value::from(self.name()), Value::Int(change)],
        )
        .await?;
        Ok(())
    }
}

//! The payload of a journal row: windows, each with its series.

use mesh_model::edge::{SeriesDelta, SeriesKey, WindowDelta};

use crate::block::{self, Input, put};
use crate::history::Error;

pub(crate) fn encode(windows: &[WindowDelta]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, windows.len() as u64);
    for window in windows {
        let series: Vec<(&SeriesKey, &SeriesDelta)> = window.series.iter().map(|(k, d)| (k, d)).collect();
        let bytes = block::encode(&series);
        put(&mut out, window.window);
        put(&mut out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<WindowDelta>, Error> {
    let mut input = Input(bytes);
    let count = input.length()?;
    let mut windows = Vec::with_capacity(count);
    for _ in 0..count {
        let window = input.number()?;
        let length = input.length()?;
        let series = block::decode(input.bytes(length)?)?;
        windows.push(WindowDelta { window, series });
    }
    Ok(windows)
}

//! One time for every page: the interval in the URL, live or not, and how fresh the data is.

mod bar;
mod range;

pub use bar::{TimeBar, close_outside};
pub use range::{Bound, Range, length};

use std::time::Duration;

use leptos::prelude::*;

use crate::address::{Address, Step};
use crate::{api, clock};

/// The interval that pages show, provided by the shell.
///
/// A page builds its calls with [`Time::query`] inside an effect (or [`crate::load::load`]): the effect runs again
/// when the interval changes, and as often as fits its length while it is live. The page says how fresh its data is
/// with [`Time::report`].
#[derive(Clone, Copy)]
pub struct Time {
    /// From and to.
    pub range: Memo<Range>,
    /// Whether new data is asked for.
    pub live: Memo<bool>,
    /// Until when the data on the screen is known, RFC 3339.
    pub as_of: RwSignal<Option<String>>,
    /// The data on the screen could not be refreshed.
    pub lost: RwSignal<bool>,
    tick: RwSignal<u32>,
    address: Address,
}

/// The time, provided by the shell.
pub fn time() -> Time {
    expect_context::<Time>()
}

impl Time {
    /// Reads the URL for as long as the shell lives.
    pub fn new(address: Address) -> Self {
        let range = Memo::new(move |_| {
            let text = |name| address.read(name);
            Range::from_url(
                text("from").as_deref(),
                text("to").as_deref(),
                text("window").as_deref(),
                clock::parse,
            )
        });
        let live =
            Memo::new(move |_| range.get().follows_now() && address.read("live").as_deref() != Some("off"));
        let time = Self {
            range,
            live,
            as_of: RwSignal::new(None),
            lost: RwSignal::new(false),
            tick: RwSignal::new(0),
            address,
        };
        time.keep_ticking();
        time
    }

    fn keep_ticking(self) {
        let visible = clock::visibility();
        let running: StoredValue<Option<IntervalHandle>> = StoredValue::new(None);
        Effect::new(move |_| {
            if let Some(handle) = running.get_value() {
                handle.clear();
                running.set_value(None);
            }
            if self.live.get() && visible.get() {
                let period = refresh_every(self.range.get().seconds(clock::now()));
                // What a hidden or paused page has missed comes at once.
                self.tick.update(|tick| *tick = tick.wrapping_add(1));
                let handle = set_interval_with_handle(
                    move || self.tick.update(|tick| *tick = tick.wrapping_add(1)),
                    period,
                );
                running.set_value(handle.ok());
            }
        });
        on_cleanup(move || {
            if let Some(handle) = running.try_get_value().flatten() {
                handle.clear();
            }
        });
    }

    /// `from=…&to=…` for a call to the API. Tracked: moves with the interval, and again and again while live.
    pub fn query(self) -> String {
        self.tick.track();
        self.interval()
    }

    /// As [`Self::query`], but moves with the interval only.
    pub fn interval(self) -> String {
        let range = self.range.get();
        format!(
            "from={}&to={}",
            api::encode(&range.from.for_api()),
            api::encode(&range.to.for_api())
        )
    }

    /// Start and end in milliseconds since 1970. Tracked as [`Self::query`] is.
    pub fn bounds(self) -> (f64, f64) {
        self.tick.track();
        self.range.get().bounds(clock::now())
    }

    /// Length, seconds; tracked.
    pub fn seconds(self) -> f64 {
        self.range.get().seconds(clock::now())
    }

    /// Length of a chart's point, seconds: some hundred points, each a whole number of recorded windows. Tracked.
    pub fn step(self) -> u32 {
        step_of(self.seconds())
    }

    /// Shows this interval: what a drag over a chart does.
    pub fn select(self, from_ms: f64, to_ms: f64) {
        // Shorter than a second is a slip of the pointer.
        if to_ms - from_ms >= 1000.0 {
            self.show(Range {
                from: Bound::At(from_ms.floor()),
                to: Bound::At(to_ms.ceil()),
            });
        }
    }

    /// Shows a range.
    pub fn show(self, range: Range) {
        let [from, to] = range.for_url().map(Some);
        self.address.write(
            &[("from", from), ("to", to), ("window", None), ("live", None)],
            Step::New,
        );
    }

    /// How fresh the page's data is.
    pub fn report(self, as_of: Option<String>) {
        if self.as_of.with_untracked(|known| *known != as_of) {
            self.as_of.set(as_of);
        }
    }

    /// A link to another page that keeps the time; tracked. `path` may have a query of its own.
    pub fn link(self, path: &str) -> String {
        let mut link = path.to_owned();
        for name in ["from", "to", "window", "live"] {
            if let Some(value) = self.address.read(name) {
                link.push(if link.contains('?') { '&' } else { '?' });
                link.push_str(&format!("{name}={}", api::encode(&value)));
            }
        }
        link
    }

    /// The page's address with the interval pinned to absolute times.
    pub fn pinned(self) -> String {
        let (from, to) = self.range.get_untracked().bounds(clock::now());
        let pinned = Range {
            from: Bound::At(from.round()),
            to: Bound::At(to.round()),
        };
        let [from, to] = pinned.for_url().map(Some);
        let path = untrack(|| {
            self.address
                .with(&[("from", from), ("to", to), ("window", None), ("live", None)])
        });
        let origin = window().location().origin().unwrap_or_default();
        format!("{origin}{path}")
    }
}

/// Lengths of points, seconds.
const STEPS: &[u32] = &[
    10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21_600, 43_200, 86_400,
];
/// More points than this are narrower than a pixel or two.
const POINTS_MOST: f64 = 130.0;

fn step_of(seconds: f64) -> u32 {
    let fits = |step: &&u32| seconds / f64::from(**step) <= POINTS_MOST;
    STEPS.iter().find(fits).copied().unwrap_or(86_400)
}

/// Often enough that a chart moves by about a pixel or two.
fn refresh_every(seconds: f64) -> Duration {
    Duration::from_secs_f64((seconds / 60.0).clamp(2.0, 60.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_some_hundred_points_at_most() {
        for (seconds, step) in [
            (60.0, 10),
            (1300.0, 10),
            (3600.0, 30),
            (86_400.0, 1200),
            (7_776_000.0, 86_400),
        ] {
            assert_eq!(step_of(seconds), step, "{seconds}");
        }
        assert_eq!(refresh_every(60.0), Duration::from_secs(2));
        assert_eq!(refresh_every(86_400.0), Duration::from_secs(60));
    }
}

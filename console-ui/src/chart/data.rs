//! What a chart shows. Pure.

use crate::format;
use crate::text::t;

/// How the lines are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Lines.
    #[default]
    Lines,
    /// Lines with a tint below.
    Areas,
    /// Each on top of the one before.
    Stacked,
}

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// A second.
    #[default]
    Rate,
    /// 0 to 100.
    Percent,
    /// Milliseconds.
    Millis,
    /// Bytes a second.
    BytesRate,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// A value with its unit.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{}/s", format::short(value)),
            Self::Percent => format!("{} %", format::short(value)),
            Self::Millis => format::millis(Some(value)),
            Self::Bytes => format::byte_size(value),
            Self::BytesRate => format!("{}/s", format::byte_size(value)),
        }
    }

    /// The unit in words, beside a chart's title.
    pub fn words(self) -> &'static str {
        match self {
            Self::Rate => t().per_second,
            Self::Percent => "%",
            Self::Millis => "ms",
            Self::BytesRate => "B/s",
            Self::Bytes => "B",
        }
    }
}

/// A line's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Good.
    Ok,
    /// Doubtful.
    Warn,
    /// Bad.
    Fail,
    /// Neutral.
    Info,
    /// The rest.
    Other,
    /// One of the series' own colours, by its place.
    Series(usize),
}

impl Tone {
    /// Style class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Info => "info",
            Self::Other => "other",
            Self::Series(place) => ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]
                .get(place % 8)
                .copied()
                .unwrap_or("s0"),
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Name.
    pub name: String,
    /// Colour.
    pub tone: Tone,
    /// By window; none where nothing is known.
    pub values: Vec<Option<f64>>,
}

/// What a chart shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Data {
    /// Start of the first window, milliseconds since 1970.
    pub from_ms: f64,
    /// Length of a window, milliseconds.
    pub step_ms: f64,
    /// Lines, all of one length.
    pub lines: Vec<Line>,
    /// How.
    pub form: Form,
    /// What.
    pub unit: Unit,
}

impl Data {
    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0)
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        !self
            .lines
            .iter()
            .any(|line| line.values.iter().any(Option::is_some))
    }

    /// End of the last window.
    pub fn to_ms(&self) -> f64 {
        self.from_ms + self.step_ms * place(self.windows())
    }

    /// Start of a window.
    pub fn at(&self, window: usize) -> f64 {
        self.from_ms + self.step_ms * place(window)
    }

    /// Highest value, of stacks their sum.
    pub fn peak(&self) -> f64 {
        let value = |line: &Line, at: usize| line.values.get(at).copied().flatten().unwrap_or(0.0);
        (0..self.windows())
            .map(|at| match self.form {
                Form::Stacked => self.lines.iter().map(|line| value(line, at)).sum(),
                Form::Lines | Form::Areas => {
                    self.lines.iter().map(|line| value(line, at)).fold(0.0, f64::max)
                }
            })
            .fold(0.0, f64::max)
    }

    /// Bottom and top of a line in a window.
    pub fn extent(&self, line: usize, window: usize) -> Option<(f64, f64)> {
        let value = |line: usize| self.lines.get(line)?.values.get(window).copied().flatten();
        let own = value(line)?;
        if self.form != Form::Stacked {
            return Some((0.0, own));
        }
        let below: f64 = (0..line).filter_map(value).sum();
        Some((below, below + own))
    }

    /// Without the last window if it is still open at `now`: its part of a count would read as a fall.
    #[must_use]
    pub fn closed(mut self, now: f64) -> Self {
        let windows = self.windows();
        if windows > 1 && self.to_ms() > now {
            for line in &mut self.lines {
                line.values.truncate(windows - 1);
            }
        }
        self
    }
}

/// A number of windows as a length.
#[expect(clippy::cast_precision_loss, reason = "charts have some hundreds of windows")]
pub fn place(windows: usize) -> f64 {
    windows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(form: Form) -> Data {
        let line = |values: &[Option<f64>]| Line {
            name: String::new(),
            tone: Tone::Ok,
            values: values.to_vec(),
        };
        Data {
            from_ms: 1000.0,
            step_ms: 10.0,
            lines: vec![
                line(&[Some(1.0), None, Some(4.0)]),
                line(&[Some(2.0), Some(2.0), Some(3.0)]),
            ],
            form,
            unit: Unit::Rate,
        }
    }

    #[test]
    fn stacks_add_up() {
        assert!((data(Form::Stacked).peak() - 7.0).abs() < 1e-9);
        assert!((data(Form::Lines).peak() - 4.0).abs() < 1e-9);
        assert_eq!(data(Form::Stacked).extent(1, 2), Some((4.0, 7.0)));
        assert_eq!(data(Form::Stacked).extent(1, 1), Some((0.0, 2.0)));
        assert_eq!(data(Form::Lines).extent(1, 2), Some((0.0, 3.0)));
        assert_eq!(data(Form::Lines).extent(0, 1), None);
    }

    #[test]
    fn an_open_window_is_left_out() {
        assert_eq!(data(Form::Lines).closed(1029.0).windows(), 2);
        assert_eq!(data(Form::Lines).closed(1030.0).windows(), 3);
    }
}

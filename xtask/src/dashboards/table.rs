//! What each dashboard shows.

mod platform;
mod traffic;

/// A dashboard.
pub(super) struct Dashboard {
    /// File name and Grafana's uid.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Variable>,
    pub(super) rows: Vec<Row>,
}

/// A choice at the top, filled from label values.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) query: &'static str,
}

/// Panels below one heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// How a panel is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stat,
    Lines,
    Stacked,
    Table,
}

/// One panel.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// Grafana's unit id.
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
    pub(super) queries: Vec<Query>,
}

/// One line (or column) of a panel.
pub(super) struct Query {
    pub(super) expr: String,
    pub(super) legend: &'static str,
}

fn panel(title: &'static str, unit: &'static str, kind: Kind, queries: Vec<(String, &'static str)>) -> Panel {
    Panel {
        title,
        description: "",
        unit,
        kind,
        queries: queries
            .into_iter()
            .map(|(expr, legend)| Query { expr, legend })
            .collect(),
    }
}

impl Panel {
    fn note(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }
}

fn row(title: &'static str, panels: Vec<Panel>) -> Row {
    Row { title, panels }
}

fn one(expr: impl Into<String>, legend: &'static str) -> Vec<(String, &'static str)> {
    vec![(expr.into(), legend)]
}

/// Per-second rate of a counter, summed by labels (`""`: by none).
fn rate(metric: &str, matchers: &str, by: &str) -> String {
    let rate = format!("rate({metric}{{{matchers}}}[$__rate_interval])");
    if by.is_empty() {
        format!("sum({rate})")
    } else {
        format!("sum by ({by}) ({rate})")
    }
}

/// Share (0 to 1) of answers that are no errors; nothing where there is no traffic.
fn success(metric: &str, matchers: &str, by: &str) -> String {
    let good = format!(r#"{matchers},response_code!~"5..|0""#);
    format!("{} / {}", rate(metric, &good, by), rate(metric, matchers, by))
}

/// A quantile of a histogram, by labels.
fn quantile(q: &str, metric: &str, matchers: &str, by: &str) -> String {
    let by = if by.is_empty() {
        "le".to_owned()
    } else {
        format!("le, {by}")
    };
    format!(
        "histogram_quantile({q}, {})",
        rate(&format!("{metric}_bucket"), matchers, &by)
    )
}

/// The three quantiles as three lines.
fn quantiles(metric: &str, matchers: &str) -> Vec<(String, &'static str)> {
    vec![
        (quantile("0.50", metric, matchers, ""), "p50"),
        (quantile("0.95", metric, matchers, ""), "p95"),
        (quantile("0.99", metric, matchers, ""), "p99"),
    ]
}

/// All of them.
pub(super) fn dashboards() -> Vec<Dashboard> {
    vec![
        traffic::mesh(),
        traffic::service(),
        traffic::workload(),
        traffic::route(),
        traffic::gateway(),
        platform::control_plane(),
        platform::proxy(),
    ]
}

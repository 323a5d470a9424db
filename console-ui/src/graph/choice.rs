//! What the URL says about the graph page.

use leptos::prelude::*;
use mesh_api::graph::GraphType;

use super::select::Isolation;
use crate::address::Address;
use crate::text::t;

/// What stands on the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Requests a second.
    Rate,
    /// Share of errors.
    Errors,
    /// 95th percentile.
    P95,
    /// Nothing.
    None,
}

/// What the panel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// A place id.
    Node(String),
    /// Place ids.
    Edge(String, String),
}

impl Selection {
    /// Between the two ends in the URL; no id contains it.
    const ARROW: char = '~';

    fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "node" => Some(Self::Node(rest.to_owned())),
            "edge" => rest
                .split_once(Self::ARROW)
                .map(|(from, to)| Self::Edge(from.to_owned(), to.to_owned())),
            _ => None,
        }
    }

    /// For the URL.
    pub fn to_text(&self) -> String {
        match self {
            Self::Node(id) => format!("node:{id}"),
            Self::Edge(from, to) => format!("edge:{from}{}{to}", Self::ARROW),
        }
    }
}

/// The choices, each its own memo, so that one change redraws one thing.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Graph type.
    pub kind: Memo<GraphType>,
    /// Empty: all.
    pub namespaces: Memo<Vec<String>>,
    /// Edge labels.
    pub label: Memo<Label>,
    /// The table instead of the picture.
    pub table: Memo<bool>,
    /// What the panel shows.
    pub selection: Memo<Option<Selection>>,
    /// What stands out.
    pub find: Memo<String>,
    /// What is left out.
    pub hide: Memo<String>,
    /// Only what is round a node.
    pub isolation: Memo<Option<Isolation>>,
    /// Also what has no traffic.
    pub idle: Memo<bool>,
    /// Playback: the end of the frame on the screen, milliseconds since 1970.
    pub moment: Memo<Option<f64>>,
    /// The other time of a comparison.
    pub compare: Memo<Option<Other>>,
}

/// The other time of a comparison; it is as long as the interval on the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Other {
    /// So many seconds earlier.
    Earlier(u32),
    /// Ends at this time, milliseconds since 1970.
    EndsAt(f64),
}

impl Other {
    /// From the URL: `3600`, `@1800000000000`.
    pub fn from_text(text: &str) -> Option<Self> {
        if let Some(at) = text.strip_prefix('@') {
            let at: f64 = at.parse().ok()?;
            return (at > 1e12 && at < 1e14).then_some(Self::EndsAt(at));
        }
        let seconds: u32 = text.parse().ok()?;
        (1..=90 * 86_400)
            .contains(&seconds)
            .then_some(Self::Earlier(seconds))
    }

    /// For the URL.
    pub fn to_text(self) -> String {
        match self {
            Self::Earlier(seconds) => seconds.to_string(),
            Self::EndsAt(at) => format!("@{at:.0}"),
        }
    }

    /// Start and end, milliseconds since 1970, beside the interval on the screen.
    pub fn bounds(self, shown: (f64, f64)) -> (f64, f64) {
        match self {
            Self::Earlier(seconds) => {
                let by = f64::from(seconds) * 1000.0;
                (shown.0 - by, shown.1 - by)
            }
            Self::EndsAt(at) => (at - (shown.1 - shown.0), at),
        }
    }
}

fn isolation(address: Address) -> Option<Isolation> {
    let direction = address.read("dir");
    let direction = direction.as_deref();
    Some(Isolation {
        id: address.read("iso")?,
        upstream: direction != Some("down"),
        downstream: direction != Some("up"),
        hops: address
            .read("hops")
            .and_then(|text| text.parse().ok())
            .filter(|hops| *hops > 0),
    })
}

impl Choice {
    /// Reads the URL for as long as the page lives.
    pub fn new(address: Address) -> Self {
        Self {
            kind: Memo::new(move |_| match address.read("type").as_deref() {
                Some("app") => GraphType::App,
                Some("versionedApp") => GraphType::VersionedApp,
                Some("service") => GraphType::Service,
                _ => GraphType::Workload,
            }),
            namespaces: Memo::new(move |_| {
                let text = address.read("namespaces").unwrap_or_default();
                text.split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect()
            }),
            label: Memo::new(move |_| match address.read("label").as_deref() {
                Some("errors") => Label::Errors,
                Some("p95") => Label::P95,
                Some("none") => Label::None,
                _ => Label::Rate,
            }),
            table: Memo::new(move |_| address.read("view").as_deref() == Some("table")),
            selection: Memo::new(move |_| address.read("sel").as_deref().and_then(Selection::from_text)),
            find: Memo::new(move |_| address.read("find").unwrap_or_default()),
            hide: Memo::new(move |_| address.read("hide").unwrap_or_default()),
            isolation: Memo::new(move |_| isolation(address)),
            idle: Memo::new(move |_| address.read("idle").is_some()),
            moment: Memo::new(move |_| {
                let at: f64 = address.read("moment")?.parse().ok()?;
                (at > 1e12 && at < 1e14).then_some(at)
            }),
            compare: Memo::new(move |_| address.read("cmp").as_deref().and_then(Other::from_text)),
        }
    }

    /// The scope as a query: `type=…&namespaces=…`; tracked.
    pub fn scope(self) -> String {
        format!(
            "type={}&namespaces={}",
            type_name(self.kind.get()),
            crate::api::encode(&self.namespaces.get().join(","))
        )
    }
}

/// As the API writes it.
pub fn type_name(kind: GraphType) -> &'static str {
    match kind {
        GraphType::Workload => "workload",
        GraphType::App => "app",
        GraphType::VersionedApp => "versionedApp",
        GraphType::Service => "service",
    }
}

/// For the URL; the default is left out.
pub fn label_name(label: Label) -> Option<String> {
    match label {
        Label::Rate => None,
        Label::Errors => Some("errors".into()),
        Label::P95 => Some("p95".into()),
        Label::None => Some("none".into()),
    }
}

/// A graph type in words.
pub fn type_words() -> Vec<(GraphType, &'static str)> {
    vec![
        (GraphType::Workload, t().view_workload),
        (GraphType::VersionedApp, t().view_versioned),
        (GraphType::App, t().view_app),
        (GraphType::Service, t().view_service),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Other, Selection};

    #[test]
    fn the_other_time_survives_the_url() {
        for other in [Other::Earlier(3600), Other::EndsAt(1_800_000_000_000.0)] {
            assert_eq!(Other::from_text(&other.to_text()), Some(other));
        }
        for text in ["", "0", "-5", "@1", "@x", "99999999999"] {
            assert_eq!(Other::from_text(text), None, "{text}");
        }
        assert_eq!(
            Other::Earlier(60).bounds((100_000.0, 160_000.0)),
            (40_000.0, 100_000.0)
        );
        assert_eq!(
            Other::EndsAt(90_000.0).bounds((100_000.0, 160_000.0)),
            (30_000.0, 90_000.0)
        );
    }

    #[test]
    fn a_selection_survives_the_url() {
        for selection in [
            Selection::Node("default/reviews@v1".into()),
            Selection::Edge(
                "unknown".into(),
                "service:reviews.default.svc.cluster.local".into(),
            ),
        ] {
            assert_eq!(Selection::from_text(&selection.to_text()), Some(selection));
        }
        assert_eq!(Selection::from_text("edge:a"), None);
        assert_eq!(Selection::from_text("a"), None);
    }
}

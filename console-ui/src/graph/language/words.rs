//! The words of the language. Pure.

/// For what a word can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Nodes.
    pub nodes: bool,
    /// Edges.
    pub edges: bool,
}

/// Something with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Requests a second.
    Rate,
    /// Requests.
    Requests,
    /// Errors in percent.
    Errors,
    /// 4xx in percent.
    ClientErrors,
    /// Median, milliseconds.
    P50,
    /// 95th percentile, milliseconds.
    P95,
    /// 99th percentile, milliseconds.
    P99,
    /// Bytes a second.
    Throughput,
    /// Mutual TLS in percent.
    MutualTls,
    /// Name of a node.
    Name,
    /// Application of a node.
    App,
    /// Version of a node.
    Version,
    /// Namespace of a node.
    Namespace,
    /// Source of an edge.
    Source,
    /// Target of an edge.
    Target,
    /// Service of an edge.
    Service,
    /// Protocol of an edge.
    Protocol,
    /// Response codes of an edge.
    Code,
    /// Response flags of an edge.
    Flags,
    /// Route names of an edge.
    Route,
}

/// Something that is so or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Below all thresholds.
    Healthy,
    /// Some errors.
    Degraded,
    /// Many errors.
    Failing,
    /// No traffic.
    Idle,
    /// A gateway.
    Gateway,
    /// Outside the mesh.
    Outside,
    /// All requests over mutual TLS.
    Mtls,
    /// TCP.
    Tcp,
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
    /// Counts may be missing.
    Gap,
}

/// Words with values.
pub const FIELDS: &[(&str, Field)] = &[
    ("rate", Field::Rate),
    ("requests", Field::Requests),
    ("errors", Field::Errors),
    ("4xx", Field::ClientErrors),
    ("p50", Field::P50),
    ("p95", Field::P95),
    ("p99", Field::P99),
    ("throughput", Field::Throughput),
    ("mutual", Field::MutualTls),
    ("name", Field::Name),
    ("app", Field::App),
    ("version", Field::Version),
    ("namespace", Field::Namespace),
    ("source", Field::Source),
    ("target", Field::Target),
    ("service", Field::Service),
    ("protocol", Field::Protocol),
    ("code", Field::Code),
    ("flags", Field::Flags),
    ("route", Field::Route),
];

/// Words that stand alone.
pub const FLAGS: &[(&str, Flag)] = &[
    ("healthy", Flag::Healthy),
    ("degraded", Flag::Degraded),
    ("failing", Flag::Failing),
    ("idle", Flag::Idle),
    ("gateway", Flag::Gateway),
    ("outside", Flag::Outside),
    ("mtls", Flag::Mtls),
    ("tcp", Flag::Tcp),
    ("grpc", Flag::Grpc),
    ("http", Flag::Http),
    ("gap", Flag::Gap),
];

const BOTH: Scope = Scope {
    nodes: true,
    edges: true,
};
const NODES: Scope = Scope {
    nodes: true,
    edges: false,
};
const EDGES: Scope = Scope {
    nodes: false,
    edges: true,
};

impl Field {
    /// For what it can hold.
    pub fn scope(self) -> Scope {
        match self {
            Self::Rate | Self::Requests | Self::Errors => BOTH,
            Self::Name | Self::App | Self::Version | Self::Namespace => NODES,
            _ => EDGES,
        }
    }

    /// Whether its value is a number.
    pub fn numeric(self) -> bool {
        matches!(
            self,
            Self::Rate
                | Self::Requests
                | Self::Errors
                | Self::ClientErrors
                | Self::P50
                | Self::P95
                | Self::P99
                | Self::Throughput
                | Self::MutualTls
        )
    }
}

impl Flag {
    /// For what it can hold.
    pub fn scope(self) -> Scope {
        match self {
            Self::Healthy | Self::Degraded | Self::Failing | Self::Idle => BOTH,
            Self::Gateway | Self::Outside => NODES,
            Self::Mtls | Self::Tcp | Self::Grpc | Self::Http | Self::Gap => EDGES,
        }
    }
}

fn listed(wanted: fn(Scope) -> bool) -> String {
    FIELDS
        .iter()
        .filter(|(_, field)| wanted(field.scope()))
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Words with values for nodes, for the help.
pub fn node_words() -> String {
    listed(|scope| scope.nodes)
}

/// Words with values for edges, for the help.
pub fn edge_words() -> String {
    listed(|scope| scope.edges)
}

/// Words that stand alone, for the help.
pub fn flag_words() -> String {
    FLAGS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The word that was probably meant.
pub fn nearest(word: &str) -> Option<&'static str> {
    let names = FIELDS
        .iter()
        .map(|(name, _)| *name)
        .chain(FLAGS.iter().map(|(name, _)| *name));
    names
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// Letters to change, add or drop.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.chars().enumerate() {
        let mut next = vec![at + 1];
        for (place, right) in b.iter().enumerate() {
            let old = |offset: usize| row.get(place + offset).copied().unwrap_or(usize::MAX - 1);
            let changed = old(0) + usize::from(left != *right);
            let dropped = old(1) + 1;
            let added = next.last().copied().unwrap_or(usize::MAX - 1) + 1;
            next.push(changed.min(dropped).min(added));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

//! The same question for a Prometheus that scrapes the proxies (pure).
//!
//! A request counts once: at its source's proxy, or at its destination's when the source is outside the mesh. The two
//! never share labels, so `or` joins them without loss.

use std::collections::BTreeMap;

use mesh_telemetry::{labels, metrics};

use super::Field;

/// Shortest range of a rate: four scrapes of a usual Prometheus.
const MIN_RANGE: u64 = 60;

/// Whose requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Mesh,
    Workload {
        namespace: String,
        name: String,
        inbound: bool,
    },
    App {
        namespace: String,
        name: String,
        version: Option<String>,
        inbound: bool,
    },
    /// Requests to a host.
    Service {
        host: String,
    },
    /// Callers outside the mesh, or answers that proxies gave themselves.
    Unknown {
        inbound: bool,
    },
}

type Labels = Vec<(&'static str, String)>;

impl Subject {
    fn labels(&self) -> Labels {
        let side = |inbound: bool, destination, source| if inbound { destination } else { source };
        match self {
            Self::Mesh => Vec::new(),
            Self::Workload {
                namespace,
                name,
                inbound,
            } => vec![
                (
                    side(
                        *inbound,
                        labels::DESTINATION_WORKLOAD_NAMESPACE,
                        labels::SOURCE_WORKLOAD_NAMESPACE,
                    ),
                    namespace.clone(),
                ),
                (
                    side(*inbound, labels::DESTINATION_WORKLOAD, labels::SOURCE_WORKLOAD),
                    name.clone(),
                ),
            ],
            Self::App {
                namespace,
                name,
                version,
                inbound,
            } => {
                let mut list = vec![
                    (
                        side(
                            *inbound,
                            labels::DESTINATION_WORKLOAD_NAMESPACE,
                            labels::SOURCE_WORKLOAD_NAMESPACE,
                        ),
                        namespace.clone(),
                    ),
                    (
                        side(
                            *inbound,
                            labels::DESTINATION_CANONICAL_SERVICE,
                            labels::SOURCE_CANONICAL_SERVICE,
                        ),
                        name.clone(),
                    ),
                ];
                list.extend(version.iter().map(|version| {
                    let label = side(
                        *inbound,
                        labels::DESTINATION_CANONICAL_REVISION,
                        labels::SOURCE_CANONICAL_REVISION,
                    );
                    (label, version.clone())
                }));
                list
            }
            Self::Service { host } => vec![(labels::DESTINATION_SERVICE, host.clone())],
            Self::Unknown { inbound } => vec![(
                side(*inbound, labels::DESTINATION_WORKLOAD, labels::SOURCE_WORKLOAD),
                "unknown".into(),
            )],
        }
    }
}

fn grouping(field: Field) -> &'static [&'static str] {
    match field {
        Field::Nothing => &[],
        Field::Source => &[labels::SOURCE_WORKLOAD_NAMESPACE, labels::SOURCE_WORKLOAD],
        Field::Destination => &[
            labels::DESTINATION_WORKLOAD_NAMESPACE,
            labels::DESTINATION_WORKLOAD,
        ],
        Field::Service => &[labels::DESTINATION_SERVICE],
        Field::Version => &[labels::DESTINATION_VERSION],
        Field::Code => &[labels::RESPONSE_CODE],
        Field::Flags => &[labels::RESPONSE_FLAGS],
        Field::Route => &[labels::VIRTUAL_SERVICE, labels::ROUTE, labels::MATCH],
        Field::Protocol => &[labels::REQUEST_PROTOCOL],
        Field::GrpcStatus => &[labels::GRPC_RESPONSE_STATUS],
        Field::MutualTls => &[labels::CONNECTION_SECURITY_POLICY],
    }
}

/// PromQL by chart.
pub(crate) fn promql(subject: &Subject, field: Field, quantile: f64, step: u64) -> BTreeMap<String, String> {
    let range = match step.max(MIN_RANGE) {
        60 => "1m".to_owned(),
        seconds => format!("{seconds}s"),
    };
    let mut common = subject.labels();
    if field == Field::Route {
        // The metrics by rule have fewer labels.
        common.retain(|(name, _)| labels::PER_ROUTE.contains(name));
    }
    let ends: Vec<Labels> = if field == Field::MutualTls {
        // Only the destination's proxy tells it.
        vec![vec![(labels::REPORTER, "destination".into())]]
    } else {
        let mut outside = vec![
            (labels::REPORTER, "destination".to_owned()),
            (labels::SOURCE_WORKLOAD, "unknown".to_owned()),
        ];
        if field != Field::Route {
            outside.push((labels::SOURCE_PRINCIPAL, "unknown".to_owned()));
        }
        vec![vec![(labels::REPORTER, "source".into())], outside]
    };
    let rates = |metric: &str, further: &str| -> Vec<String> {
        let one = |end: &Labels| {
            let pairs = common.iter().chain(end);
            let mut list: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={}", quoted(value)))
                .collect();
            if !further.is_empty() {
                list.push(further.to_owned());
            }
            format!("rate({metric}{{{}}}[{range}])", list.join(","))
        };
        ends.iter().map(one).collect()
    };
    let sum = |further: &[&'static str], rates: Vec<String>| {
        let names: Vec<&str> = further.iter().chain(grouping(field)).copied().collect();
        let by = match names.join(", ") {
            names if names.is_empty() => String::new(),
            names => format!(" by ({names}) "),
        };
        format!("sum{by}({})", rates.join(" or "))
    };
    let (requests, duration) = if field == Field::Route {
        (
            metrics::ROUTE_REQUESTS_TOTAL,
            metrics::ROUTE_REQUEST_DURATION_MILLISECONDS,
        )
    } else {
        (metrics::REQUESTS_TOTAL, metrics::REQUEST_DURATION_MILLISECONDS)
    };
    let mut errors = rates(requests, "response_code=~\"0|5..\"");
    if field != Field::Route {
        errors.extend(rates(
            requests,
            "response_code!~\"0|5..\",grpc_response_status!~\"0|\"",
        ));
    }
    let bytes = |http: &str, tcp: &str| {
        let mut both = rates(&format!("{http}_sum"), "");
        both.extend(rates(tcp, ""));
        sum(&[], both)
    };
    let buckets = sum(&["le"], rates(&format!("{duration}_bucket"), ""));
    let list = [
        ("requests", sum(&[], rates(requests, ""))),
        ("errors", sum(&[], errors)),
        ("duration", format!("histogram_quantile({quantile}, {buckets})")),
        (
            "request_bytes",
            bytes(metrics::REQUEST_BYTES, metrics::TCP_RECEIVED_BYTES_TOTAL),
        ),
        (
            "response_bytes",
            bytes(metrics::RESPONSE_BYTES, metrics::TCP_SENT_BYTES_TOTAL),
        ),
    ];
    list.into_iter()
        .map(|(name, query)| (name.to_owned(), query))
        .collect()
}

fn quoted(value: &str) -> String {
    let escaped = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

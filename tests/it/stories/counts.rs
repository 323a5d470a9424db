//! Two accounts of the same requests: what the processes counted, and what the graph says.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mesh_api::graph::{Edge, Graph};
use mesh_testkit::Samples;
use serde_json::Value;

use crate::demo::Place;

/// Sample processes and their node ids are `default/NAME`.
pub(crate) const SHOP: &[(&str, &str)] = &[
    ("productpage", "v1"),
    ("details", "v1"),
    ("reviews", "v1"),
    ("reviews", "v2"),
    ("reviews", "v3"),
    ("ratings", "v1"),
    ("inventory", "v1"),
    ("journal", "v1"),
];

/// The process outside the mesh that is called from inside, and the host by which it is called.
pub(crate) const PUBLISHER: (&str, &str) = ("publisher", "books.example.org");

const GATEWAY: &str = "istio-system/istio-ingressgateway";
const OUTSIDE: &str = "unknown";

/// Whether a call came from outside through the gateway.
pub(crate) fn enters(edge: &Edge) -> bool {
    edge.source == OUTSIDE && edge.target == GATEWAY
}

/// Who is called: a node, or a host outside the mesh.
fn callee(edge: &Edge) -> &str {
    if edge.service == PUBLISHER.1 {
        PUBLISHER.1
    } else {
        &edge.target
    }
}

/// What each sample process says that it received, by node id; processes without requests are left out.
pub(crate) async fn received(place: &Place) -> Result<BTreeMap<String, u64>> {
    let mut received = BTreeMap::new();
    for (service, version) in SHOP {
        let name = format!("{service}-{version}");
        let samples = Samples::parse(&place.counters(&name).await?)?;
        let count = samples.sum(
            "shop_requests_received_total",
            &[("service", service), ("version", version)],
        );
        if count > 0 {
            received.insert(format!("default/{name}"), count);
        }
    }
    let samples = Samples::parse(&place.counters(PUBLISHER.0).await?)?;
    let count = samples.sum("shop_requests_received_total", &[("service", PUBLISHER.0)]);
    if count > 0 {
        received.insert(PUBLISHER.1.to_owned(), count);
    }
    Ok(received)
}

/// What a load generator sent, and what came back by status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) sent: u64,
    pub(crate) responses: BTreeMap<String, u64>,
}

impl Sent {
    /// From the final counts that it leaves.
    pub(crate) fn read(path: &std::path::Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value: Value = serde_json::from_str(&text)?;
        let responses = value["responses"].as_object().context("no responses")?;
        Ok(Self {
            sent: value["sent"].as_u64().context("no sent")?,
            responses: responses
                .iter()
                .map(|(status, count)| (status.clone(), count.as_u64().unwrap_or_default()))
                .collect(),
        })
    }
}

/// Where faults leave a count that cannot be told to the request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rough<'a> {
    /// Nodes whose proxy was killed: each of their outgoing edges may lack `lost` requests.
    pub(crate) lossy: &'a [&'a str],
    pub(crate) lost: u64,
    /// Nodes whose proxy ended under load: an attempt that got no answer may have arrived, or not.
    pub(crate) unanswered: &'a [&'a str],
}

/// Everything in which the graph differs from the processes' own counts; empty when it is the truth.
pub(crate) fn differences(graph: &Graph, sent: &Sent, received: &BTreeMap<String, u64>) -> Vec<String> {
    differences_through(graph, sent, received, &Rough::default())
}

/// The same through faults.
pub(crate) fn differences_through(
    graph: &Graph,
    sent: &Sent,
    received: &BTreeMap<String, u64>,
    rough: &Rough<'_>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: String, graph: u64, truth: u64| {
        if graph != truth {
            differences.push(format!("{what}: the graph says {graph}, it was {truth}"));
        }
    };
    let entering: Vec<&Edge> = graph.edges.iter().filter(|edge| enters(edge)).collect();
    compare(
        "requests from outside".to_owned(),
        sum(&entering, |edge| edge.requests),
        sent.sent,
    );
    for status in sent
        .responses
        .keys()
        .chain(entering.iter().flat_map(|edge| edge.codes.keys()))
    {
        compare(
            format!("answers {status} to the outside"),
            sum(&entering, |edge| {
                edge.codes.get(status).copied().unwrap_or_default()
            }),
            sent.responses.get(status).copied().unwrap_or_default(),
        );
    }
    let leaving: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.source == GATEWAY).collect();
    compare(
        "requests through the gateway".to_owned(),
        sum(&leaving, |edge| edge.requests),
        sent.sent,
    );
    let mut arrived: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in graph
        .edges
        .iter()
        .filter(|edge| edge.target.starts_with("default/") || edge.service == PUBLISHER.1)
    {
        arrived.entry(callee(edge)).or_default().push(edge);
    }
    for node in received.keys().map(String::as_str).chain(arrived.keys().copied()) {
        let edges = arrived.get(node).map(Vec::as_slice).unwrap_or_default();
        let truth = received.get(node).copied().unwrap_or_default();
        let attempts = sum(edges, |edge| edge.attempts);
        let least = if rough.unanswered.contains(&node) {
            sum(edges, answered)
        } else {
            attempts
        };
        let lossy = edges
            .iter()
            .any(|edge| rough.lossy.contains(&edge.source.as_str()));
        let most = attempts + if lossy { rough.lost } else { 0 };
        compare(
            format!("requests at {node} ({least} to {most})"),
            truth.clamp(least, most),
            truth,
        );
    }
    for edge in &graph.edges {
        let name = format!("{} -> {}", edge.source, edge.target);
        compare(
            format!("codes of {name}"),
            edge.codes.values().sum(),
            edge.requests,
        );
        compare(
            format!("routes of {name}"),
            edge.routes.iter().map(|route| route.requests).sum(),
            edge.requests,
        );
    }
    differences.sort();
    differences.dedup();
    differences
}

/// Requests that got their answer from the other end.
fn answered(edge: &Edge) -> u64 {
    edge.flags.get("-").copied().unwrap_or_default()
}

fn sum(edges: &[&Edge], count: impl Fn(&Edge) -> u64) -> u64 {
    edges.iter().map(|edge| count(edge)).sum()
}

/// The edges, one a line, for a test that fails.
pub(crate) fn table(graph: &Graph) -> String {
    let mut text = format!("{} to {}, known until {}\n", graph.from, graph.to, graph.as_of);
    for edge in &graph.edges {
        text.push_str(&format!(
            "{} -> {} ({}): {} requests, {} attempts, codes {:?}, flags {:?}\n",
            edge.source, edge.target, edge.service, edge.requests, edge.attempts, edge.codes, edge.flags
        ));
    }
    text
}

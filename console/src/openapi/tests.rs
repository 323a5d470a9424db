#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use mesh_api::{
    config, error, explain, graph, history, inventory, layout, mesh, metrics, requests, session, traces,
};
use serde::Serialize;

use super::*;

#[test]
fn every_route_is_described() {
    let document = describe();
    for route in TABLE {
        let operation =
            &document["paths"][route.path.replace("{*", "{")][route.method.as_str().to_lowercase()];
        assert_eq!(
            operation["summary"], route.summary,
            "{} {}",
            route.method, route.path
        );
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = describe();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[track_caller]
fn check<T: Serialize>(name: &str, value: &T) {
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let written = keys(&serde_json::to_value(value).unwrap());
    let described = keys(&schemas()[name]["properties"]);
    assert_eq!(written, described, "{name}");
}

#[test]
fn shapes_are_those_of_the_types() {
    check(
        "ApiError",
        &error::ApiError {
            message: String::new(),
            remedy: Some(String::new()),
            request_id: String::new(),
        },
    );
    check("Session", &session::Session::default());
    check("SignIn", &session::SignIn::default());
    check("Graph", &graph::Graph::default());
    check("Node", &graph::Node::default());
    check("Edge", &graph::Edge::default());
    check("RouteCount", &graph::RouteCount::default());
    check("Series", &graph::Series::default());
    check("Point", &graph::Point::default());
    check("Layout", &layout::Layout::default());
    check("Place", &layout::Place::default());
    check("Path", &layout::Path::default());
    check("NamespaceBox", &layout::NamespaceBox::default());
    check("ObjectList", &config::ObjectList::default());
    check("ObjectSummary", &config::ObjectSummary::default());
    check(
        "Problem",
        &config::Problem {
            line: Some(1),
            column: Some(1),
            ..config::Problem::default()
        },
    );
    check("Propagation", &config::Propagation::default());
    check("Refusal", &config::Refusal::default());
    check("AnalyzeRequest", &config::AnalyzeRequest::default());
    check("AnalyzeAnswer", &config::AnalyzeAnswer::default());
    check("ObjectName", &config::ObjectName::default());
    check("ObjectSource", &config::ObjectSource::default());
    check("SaveRequest", &config::SaveRequest::default());
    check("SaveConflict", &config::SaveConflict::default());
    check("ProxyList", &mesh::ProxyList::default());
    check("Proxy", &mesh::Proxy::default());
    check("Status", &mesh::Status::default());
    check("Gap", &mesh::Gap::default());
    check("Exporter", &mesh::Exporter::default());
}

#[test]
fn shapes_of_records_and_lists_are_those_of_the_types() {
    check("KeptRequest", &requests::KeptRequest::default());
    check("RequestPage", &requests::RequestPage::default());
    check("Facets", &requests::Facets::default());
    check("Facet", &requests::Facet::default());
    check("HeatMap", &requests::HeatMap::default());
    check("HeatCell", &requests::HeatCell::default());
    check("TraceList", &traces::TraceList::default());
    check("TraceSummary", &traces::TraceSummary::default());
    check("Trace", &traces::Trace::default());
    check("Explanation", &explain::Explanation::default());
    check("Asked", &explain::Asked::default());
    check("Hop", &explain::Hop::default());
    check("Decision", &explain::Decision::default());
    check(
        "Candidate",
        &explain::Candidate {
            object: Some(explain::ObjectPlace::default()),
            percent: Some(0.0),
            endpoint: Some(explain::EndpointFacts::default()),
            ..explain::Candidate::default()
        },
    );
    check(
        "ObjectPlace",
        &explain::ObjectPlace {
            line: Some(1),
            ..explain::ObjectPlace::default()
        },
    );
    check("EndpointFacts", &explain::EndpointFacts::default());
    check(
        "Outcome",
        &explain::Outcome {
            status: Some(403),
            ..explain::Outcome::default()
        },
    );
    check("Span", &traces::Span::default());
    check("Links", &traces::Links::default());
    check("Link", &traces::Link::default());
    check("RevisionList", &history::RevisionList::default());
    check("Revision", &history::Revision::default());
    check("Metrics", &metrics::Metrics::default());
    check("Group", &metrics::Group::default());
    check("MetricPoint", &metrics::MetricPoint::default());
    check("Overview", &inventory::Overview::default());
    check("Offender", &inventory::Offender::default());
    check("Traffic", &inventory::Traffic::default());
    check("ServiceList", &inventory::ServiceList::default());
    check("ServiceRow", &inventory::ServiceRow::default());
    check("ServiceDetail", &inventory::ServiceDetail::default());
    check("EndpointRow", &inventory::EndpointRow::default());
    check("RouteRow", &inventory::RouteRow::default());
    check("WorkloadList", &inventory::WorkloadList::default());
    check("WorkloadRow", &inventory::WorkloadRow::default());
    check("WorkloadDetail", &inventory::WorkloadDetail::default());
    check("AppList", &inventory::AppList::default());
    check("AppRow", &inventory::AppRow::default());
    check("AppDetail", &inventory::AppDetail::default());
    check("NamespaceList", &inventory::NamespaceList::default());
    check("NamespaceRow", &inventory::NamespaceRow::default());
}

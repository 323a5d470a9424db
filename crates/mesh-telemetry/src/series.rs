//! A series' labels as Istio writes them.

use mesh_model::edge::{Reporter, SeriesKey};
use mesh_model::workload::UNKNOWN;

use crate::labels;

/// `connection_security_policy` of a series: known at the destination only.
#[must_use]
pub fn connection_security_policy(key: &SeriesKey) -> &'static str {
    match (key.reporter, key.mutual_tls) {
        (Reporter::Source, _) => UNKNOWN,
        (Reporter::Destination, true) => "mutual_tls",
        (Reporter::Destination, false) => "none",
    }
}

/// Calls `found` with every label of the Istio standard metrics of this series, in the order of
/// [`labels::STANDARD`]; [`labels::HTTP_ONLY`] follow unless the series is TCP.
pub fn each_standard_label(key: &SeriesKey, found: &mut dyn FnMut(&'static str, &str)) {
    let (source, destination) = (&key.source, &key.destination);
    found(labels::REPORTER, key.reporter.as_str());
    found(labels::SOURCE_WORKLOAD, &source.name);
    found(labels::SOURCE_CANONICAL_SERVICE, &source.app);
    found(labels::SOURCE_CANONICAL_REVISION, &source.version);
    found(labels::SOURCE_WORKLOAD_NAMESPACE, &source.namespace);
    found(labels::SOURCE_PRINCIPAL, &key.source_principal);
    found(labels::SOURCE_APP, &source.app);
    found(labels::SOURCE_VERSION, &source.version);
    found(labels::SOURCE_CLUSTER, &source.cluster);
    found(labels::DESTINATION_WORKLOAD, &destination.name);
    found(labels::DESTINATION_WORKLOAD_NAMESPACE, &destination.namespace);
    found(labels::DESTINATION_PRINCIPAL, &key.destination_principal);
    found(labels::DESTINATION_APP, &destination.app);
    found(labels::DESTINATION_VERSION, &destination.version);
    found(labels::DESTINATION_SERVICE, &key.service.host);
    found(labels::DESTINATION_CANONICAL_SERVICE, &destination.app);
    found(labels::DESTINATION_CANONICAL_REVISION, &destination.version);
    found(labels::DESTINATION_SERVICE_NAME, &key.service.name);
    found(labels::DESTINATION_SERVICE_NAMESPACE, &key.service.namespace);
    found(labels::DESTINATION_CLUSTER, &destination.cluster);
    found(labels::REQUEST_PROTOCOL, key.protocol.as_str());
    found(labels::RESPONSE_FLAGS, &key.flags.to_string());
    found(
        labels::CONNECTION_SECURITY_POLICY,
        connection_security_policy(key),
    );
    if key.protocol != mesh_model::edge::RequestProtocol::Tcp {
        found(labels::RESPONSE_CODE, &key.response_code.to_string());
        found(
            labels::GRPC_RESPONSE_STATUS,
            &key.grpc_status.map(|s| s.to_string()).unwrap_or_default(),
        );
    }
}

/// Calls `found` with every label of the `sightline_route_*` metrics of this series, in the order of
/// [`labels::PER_ROUTE`].
pub fn each_route_label(key: &SeriesKey, found: &mut dyn FnMut(&'static str, &str)) {
    found(labels::REPORTER, key.reporter.as_str());
    found(labels::SOURCE_WORKLOAD, &key.source.name);
    found(labels::SOURCE_WORKLOAD_NAMESPACE, &key.source.namespace);
    found(labels::DESTINATION_SERVICE, &key.service.host);
    found(labels::DESTINATION_SERVICE_NAMESPACE, &key.service.namespace);
    found(labels::DESTINATION_WORKLOAD, &key.destination.name);
    found(labels::DESTINATION_VERSION, &key.destination.version);
    found(labels::VIRTUAL_SERVICE, &key.origin.virtual_service);
    found(labels::ROUTE, &key.origin.route);
    found(labels::MATCH, &key.origin.match_name);
    found(labels::RESPONSE_CODE, &key.response_code.to_string());
    found(labels::RESPONSE_FLAGS, &key.flags.to_string());
    found(labels::REQUEST_PROTOCOL, key.protocol.as_str());
}

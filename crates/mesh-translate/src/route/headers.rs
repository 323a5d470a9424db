//! Header edits.

use mesh_crd::networking::virtual_service::{HeaderOperations, Headers, HttpRoute};
use mesh_model::route::HeaderEdits;

/// Request edits and, apart, a new host.
#[derive(Default)]
pub(super) struct RequestEdits {
    pub(super) edits: HeaderEdits,
    pub(super) host: Option<String>,
}

/// `http[].headers`.
pub(super) fn route_level(route: &HttpRoute) -> (RequestEdits, HeaderEdits) {
    of(route.headers.as_ref())
}

/// `headers` of a rule or a destination.
pub(super) fn of(headers: Option<&Headers>) -> (RequestEdits, HeaderEdits) {
    let Some(headers) = headers else {
        return Default::default();
    };
    let mut request = RequestEdits::default();
    if let Some(operations) = &headers.request {
        let mut host = None;
        request.edits = edits(operations, &mut host);
        request.host = host;
    }
    let response = headers
        .response
        .as_ref()
        .map(|operations| edits(operations, &mut None))
        .unwrap_or_default();
    (request, response)
}

fn edits(operations: &HeaderOperations, host: &mut Option<String>) -> HeaderEdits {
    let mut out = HeaderEdits::default();
    for (name, value) in &operations.set {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "host" | ":authority" => *host = Some(value.clone()),
            // Setting to nothing leaves what is there, as in Envoy.
            _ if value.is_empty() => {}
            _ => out.set.push((name, value.clone())),
        }
    }
    for (name, value) in &operations.add {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            // There is one host: adding replaces it.
            "host" | ":authority" => *host = Some(value.clone()),
            _ => out.add.push((name, value.clone())),
        }
    }
    // A header both set and removed stays set: removal comes first.
    out.remove = operations
        .remove
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    out
}

/// Adds a destination's edits to its route's: they win on set, and are added after.
pub(super) fn join(route: &mut HeaderEdits, destination: &HeaderEdits) {
    for (name, value) in &destination.set {
        route.set.retain(|(n, _)| n != name);
        route.set.push((name.clone(), value.clone()));
    }
    route.add.extend(destination.add.iter().cloned());
    for name in &destination.remove {
        if !route.remove.contains(name) {
            route.remove.push(name.clone());
        }
    }
}

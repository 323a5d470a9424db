//! What Istio's admission refuses beyond the schema, and what we refuse because proxies would refuse it (one
//! such object would hold back a whole route table).

mod destination_rule;
mod format;
mod gateway;
mod names;
mod policies;
mod service_entry;
mod virtual_service;

use crate::object::Object;
use crate::problem::{Problem, Severity, code};

/// Adds every problem that the object has by itself.
pub(crate) fn object(object: &Object, problems: &mut Vec<Problem>) {
    let mut report = Report { problems };
    match object {
        Object::VirtualService(r) => virtual_service::validate(&r.spec, &mut report),
        Object::DestinationRule(r) => destination_rule::validate(&r.spec, &mut report),
        Object::Gateway(r) => gateway::validate(&r.spec, &mut report),
        Object::ServiceEntry(r) => service_entry::validate(&r.spec, &mut report),
        Object::WorkloadEntry(r) => service_entry::address("spec.address", &r.spec, &mut report),
        Object::Sidecar(r) => policies::sidecar(&r.spec, &mut report),
        Object::Other(r) => policies::untyped(&r.spec, &mut report),
        Object::PeerAuthentication(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Pod(_)
        | Object::Namespace(_) => {}
    }
}

/// Collects problems.
struct Report<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Report<'_> {
    fn error(&mut self, field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::invalid(field, message, remedy));
    }

    fn warn(&mut self, field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(
            code::SCHEMA_WARNING,
            Severity::Warning,
            field,
            message,
            remedy,
        ));
    }

    fn unreachable(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(
            code::UNREACHABLE_RULE,
            Severity::Warning,
            field,
            message,
            "move the rule before it, or remove it",
        ));
    }
}

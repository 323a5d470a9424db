//! Judging objects by what else is there.

mod destination_rule;
mod gateway;
mod policies;
mod references;
mod virtual_service;

use mesh_crd::Object;

use crate::problem::Findings;
use crate::{Problems, World};

/// Every problem of every object: of its own text (refused versions included) and of its references.
#[must_use]
pub fn analyze(world: &World) -> Problems {
    let index = world.index();
    let mut findings = Findings(world.parse_problems().clone());
    for (key, problems) in &index.findings.0 {
        for problem in problems {
            findings.add(key, problem.clone());
        }
    }
    for (key, object) in world.objects() {
        match object.as_ref() {
            Object::VirtualService(r) => virtual_service::check(world, index, key, r, &mut findings),
            Object::DestinationRule(r) => destination_rule::check(world, index, key, r, &mut findings),
            Object::Gateway(r) => gateway::check(world, index, key, r, &mut findings),
            Object::PeerAuthentication(r) => policies::peer_authentication(world, key, r, &mut findings),
            Object::Sidecar(r) => policies::sidecar(index, key, r, &mut findings),
            Object::ServiceEntry(r) => policies::service_entry(key, r, &mut findings),
            Object::Other(r) => policies::untyped(world, index, key, &r.spec, &mut findings),
            Object::Service(r) => policies::service(key, r, &mut findings),
            Object::WorkloadEntry(_) | Object::EndpointSlice(_) | Object::Pod(_) | Object::Namespace(_) => {}
        }
    }
    virtual_service::conflicts(world, index, &mut findings);
    gateway::conflicts(index, &mut findings);
    policies::several_telemetries(world, &mut findings);
    let mut problems = findings.0;
    for list in problems.values_mut() {
        list.sort_by(|a, b| (&a.field, a.code, &a.message).cmp(&(&b.field, b.code, &b.message)));
    }
    problems
}

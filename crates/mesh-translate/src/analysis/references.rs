//! References from a rule to services and subsets.

use mesh_crd::host;
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::networking::virtual_service::Destination;
use mesh_crd::problem::{Severity, code};
use mesh_crd::{ObjectKey, Problem};

use crate::World;
use crate::index::Index;
use crate::policy::{self, Client};
use crate::problem::Findings;
use crate::registry::MeshService;
use crate::scope;

/// A place in an object from which things are referred to.
pub(super) struct Place<'a> {
    pub(super) world: &'a World,
    pub(super) index: &'a Index,
    pub(super) key: &'a ObjectKey,
}

impl<'a> Place<'a> {
    /// The service of a host as seen from the object's namespace.
    pub(super) fn service(&self, name: &str) -> Option<&'a MeshService> {
        let host = host::expand(name, &self.key.namespace, MeshConfig::DOMAIN).to_ascii_lowercase();
        let service = self.index.registry.covering(&host)?;
        scope::exported(
            &service.export_to,
            &self.world.mesh().default_service_export_to,
            &service.namespace,
            &self.key.namespace,
        )
        .then_some(service.as_ref())
    }

    /// What a name with a dot was probably meant to be: `web.app` for `web.app.svc.cluster.local`.
    pub(super) fn probable(&self, name: &str) -> Option<&'a str> {
        if !name.contains('.') || name.contains('*') {
            return None;
        }
        let stem = name.trim_end_matches('.').trim_end_matches(".svc");
        let full = format!("{stem}.svc.{}", MeshConfig::DOMAIN);
        self.index.registry.by_host(&full).map(|s| s.host.as_str())
    }

    /// Host, subset and port of a destination at `field`.
    pub(super) fn destination(&self, field: &str, destination: &Destination, findings: &mut Findings) {
        let mut add = |code, severity, field: String, message: String, remedy: String| {
            findings.add(self.key, Problem::new(code, severity, field, message, remedy));
        };
        let Some(service) = self.service(&destination.host) else {
            let remedy = match self.probable(&destination.host) {
                Some(full) => format!("names with a dot are literal: write {full}"),
                None => "create the service or a ServiceEntry, or correct the name".into(),
            };
            return add(
                code::REFERENCED_RESOURCE_NOT_FOUND,
                Severity::Error,
                format!("{field}.host"),
                format!(
                    "Referenced host not found: {:?}; requests are answered 503 NC",
                    destination.host
                ),
                remedy,
            );
        };
        match destination.port {
            Some(port) => {
                let known = u16::try_from(port.number).is_ok_and(|p| service.port(p).is_some());
                if !known {
                    let ports: Vec<String> = service.ports.iter().map(|p| p.number.to_string()).collect();
                    add(
                        code::REFERENCED_RESOURCE_NOT_FOUND,
                        Severity::Error,
                        format!("{field}.port.number"),
                        format!(
                            "Referenced port not found: {} has no port {}; requests are answered 503 NC",
                            service.host, port.number
                        ),
                        format!("use one of {}", ports.join(", ")),
                    );
                }
            }
            None if service.ports.len() > 1 => add(
                code::DESTINATION_PORT_REQUIRED,
                Severity::Warning,
                field.to_owned(),
                format!(
                    "This VirtualService routes to a service ({}) that exposes multiple ports; the port that the request came to is used",
                    service.host
                ),
                "add port.number".into(),
            ),
            None => {}
        }
        if !destination.subset.is_empty() {
            self.subset(field, service, &destination.subset, findings);
        }
    }

    fn subset(&self, field: &str, service: &MeshService, subset: &str, findings: &mut Findings) {
        let labels = std::collections::BTreeMap::new();
        let client = Client {
            namespace: &self.key.namespace,
            labels: &labels,
        };
        let rule = policy::lookup(self.world, self.index, client, service);
        let names: Vec<&str> = rule.map_or(Vec::new(), |r| {
            r.subsets.iter().map(|s| s.name.as_str()).collect()
        });
        if names.contains(&subset) {
            return;
        }
        let remedy = match (rule, names.as_slice()) {
            (None, _) => format!("create a DestinationRule for {} with this subset", service.host),
            (Some(rule), []) => format!("add the subset to {}", list(&rule.keys)),
            (Some(rule), names) => format!(
                "use one of {}, or add the subset to {}",
                names.join(", "),
                list(&rule.keys)
            ),
        };
        findings.add(
            self.key,
            Problem::new(
                code::REFERENCED_RESOURCE_NOT_FOUND,
                Severity::Error,
                format!("{field}.subset"),
                format!(
                    "Referenced host+subset in destinationrule not found: \"{}+{subset}\"; requests are answered 503 NC",
                    service.host
                ),
                remedy,
            ),
        );
    }
}

/// `namespace/name, ...`
pub(super) fn list(keys: &[ObjectKey]) -> String {
    keys.iter()
        .map(|k| format!("{}/{}", k.namespace, k.name))
        .collect::<Vec<_>>()
        .join(", ")
}

//! Which resources are served: one table for the core kinds, `mesh_crd` for Istio's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mesh_crd::kinds;

/// The core kinds that have rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    Namespace,
    Service,
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    Event,
    EventsEvent,
    EndpointSlice,
    Lease,
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
    TokenReview,
    SelfSubjectReview,
    SubjectAccessReview,
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
}

/// Whose rules an object follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// A built-in kind of Kubernetes.
    Core(Core),
    /// An Istio kind, with the behaviour of a custom resource.
    Istio(&'static kinds::Kind),
}

/// One served resource.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) family: Family,
    pub(crate) group: &'static str,
    /// Preferred version first.
    pub(crate) versions: &'static [&'static str],
    pub(crate) storage_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    /// Only `create` is served; nothing is stored.
    pub(crate) virtual_only: bool,
    /// Where its objects are stored (`group/plural`).
    pub(crate) storage: &'static str,
    /// Whether an update without a resourceVersion is taken.
    pub(crate) unconditional_update: bool,
}

impl Resource {
    /// `virtualservices.networking.istio.io`, or `services` in the core group.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(crate) fn core(&self) -> Option<Core> {
        match self.family {
            Family::Core(core) => Some(core),
            Family::Istio(_) => None,
        }
    }

    pub(crate) fn is_istio(&self) -> bool {
        matches!(self.family, Family::Istio(_))
    }

    /// `v1`, or `group/version`.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// The verbs that discovery lists.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        if self.virtual_only {
            &["create"]
        } else if matches!(self.family, Family::Core(Core::Namespace)) {
            &["create", "delete", "get", "list", "patch", "update", "watch"]
        } else if self.is_istio() {
            &[
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "create",
                "update",
                "watch",
            ]
        } else {
            &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ]
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

const fn core(
    family: Core,
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    storage: &'static str,
) -> Resource {
    Resource {
        family: Family::Core(family),
        group,
        versions: &["v1"],
        storage_version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        has_status: false,
        virtual_only: false,
        storage,
        unconditional_update: true,
    }
}

const fn review(
    family: Core,
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Resource {
    Resource {
        virtual_only: true,
        namespaced: false,
        ..core(family, group, kind, plural, singular, "")
    }
}

static CORE: [Resource; 20] = [
    Resource {
        short_names: &["cm"],
        ..core(
            Core::ConfigMap,
            "",
            "ConfigMap",
            "configmaps",
            "configmap",
            "/configmaps",
        )
    },
    Resource {
        short_names: &["ev"],
        ..core(Core::Event, "", "Event", "events", "event", "/events")
    },
    Resource {
        short_names: &["ns"],
        namespaced: false,
        has_status: true,
        ..core(
            Core::Namespace,
            "",
            "Namespace",
            "namespaces",
            "namespace",
            "/namespaces",
        )
    },
    Resource {
        short_names: &["po"],
        categories: &["all"],
        has_status: true,
        ..core(Core::Pod, "", "Pod", "pods", "pod", "/pods")
    },
    core(Core::Secret, "", "Secret", "secrets", "secret", "/secrets"),
    Resource {
        short_names: &["sa"],
        ..core(
            Core::ServiceAccount,
            "",
            "ServiceAccount",
            "serviceaccounts",
            "serviceaccount",
            "/serviceaccounts",
        )
    },
    Resource {
        short_names: &["svc"],
        categories: &["all"],
        has_status: true,
        ..core(Core::Service, "", "Service", "services", "service", "/services")
    },
    review(
        Core::SelfSubjectReview,
        AUTHENTICATION,
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
    ),
    review(
        Core::TokenReview,
        AUTHENTICATION,
        "TokenReview",
        "tokenreviews",
        "tokenreview",
    ),
    Resource {
        namespaced: true,
        ..review(
            Core::LocalSubjectAccessReview,
            AUTHORIZATION,
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
        )
    },
    review(
        Core::SelfSubjectAccessReview,
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
    ),
    review(
        Core::SelfSubjectRulesReview,
        AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
    ),
    review(
        Core::SubjectAccessReview,
        AUTHORIZATION,
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
    ),
    Resource {
        unconditional_update: false,
        ..core(
            Core::Lease,
            "coordination.k8s.io",
            "Lease",
            "leases",
            "lease",
            "coordination.k8s.io/leases",
        )
    },
    core(
        Core::EndpointSlice,
        "discovery.k8s.io",
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
        "discovery.k8s.io/endpointslices",
    ),
    Resource {
        short_names: &["ev"],
        ..core(
            Core::EventsEvent,
            "events.k8s.io",
            "Event",
            "events",
            "event",
            "/events",
        )
    },
    Resource {
        namespaced: false,
        ..core(
            Core::ClusterRoleBinding,
            RBAC,
            "ClusterRoleBinding",
            "clusterrolebindings",
            "clusterrolebinding",
            "rbac.authorization.k8s.io/clusterrolebindings",
        )
    },
    Resource {
        namespaced: false,
        ..core(
            Core::ClusterRole,
            RBAC,
            "ClusterRole",
            "clusterroles",
            "clusterrole",
            "rbac.authorization.k8s.io/clusterroles",
        )
    },
    core(
        Core::RoleBinding,
        RBAC,
        "RoleBinding",
        "rolebindings",
        "rolebinding",
        "rbac.authorization.k8s.io/rolebindings",
    ),
    core(
        Core::Role,
        RBAC,
        "Role",
        "roles",
        "role",
        "rbac.authorization.k8s.io/roles",
    ),
];

fn istio(kind: &'static kinds::Kind, storage: &'static str) -> Resource {
    Resource {
        family: Family::Istio(kind),
        group: kind.group,
        versions: kind.versions,
        storage_version: kind.storage_version,
        kind: kind.kind,
        plural: kind.plural,
        singular: kind.singular,
        short_names: kind.short_names,
        categories: kind.categories,
        namespaced: kind.namespaced,
        has_status: true,
        virtual_only: false,
        storage,
        unconditional_update: false,
    }
}

static ALL: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let storage = |kind: &kinds::Kind| -> &'static str { format!("{}/{}", kind.group, kind.plural).leak() };
    CORE.iter()
        .cloned()
        .chain(kinds::ALL.iter().map(|kind| istio(kind, storage(kind))))
        .collect()
});

/// Every served resource.
pub(crate) fn all() -> &'static [Resource] {
    &ALL
}

/// The resource at a path, if that version of it is served.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter()
        .find(|r| r.group == group && r.plural == plural && r.versions.contains(&version))
}

/// The resource of a core kind.
pub(crate) fn of(core: Core) -> &'static Resource {
    // The table has a row for each; its first row is the answer that is never given.
    CORE.iter().find(|r| r.core() == Some(core)).unwrap_or(&CORE[0])
}

/// Groups other than the core one with their versions, preferred first, in the order of discovery.
pub(crate) fn groups() -> &'static BTreeMap<&'static str, Vec<&'static str>> {
    static GROUPS: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
        let mut groups: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for resource in ALL.iter().filter(|r| !r.group.is_empty()) {
            let versions = groups.entry(resource.group).or_default();
            for version in resource.versions {
                if !versions.contains(version) {
                    versions.push(version);
                }
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| priority(version));
        }
        groups
    });
    &GROUPS
}

/// Stable before beta before alpha, higher numbers first.
fn priority(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>) {
    let number = |text: &str| {
        text.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap_or(0)
    };
    let major = number(version.trim_start_matches('v'));
    if let Some((_, minor)) = version.split_once("beta") {
        (1, std::cmp::Reverse(major), std::cmp::Reverse(number(minor)))
    } else if let Some((_, minor)) = version.split_once("alpha") {
        (2, std::cmp::Reverse(major), std::cmp::Reverse(number(minor)))
    } else {
        (0, std::cmp::Reverse(major), std::cmp::Reverse(0))
    }
}

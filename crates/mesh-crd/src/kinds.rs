//! The Istio kinds as an API server publishes them.

/// One kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group.
    pub group: &'static str,
    /// Served versions, the storage version included, in the order in which discovery lists them.
    pub versions: &'static [&'static str],
    /// Version in which objects are stored.
    pub storage_version: &'static str,
    /// CamelCase kind.
    pub kind: &'static str,
    /// Kind of a list.
    pub list_kind: &'static str,
    /// Plural resource name, as in paths.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Short names.
    pub short_names: &'static [&'static str],
    /// Categories (`kubectl get istio-io`).
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace (all Istio kinds do).
    pub namespaced: bool,
    /// Whether `spec` is required at the top.
    pub spec_required: bool,
    /// Columns of a table answer after NAME.
    pub columns: &'static [Column],
}

/// A printer column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading as in the CRD (`Gateways`); tables print it in upper case.
    pub name: &'static str,
    /// `string` or `date`.
    pub kind: &'static str,
    /// JSON path, `.spec.hosts`.
    pub json_path: &'static str,
    /// Description.
    pub description: &'static str,
}

impl Kind {
    /// The kind called `kind` (`VirtualService`).
    #[must_use]
    pub fn by_kind(kind: &str) -> Option<&'static Self> {
        ALL.iter().find(|k| k.kind == kind)
    }

    /// The kind at `group`, `plural`.
    #[must_use]
    pub fn by_resource(group: &str, plural: &str) -> Option<&'static Self> {
        ALL.iter().find(|k| k.group == group && k.plural == plural)
    }

    /// The kind for an `apiVersion` and `kind`, if that version is served.
    #[must_use]
    pub fn by_api_version(api_version: &str, kind: &str) -> Option<&'static Self> {
        let (group, version) = api_version.split_once('/')?;
        ALL.iter()
            .find(|k| k.kind == kind && k.group == group && k.versions.contains(&version))
    }

    /// `group/storage version`.
    #[must_use]
    pub fn storage_api_version(&self) -> String {
        format!("{}/{}", self.group, self.storage_version)
    }
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";

const V1_BETA_ALPHA: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const V1_BETA: &[&str] = &["v1", "v1beta1"];

const AGE: Column = Column {
    name: "Age",
    kind: "date",
    json_path: ".metadata.creationTimestamp",
    description: "When the object was created",
};

const fn text(name: &'static str, json_path: &'static str, description: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        json_path,
        description,
    }
}

const NETWORKING_CATEGORIES: &[&str] = &["istio-io", "networking-istio-io"];
const SECURITY_CATEGORIES: &[&str] = &["istio-io", "security-istio-io"];

const BASE: Kind = Kind {
    group: NETWORKING,
    versions: V1_BETA_ALPHA,
    storage_version: "v1",
    kind: "",
    list_kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    spec_required: false,
    columns: &[AGE],
};

/// Every Istio kind, in alphabetical order of the kind.
pub const ALL: &[Kind] = &[
    Kind {
        group: SECURITY,
        versions: V1_BETA,
        kind: "AuthorizationPolicy",
        list_kind: "AuthorizationPolicyList",
        plural: "authorizationpolicies",
        singular: "authorizationpolicy",
        short_names: &["ap"],
        categories: SECURITY_CATEGORIES,
        columns: &[text("Action", ".spec.action", "The operation to take."), AGE],
        ..BASE
    },
    Kind {
        kind: "DestinationRule",
        list_kind: "DestinationRuleList",
        plural: "destinationrules",
        singular: "destinationrule",
        short_names: &["dr"],
        columns: &[
            text("Host", ".spec.host", "The service that the rule is for"),
            AGE,
        ],
        ..BASE
    },
    Kind {
        versions: &["v1alpha3"],
        storage_version: "v1alpha3",
        kind: "EnvoyFilter",
        list_kind: "EnvoyFilterList",
        plural: "envoyfilters",
        singular: "envoyfilter",
        ..BASE
    },
    Kind {
        kind: "Gateway",
        list_kind: "GatewayList",
        plural: "gateways",
        singular: "gateway",
        short_names: &["gw"],
        ..BASE
    },
    Kind {
        group: SECURITY,
        versions: V1_BETA,
        kind: "PeerAuthentication",
        list_kind: "PeerAuthenticationList",
        plural: "peerauthentications",
        singular: "peerauthentication",
        short_names: &["pa"],
        categories: SECURITY_CATEGORIES,
        columns: &[text("Mode", ".spec.mtls.mode", "The mutual TLS mode."), AGE],
        ..BASE
    },
    Kind {
        versions: &["v1beta1"],
        storage_version: "v1beta1",
        kind: "ProxyConfig",
        list_kind: "ProxyConfigList",
        plural: "proxyconfigs",
        singular: "proxyconfig",
        ..BASE
    },
    Kind {
        group: SECURITY,
        versions: V1_BETA,
        kind: "RequestAuthentication",
        list_kind: "RequestAuthenticationList",
        plural: "requestauthentications",
        singular: "requestauthentication",
        short_names: &["ra"],
        categories: SECURITY_CATEGORIES,
        ..BASE
    },
    Kind {
        kind: "ServiceEntry",
        list_kind: "ServiceEntryList",
        plural: "serviceentries",
        singular: "serviceentry",
        short_names: &["se"],
        spec_required: true,
        columns: &[
            text("Hosts", ".spec.hosts", "The hosts of the entry"),
            text(
                "Location",
                ".spec.location",
                "Whether the service is outside the mesh or part of it (MESH_EXTERNAL or MESH_INTERNAL)",
            ),
            text(
                "Resolution",
                ".spec.resolution",
                "How the hosts are resolved (NONE, STATIC, or DNS)",
            ),
            AGE,
        ],
        ..BASE
    },
    Kind {
        kind: "Sidecar",
        list_kind: "SidecarList",
        plural: "sidecars",
        singular: "sidecar",
        ..BASE
    },
    Kind {
        group: TELEMETRY,
        versions: &["v1", "v1alpha1"],
        storage_version: "v1alpha1",
        kind: "Telemetry",
        list_kind: "TelemetryList",
        plural: "telemetries",
        singular: "telemetry",
        short_names: &["telemetry"],
        categories: &["istio-io", "telemetry-istio-io"],
        ..BASE
    },
    Kind {
        group: EXTENSIONS,
        versions: &["v1alpha1"],
        storage_version: "v1alpha1",
        kind: "TrafficExtension",
        list_kind: "TrafficExtensionList",
        plural: "trafficextensions",
        singular: "trafficextension",
        categories: &["istio-io", "extensions-istio-io"],
        spec_required: true,
        ..BASE
    },
    Kind {
        kind: "VirtualService",
        list_kind: "VirtualServiceList",
        plural: "virtualservices",
        singular: "virtualservice",
        short_names: &["vs"],
        columns: &[
            text(
                "Gateways",
                ".spec.gateways",
                "The gateways and sidecars that apply these routes",
            ),
            text("Hosts", ".spec.hosts", "The hosts that the routes are for"),
            AGE,
        ],
        ..BASE
    },
    Kind {
        group: EXTENSIONS,
        versions: &["v1alpha1"],
        storage_version: "v1alpha1",
        kind: "WasmPlugin",
        list_kind: "WasmPluginList",
        plural: "wasmplugins",
        singular: "wasmplugin",
        categories: &["istio-io", "extensions-istio-io"],
        spec_required: true,
        ..BASE
    },
    Kind {
        kind: "WorkloadEntry",
        list_kind: "WorkloadEntryList",
        plural: "workloadentries",
        singular: "workloadentry",
        short_names: &["we"],
        spec_required: true,
        columns: &[
            AGE,
            text("Address", ".spec.address", "The address of the endpoint."),
        ],
        ..BASE
    },
    Kind {
        kind: "WorkloadGroup",
        list_kind: "WorkloadGroupList",
        plural: "workloadgroups",
        singular: "workloadgroup",
        short_names: &["wg"],
        spec_required: true,
        ..BASE
    },
];

//! What the kinds are for, in a sentence each: `kubectl explain` shows it.

/// Of a kind.
pub(super) fn kind(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AuthorizationPolicy" => "Which callers may do what with workloads.",
        "DestinationRule" => {
            "How traffic to a host is treated once its route is chosen: subsets, load balancing, connection pools, TLS."
        }
        "EnvoyFilter" => "Changes to the configuration that proxies are sent.",
        "Gateway" => "Ports and hosts at which gateways take traffic, and their TLS.",
        "PeerAuthentication" => "Whether workloads take traffic with mutual TLS, without it, or both.",
        "ProxyConfig" => "Settings of the proxies of workloads.",
        "RequestAuthentication" => "Which tokens of end users workloads take.",
        "ServiceEntry" => "A service that the registry does not know, outside or inside the mesh.",
        "Sidecar" => "What the proxies of workloads take in and where they may go.",
        "Telemetry" => "What workloads report: metrics, traces and access logs.",
        "VirtualService" => {
            "Where the requests to hosts go: matches, weights, rewrites, retries, timeouts, faults."
        }
        "WasmPlugin" => "An extension that proxies run.",
        "WorkloadEntry" => "One workload that is not a pod.",
        "WorkloadGroup" => "What workloads that are not pods have in common.",
        "ConfigMap" => "Settings as text by name.",
        "Event" => "Something that happened to an object; kept for an hour.",
        "Namespace" => "A space of names, with what lives in it.",
        "Pod" => "A workload: what runs at one address.",
        "Secret" => "Confidential data by name.",
        "Service" => "A name and ports for a set of workloads.",
        "ServiceAccount" => "The identity of workloads.",
        "EndpointSlice" => "Addresses behind a service.",
        "Lease" => "Who holds a role among several, until when.",
        "Role" => "Rights inside a namespace.",
        "ClusterRole" => "Rights everywhere, or for namespaces to choose.",
        "RoleBinding" => "Who has which role in a namespace.",
        "ClusterRoleBinding" => "Who has which role everywhere.",
        _ => return None,
    })
}

/// Of the fields that every object has at the top.
pub(super) fn top(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => "Group and version of the API in which the object is written.",
        "kind" => "What the object is.",
        "metadata" => "Name, labels, annotations and what the server notes of the object.",
        "spec" => "What is wanted.",
        "status" => "What is found to be so.",
        _ => return None,
    })
}

//! Dashboards of traffic: mesh, service, workload, route, gateway.

use super::{Dashboard, Kind, Panel, Variable, one, panel, quantile, quantiles, rate, row, success};

const REQUESTS: &str = "istio_requests_total";
const DURATION: &str = "istio_request_duration_milliseconds";
/// Each request once: as its client's proxy saw it (a gateway reports as source, too).
const SOURCE: &str = r#"reporter=~"source|waypoint""#;

const NAMESPACE: Variable = Variable {
    name: "namespace",
    label: "Namespace",
    query: "label_values(istio_requests_total, destination_workload_namespace)",
};
const REPORTER: Variable = Variable {
    name: "reporter",
    label: "Reporter",
    query: "label_values(istio_requests_total, reporter)",
};
const SERVICE: Variable = Variable {
    name: "service",
    label: "Service",
    query: "label_values(istio_requests_total, destination_service)",
};
const WORKLOAD: Variable = Variable {
    name: "workload",
    label: "Workload",
    query: r#"label_values(istio_requests_total{destination_workload_namespace=~"$namespace"}, destination_workload)"#,
};

pub(super) fn mesh() -> Dashboard {
    let by = "destination_service, destination_workload, destination_workload_namespace";
    Dashboard {
        uid: "sightline-mesh",
        title: "Sightline / Mesh",
        description: "The whole mesh: golden signals, services, TCP.",
        variables: vec![],
        rows: vec![
            row(
                "Golden signals",
                vec![
                    panel(
                        "Requests",
                        "reqps",
                        Kind::Stat,
                        one(rate(REQUESTS, SOURCE, ""), ""),
                    ),
                    panel(
                        "Success",
                        "percentunit",
                        Kind::Stat,
                        one(success(REQUESTS, SOURCE, ""), ""),
                    )
                    .note("No answer and 5xx are errors; 4xx are not."),
                    panel(
                        "4xx",
                        "reqps",
                        Kind::Stat,
                        one(
                            format!(
                                "{} or vector(0)",
                                rate(REQUESTS, &format!(r#"{SOURCE},response_code=~"4..""#), "")
                            ),
                            "",
                        ),
                    ),
                    panel(
                        "5xx",
                        "reqps",
                        Kind::Stat,
                        one(
                            format!(
                                "{} or vector(0)",
                                rate(REQUESTS, &format!(r#"{SOURCE},response_code=~"5..|0""#), "")
                            ),
                            "",
                        ),
                    ),
                    panel(
                        "p95",
                        "ms",
                        Kind::Stat,
                        one(quantile("0.95", DURATION, SOURCE, ""), ""),
                    ),
                    panel(
                        "Mutual TLS",
                        "percentunit",
                        Kind::Stat,
                        one(
                            format!(
                                "{} / {}",
                                rate(
                                    REQUESTS,
                                    r#"reporter="destination",connection_security_policy="mutual_tls""#,
                                    ""
                                ),
                                rate(REQUESTS, r#"reporter="destination""#, "")
                            ),
                            "",
                        ),
                    )
                    .note("Share of requests at servers' sidecars that came over mutual TLS."),
                ],
            ),
            row(
                "Traffic",
                vec![
                    panel(
                        "Requests by service",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, SOURCE, "destination_service_name"),
                            "{{destination_service_name}}",
                        ),
                    ),
                    panel(
                        "Requests by code",
                        "reqps",
                        Kind::Stacked,
                        one(rate(REQUESTS, SOURCE, "response_code"), "{{response_code}}"),
                    ),
                    panel("Duration", "ms", Kind::Lines, quantiles(DURATION, SOURCE)),
                    panel(
                        "HTTP and gRPC services",
                        "short",
                        Kind::Table,
                        vec![
                            (rate(REQUESTS, SOURCE, by), "requests/s"),
                            (quantile("0.50", DURATION, SOURCE, by), "p50 ms"),
                            (quantile("0.95", DURATION, SOURCE, by), "p95 ms"),
                            (quantile("0.99", DURATION, SOURCE, by), "p99 ms"),
                            (success(REQUESTS, SOURCE, by), "success"),
                        ],
                    ),
                ],
            ),
            row("TCP", tcp_panels(SOURCE, "destination_service_name")),
        ],
    }
}

/// TCP by one label. Istio counts bytes from the server's side: sent is toward the client.
fn tcp_panels(matchers: &str, by: &'static str) -> Vec<Panel> {
    let legend = match by {
        "source_workload" => "{{source_workload}}",
        "destination_workload" => "{{destination_workload}}",
        _ => "{{destination_service_name}}",
    };
    let line = |metric: &str| one(rate(metric, matchers, by), legend);
    vec![
        panel(
            "TCP bytes to clients",
            "Bps",
            Kind::Lines,
            line("istio_tcp_sent_bytes_total"),
        ),
        panel(
            "TCP bytes from clients",
            "Bps",
            Kind::Lines,
            line("istio_tcp_received_bytes_total"),
        ),
        panel(
            "TCP connections opened",
            "cps",
            Kind::Lines,
            line("istio_tcp_connections_opened_total"),
        ),
        panel(
            "TCP connections closed",
            "cps",
            Kind::Lines,
            line("istio_tcp_connections_closed_total"),
        ),
    ]
}

pub(super) fn service() -> Dashboard {
    let matchers = r#"reporter=~"$reporter",destination_service=~"$service""#;
    Dashboard {
        uid: "sightline-service",
        title: "Sightline / Service",
        description: "One service: who calls it, what answers.",
        variables: vec![SERVICE, REPORTER],
        rows: vec![
            row("Service", signals(matchers)),
            row(
                "Clients",
                vec![
                    panel(
                        "Requests by client",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, matchers, "source_workload, source_workload_namespace"),
                            "{{source_workload_namespace}}/{{source_workload}}",
                        ),
                    ),
                    panel(
                        "Success by client",
                        "percentunit",
                        Kind::Lines,
                        one(
                            success(REQUESTS, matchers, "source_workload, source_workload_namespace"),
                            "{{source_workload_namespace}}/{{source_workload}}",
                        ),
                    ),
                    panel(
                        "p95 by client",
                        "ms",
                        Kind::Lines,
                        one(
                            quantile("0.95", DURATION, matchers, "source_workload"),
                            "{{source_workload}}",
                        ),
                    ),
                ],
            ),
            row(
                "Workloads behind it",
                vec![
                    panel(
                        "Requests by workload",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, matchers, "destination_workload, destination_version"),
                            "{{destination_workload}}",
                        ),
                    ),
                    panel(
                        "Success by workload",
                        "percentunit",
                        Kind::Lines,
                        one(
                            success(REQUESTS, matchers, "destination_workload"),
                            "{{destination_workload}}",
                        ),
                    ),
                    panel(
                        "p95 by workload",
                        "ms",
                        Kind::Lines,
                        one(
                            quantile("0.95", DURATION, matchers, "destination_workload"),
                            "{{destination_workload}}",
                        ),
                    ),
                ],
            ),
            row("TCP", tcp_panels(matchers, "source_workload")),
        ],
    }
}

/// Rate, success, latency, sizes of what the matchers choose.
fn signals(matchers: &str) -> Vec<Panel> {
    vec![
        panel(
            "Requests by code",
            "reqps",
            Kind::Stacked,
            one(
                rate(REQUESTS, matchers, "response_code, response_flags"),
                "{{response_code}} {{response_flags}}",
            ),
        ),
        panel(
            "Success",
            "percentunit",
            Kind::Lines,
            one(success(REQUESTS, matchers, ""), "success"),
        ),
        panel("Duration", "ms", Kind::Lines, quantiles(DURATION, matchers)),
        panel(
            "Request size",
            "bytes",
            Kind::Lines,
            quantiles("istio_request_bytes", matchers),
        ),
        panel(
            "Response size",
            "bytes",
            Kind::Lines,
            quantiles("istio_response_bytes", matchers),
        ),
        panel(
            "gRPC messages",
            "ops",
            Kind::Lines,
            vec![
                (rate("istio_request_messages_total", matchers, ""), "from clients"),
                (rate("istio_response_messages_total", matchers, ""), "to clients"),
            ],
        ),
    ]
}

pub(super) fn workload() -> Dashboard {
    let inbound = r#"reporter=~"$reporter",destination_workload_namespace=~"$namespace",destination_workload=~"$workload""#;
    let outbound =
        r#"reporter="source",source_workload_namespace=~"$namespace",source_workload=~"$workload""#;
    Dashboard {
        uid: "sightline-workload",
        title: "Sightline / Workload",
        description: "One workload: what comes in, what goes out.",
        variables: vec![NAMESPACE, WORKLOAD, REPORTER],
        rows: vec![
            row("Inbound", signals(inbound)),
            row(
                "Callers",
                vec![
                    panel(
                        "Requests by caller",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, inbound, "source_workload, source_workload_namespace"),
                            "{{source_workload_namespace}}/{{source_workload}}",
                        ),
                    ),
                    panel(
                        "p95 by caller",
                        "ms",
                        Kind::Lines,
                        one(
                            quantile("0.95", DURATION, inbound, "source_workload"),
                            "{{source_workload}}",
                        ),
                    ),
                    panel(
                        "Requests by security",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(
                                REQUESTS,
                                r#"reporter="destination",destination_workload_namespace=~"$namespace",destination_workload=~"$workload""#,
                                "connection_security_policy",
                            ),
                            "{{connection_security_policy}}",
                        ),
                    ),
                ],
            ),
            row(
                "Outbound",
                vec![
                    panel(
                        "Requests by service called",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, outbound, "destination_service"),
                            "{{destination_service}}",
                        ),
                    ),
                    panel(
                        "Success by service called",
                        "percentunit",
                        Kind::Lines,
                        one(
                            success(REQUESTS, outbound, "destination_service"),
                            "{{destination_service}}",
                        ),
                    ),
                    panel(
                        "p95 by service called",
                        "ms",
                        Kind::Lines,
                        one(
                            quantile("0.95", DURATION, outbound, "destination_service"),
                            "{{destination_service}}",
                        ),
                    ),
                ],
            ),
            row("TCP", tcp_panels(inbound, "destination_workload")),
        ],
    }
}

pub(super) fn route() -> Dashboard {
    const METRIC: &str = "sightline_route_requests_total";
    const TIME: &str = "sightline_route_request_duration_milliseconds";
    let matchers = r#"reporter="source",virtual_service=~"$virtual_service""#;
    let by = "virtual_service, route, match";
    let legend = "{{virtual_service}} {{route}} {{match}}";
    Dashboard {
        uid: "sightline-route",
        title: "Sightline / Route",
        description: "Traffic by the VirtualService rule and match that decided it.",
        variables: vec![Variable {
            name: "virtual_service",
            label: "VirtualService",
            query: "label_values(sightline_route_requests_total, virtual_service)",
        }],
        rows: vec![
            row(
                "Rules",
                vec![
                    panel(
                        "Requests by rule",
                        "reqps",
                        Kind::Stacked,
                        one(rate(METRIC, matchers, by), legend),
                    ),
                    panel(
                        "Success by rule",
                        "percentunit",
                        Kind::Lines,
                        one(success(METRIC, matchers, by), legend),
                    ),
                    panel(
                        "p95 by rule",
                        "ms",
                        Kind::Lines,
                        one(quantile("0.95", TIME, matchers, by), legend),
                    ),
                    panel(
                        "Rules in numbers",
                        "short",
                        Kind::Table,
                        vec![
                            (rate(METRIC, matchers, by), "requests/s"),
                            (quantile("0.50", TIME, matchers, by), "p50 ms"),
                            (quantile("0.95", TIME, matchers, by), "p95 ms"),
                            (success(METRIC, matchers, by), "success"),
                        ],
                    ),
                ],
            ),
            row(
                "Where it goes",
                vec![
                    panel(
                        "Split by version",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(METRIC, matchers, "destination_service, destination_version"),
                            "{{destination_service}} {{destination_version}}",
                        ),
                    ),
                    panel(
                        "Share by version",
                        "percentunit",
                        Kind::Lines,
                        one(
                            format!(
                                "{} / on (destination_service) group_left {}",
                                rate(METRIC, matchers, "destination_service, destination_version"),
                                rate(METRIC, matchers, "destination_service"),
                            ),
                            "{{destination_service}} {{destination_version}}",
                        ),
                    ),
                    panel(
                        "Requests by flags",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(METRIC, matchers, "response_code, response_flags"),
                            "{{response_code}} {{response_flags}}",
                        ),
                    ),
                ],
            ),
        ],
    }
}

pub(super) fn gateway() -> Dashboard {
    let matchers = r#"reporter="source",source_workload=~"$gateway""#;
    Dashboard {
        uid: "sightline-gateway",
        title: "Sightline / Gateway",
        description: "What enters the mesh through a gateway.",
        variables: vec![Variable {
            name: "gateway",
            label: "Gateway",
            query: r#"label_values(istio_requests_total{source_workload=~".*gateway.*"}, source_workload)"#,
        }],
        rows: vec![
            row("Gateway", signals(matchers)),
            row(
                "Services behind it",
                vec![
                    panel(
                        "Requests by service",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(REQUESTS, matchers, "destination_service"),
                            "{{destination_service}}",
                        ),
                    ),
                    panel(
                        "p95 by service",
                        "ms",
                        Kind::Lines,
                        one(
                            quantile("0.95", DURATION, matchers, "destination_service"),
                            "{{destination_service}}",
                        ),
                    ),
                    panel(
                        "Answered by the gateway itself",
                        "reqps",
                        Kind::Stacked,
                        one(
                            rate(
                                REQUESTS,
                                &format!(r#"{matchers},destination_workload="unknown""#),
                                "response_code, response_flags",
                            ),
                            "{{response_code}} {{response_flags}}",
                        ),
                    )
                    .note("Redirects, direct responses, no route, no healthy endpoint."),
                ],
            ),
        ],
    }
}

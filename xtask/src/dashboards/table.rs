//! What each dashboard shows.

/// A dashboard.
pub(super) struct Dashboard {
    /// File name and Grafana's uid.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Variable>,
    pub(super) rows: Vec<Row>,
}

/// A choice at the top, filled from label values.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) query: &'static str,
}

/// Panels below one heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// How a panel is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stat,
    Lines,
    Stacked,
    Table,
}

/// One panel.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// Grafana's unit id.
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
    pub(super) queries: Vec<Query>,
}

/// One line (or column) of a panel.
pub(super) struct Query {
    pub(super) expr: String,
    pub(super) legend: &'static str,
}

fn panel(title: &'static str, unit: &'static str, kind: Kind, queries: Vec<(String, &'static str)>) -> Panel {
    Panel {
        title,
        description: "",
        unit,
        kind,
        queries: queries
            .into_iter()
            .map(|(expr, legend)| Query { expr, legend })
            .collect(),
    }
}

impl Panel {
    fn note(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }
}

fn row(title: &'static str, panels: Vec<Panel>) -> Row {
    Row { title, panels }
}

fn one(expr: impl Into<String>, legend: &'static str) -> Vec<(String, &'static str)> {
    vec![(expr.into(), legend)]
}

/// Per-second rate of a counter, summed by labels (`""`: by none).
fn rate(metric: &str, matchers: &str, by: &str) -> String {
    let rate = format!("rate({metric}{{{matchers}}}[$__rate_interval])");
    if by.is_empty() {
        format!("sum({rate})")
    } else {
        format!("sum by ({by}) ({rate})")
    }
}

/// Share (0 to 1) of answers that are no errors; nothing where there is no traffic.
fn success(metric: &str, matchers: &str, by: &str) -> String {
    let good = format!(r#"{matchers},response_code!~"5..|0""#);
    format!("{} / {}", rate(metric, &good, by), rate(metric, matchers, by))
}

/// A quantile of a histogram, by labels.
fn quantile(q: &str, metric: &str, matchers: &str, by: &str) -> String {
    let by = if by.is_empty() {
        "le".to_owned()
    } else {
        format!("le, {by}")
    };
    format!(
        "histogram_quantile({q}, {})",
        rate(&format!("{metric}_bucket"), matchers, &by)
    )
}

/// The three quantiles as three lines.
fn quantiles(metric: &str, matchers: &str) -> Vec<(String, &'static str)> {
    vec![
        (quantile("0.50", metric, matchers, ""), "p50"),
        (quantile("0.95", metric, matchers, ""), "p95"),
        (quantile("0.99", metric, matchers, ""), "p99"),
    ]
}

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

/// All of them.
pub(super) fn dashboards() -> Vec<Dashboard> {
    vec![
        mesh(),
        service(),
        workload(),
        route(),
        gateway(),
        control_plane(),
        proxy(),
    ]
}

fn mesh() -> Dashboard {
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

fn service() -> Dashboard {
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

fn workload() -> Dashboard {
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

fn route() -> Dashboard {
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

fn gateway() -> Dashboard {
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

fn control_plane() -> Dashboard {
    Dashboard {
        uid: "sightline-control-plane",
        title: "Sightline / Control plane",
        description: "Discovery, certificates, validation, telemetry and history of the control plane.",
        variables: vec![],
        rows: vec![
            row("Discovery", discovery_panels()),
            row(
                "Configuration",
                vec![
                    panel(
                        "Objects",
                        "short",
                        Kind::Lines,
                        vec![
                            ("sum(pilot_services)".into(), "services"),
                            ("sum(pilot_virt_services)".into(), "VirtualServices"),
                        ],
                    ),
                    panel(
                        "Configuration events",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("pilot_k8s_cfg_events", "", "type, event"),
                            "{{type}} {{event}}",
                        ),
                    ),
                    panel(
                        "Registry events",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("pilot_k8s_reg_events", "", "type, event"),
                            "{{type}} {{event}}",
                        ),
                    ),
                    panel(
                        "Validation",
                        "short",
                        Kind::Lines,
                        vec![
                            ("sum(galley_validation_passed)".into(), "passed"),
                            ("sum(galley_validation_failed)".into(), "failed"),
                        ],
                    ),
                    panel(
                        "Certificates",
                        "ops",
                        Kind::Lines,
                        vec![
                            (rate("citadel_server_csr_count", "", ""), "requests"),
                            (
                                rate("citadel_server_success_cert_issuance_count", "", ""),
                                "signed",
                            ),
                            (
                                rate("citadel_server_authentication_failure_count", "", ""),
                                "refused",
                            ),
                        ],
                    ),
                    panel(
                        "Root certificate expires in",
                        "s",
                        Kind::Stat,
                        one("min(citadel_server_root_cert_expiry_timestamp) - time()", ""),
                    ),
                ],
            ),
            row(
                "Telemetry and history",
                vec![
                    panel(
                        "Telemetry batches",
                        "ops",
                        Kind::Lines,
                        vec![
                            (rate("sightline_telemetry_batches_total", "", ""), "committed"),
                            (
                                rate("sightline_telemetry_duplicate_batches_total", "", ""),
                                "known already",
                            ),
                            (
                                rate("sightline_telemetry_refused_batches_total", "", ""),
                                "refused",
                            ),
                        ],
                    ),
                    panel(
                        "History",
                        "bytes",
                        Kind::Lines,
                        one("sum(sightline_history_bytes)", "bytes"),
                    ),
                    panel(
                        "Recording",
                        "bool_yes_no",
                        Kind::Stat,
                        one("min(sightline_history_recording)", ""),
                    ),
                ],
            ),
            row("Process", process_panels(r#"job=~".*controlplane.*""#)),
        ],
    }
}

fn discovery_panels() -> Vec<Panel> {
    vec![
        panel(
            "Connected proxies",
            "short",
            Kind::Stat,
            one("sum(pilot_xds)", ""),
        ),
        panel(
            "Refused by proxies",
            "short",
            Kind::Stat,
            one("sum(pilot_total_xds_rejects)", ""),
        ),
        panel(
            "Pushes",
            "ops",
            Kind::Stacked,
            one(rate("pilot_xds_pushes", "", "type"), "{{type}}"),
        ),
        panel(
            "Push time",
            "s",
            Kind::Lines,
            vec![
                (quantile("0.50", "pilot_xds_push_time", "", ""), "p50"),
                (quantile("0.99", "pilot_xds_push_time", "", ""), "p99"),
            ],
        ),
        panel(
            "Change to acknowledged",
            "s",
            Kind::Lines,
            vec![
                (quantile("0.50", "pilot_proxy_convergence_time", "", ""), "p50"),
                (quantile("0.99", "pilot_proxy_convergence_time", "", ""), "p99"),
            ],
        ),
        panel(
            "Time in the push queue",
            "s",
            Kind::Lines,
            one(quantile("0.99", "pilot_proxy_queue_time", "", ""), "p99"),
        ),
        panel(
            "Push triggers",
            "ops",
            Kind::Stacked,
            one(rate("pilot_push_triggers", "", "type"), "{{type}}"),
        ),
        panel(
            "Configuration size",
            "bytes",
            Kind::Lines,
            one(
                quantile("0.99", "pilot_xds_config_size_bytes", "", "type"),
                "{{type}}",
            ),
        ),
        panel(
            "Internal errors",
            "ops",
            Kind::Lines,
            one(rate("pilot_total_xds_internal_errors", "", ""), "errors"),
        ),
    ]
}

fn process_panels(matchers: &str) -> Vec<Panel> {
    vec![
        panel(
            "CPU",
            "short",
            Kind::Lines,
            one(
                format!("rate(process_cpu_seconds_total{{{matchers}}}[$__rate_interval])"),
                "{{instance}}",
            ),
        ),
        panel(
            "Memory",
            "bytes",
            Kind::Lines,
            one(
                format!("process_resident_memory_bytes{{{matchers}}}"),
                "{{instance}}",
            ),
        ),
        panel(
            "Open files",
            "short",
            Kind::Lines,
            one(format!("process_open_fds{{{matchers}}}"), "{{instance}}"),
        ),
    ]
}

fn proxy() -> Dashboard {
    Dashboard {
        uid: "sightline-proxy",
        title: "Sightline / Proxy",
        description: "The proxies themselves: configuration, certificates, retries, telemetry.",
        variables: vec![],
        rows: vec![
            row(
                "Configuration",
                vec![
                    panel(
                        "Age of the configuration",
                        "s",
                        Kind::Lines,
                        one("sightline_proxy_config_age_seconds", "{{instance}}"),
                    ),
                    panel(
                        "Revisions in force",
                        "short",
                        Kind::Stacked,
                        one(
                            "count by (revision) (sightline_proxy_config_revision_info)",
                            "{{revision}}",
                        ),
                    ),
                    panel(
                        "Certificate expires in",
                        "s",
                        Kind::Lines,
                        one("sightline_proxy_certificate_expiry_seconds", "{{instance}}"),
                    ),
                    panel(
                        "Versions",
                        "short",
                        Kind::Stacked,
                        one("count by (component, tag) (istio_build)", "{{component}} {{tag}}"),
                    ),
                ],
            ),
            row(
                "Traffic care",
                vec![
                    panel(
                        "Retries",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("sightline_proxy_retries_total", "", "instance"),
                            "{{instance}}",
                        ),
                    ),
                    panel(
                        "Ejections",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("sightline_proxy_ejections_total", "", "instance"),
                            "{{instance}}",
                        ),
                    ),
                    panel(
                        "Policy decisions",
                        "ops",
                        Kind::Stacked,
                        one(
                            rate("sightline_authz_decisions_total", "", "policy, decision"),
                            "{{policy}} {{decision}}",
                        ),
                    ),
                ],
            ),
            row(
                "Telemetry",
                vec![
                    panel(
                        "Telemetry given up",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("sightline_proxy_telemetry_dropped_total", "", "instance"),
                            "{{instance}}",
                        ),
                    ),
                    panel(
                        "Counted under other",
                        "ops",
                        Kind::Lines,
                        one(
                            rate("sightline_proxy_series_overflowed_total", "", "instance"),
                            "{{instance}}",
                        ),
                    ),
                ],
            ),
            row("Process", process_panels(r#"job=~".*prox.*""#)),
        ],
    }
}

//! Dashboards of the mesh's own parts: control plane, proxies.

use super::{Dashboard, Kind, Panel, one, panel, quantile, rate, row};

pub(super) fn control_plane() -> Dashboard {
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

pub(super) fn proxy() -> Dashboard {
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
        ],
    }
}

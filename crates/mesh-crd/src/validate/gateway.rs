//! Gateway.

use std::net::IpAddr;

use super::{Report, names};
use crate::networking::Gateway;
use crate::networking::gateway::{Server, ServerTls, ServerTlsMode};
use crate::parse::is_dns_label;

const PROTOCOLS: &[&str] = &[
    "HTTP",
    "HTTP2",
    "GRPC",
    "GRPC-WEB",
    "MONGO",
    "REDIS",
    "MYSQL",
    "TCP",
    "HTTPS",
    "TLS",
    "HTTP_PROXY",
];

pub(super) fn validate(spec: &Gateway, report: &mut Report<'_>) {
    if spec.servers.is_empty() {
        report.error(
            "spec.servers",
            "gateway must have at least one server",
            "add a server",
        );
    }
    for (i, server) in spec.servers.iter().enumerate() {
        let at = format!("spec.servers[{i}]");
        validate_server(&at, server, report);
    }
    for i in names::repeated(spec.servers.iter().map(|s| s.port.name.as_str())) {
        report.error(
            format!("spec.servers[{i}].port.name"),
            "port names in servers must be unique",
            "rename the port",
        );
    }
}

fn validate_server(at: &str, server: &Server, report: &mut Report<'_>) {
    names::port(&format!("{at}.port.number"), server.port.number, report);
    if server.port.name.is_empty() {
        report.error(
            format!("{at}.port.name"),
            "port name must be set",
            "name the port",
        );
    }
    let protocol = server.port.protocol.to_ascii_uppercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        report.error(
            format!("{at}.port.protocol"),
            format!(
                "invalid protocol {:?}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP",
                server.port.protocol
            ),
            "use one of them, HTTPS or TLS",
        );
    }
    if !server.bind.is_empty()
        && !server.bind.starts_with("unix://")
        && server.bind.parse::<IpAddr>().is_err()
    {
        report.error(
            format!("{at}.bind"),
            format!("{} is not a valid IP", server.bind),
            "write an address",
        );
    }
    if server.hosts.is_empty() {
        report.error(
            format!("{at}.hosts"),
            "server config must contain at least one host",
            "add hosts",
        );
    }
    for (i, host) in server.hosts.iter().enumerate() {
        server_host(&format!("{at}.hosts[{i}]"), host, report);
    }
    transport(at, server, &protocol, report);
}

/// `host`, `namespace/host`, `./host`, `*/host`.
fn server_host(field: &str, text: &str, report: &mut Report<'_>) {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    if !matches!(namespace, "*" | ".") && !is_dns_label(namespace) {
        report.error(
            field,
            format!("namespace {namespace:?} invalid"),
            "write host, namespace/host, ./host or */host",
        );
    }
    if host.is_empty() || host == "*" || host.parse::<IpAddr>().is_ok() {
        if host.is_empty() {
            report.error(field, "empty domain name not allowed", "name a host");
        }
        return;
    }
    if !host.contains('.') {
        report.error(
            field,
            "short names (non FQDN) are not allowed",
            "write the full name",
        );
    } else if host.get(1..).is_some_and(|rest| rest.contains('*')) {
        report.error(
            field,
            format!("partial wildcard {host:?} not allowed"),
            "use * only in front",
        );
    } else if let Some(reason) = names::wildcard_name(host) {
        report.error(field, reason, "write a DNS name or *.suffix");
    }
}

fn transport(at: &str, server: &Server, protocol: &str, report: &mut Report<'_>) {
    let field = format!("{at}.tls");
    let secure = matches!(protocol, "HTTPS" | "TLS");
    match &server.tls {
        None if secure => report.error(
            field,
            "server must have TLS settings for HTTPS/TLS protocols",
            "add tls with a mode",
        ),
        None => {}
        Some(tls) => {
            let http = matches!(protocol, "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB");
            let terminates = tls.mode.unwrap_or_default() != ServerTlsMode::Passthrough;
            let material = !tls.server_certificate.is_empty()
                || !tls.private_key.is_empty()
                || !tls.ca_certificates.is_empty()
                || !tls.credential_name.is_empty();
            if http && (terminates || material) {
                report.error(
                    field,
                    "server cannot have TLS settings for plain text HTTP ports",
                    "use protocol HTTPS, or keep httpsRedirect only",
                );
                return;
            }
            if tls.https_redirect && !http {
                report.error(
                    format!("{field}.httpsRedirect"),
                    "tls.httpsRedirect should only be used with http servers",
                    "remove it here and set it on the HTTP server",
                );
            }
            if secure || terminates {
                settings(&field, tls, report);
            }
        }
    }
}

fn settings(at: &str, tls: &ServerTls, report: &mut Report<'_>) {
    let mode = tls.mode.unwrap_or_default();
    let by_name = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let by_file = !tls.tls_certificates.is_empty();
    let mut required = |field: &str, what: &str| {
        report.error(format!("{at}.{field}"), what, "add it, or credentialName");
    };
    match mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
            if !by_name && !by_file =>
        {
            let word = match mode {
                ServerTlsMode::Simple => "SIMPLE",
                ServerTlsMode::Mutual => "MUTUAL",
                _ => "OPTIONAL_MUTUAL",
            };
            if tls.server_certificate.is_empty() {
                required(
                    "serverCertificate",
                    &format!("{word} TLS requires a server certificate"),
                );
            }
            if tls.private_key.is_empty() {
                required("privateKey", &format!("{word} TLS requires a private key"));
            }
            if mode != ServerTlsMode::Simple && tls.ca_certificates.is_empty() {
                required(
                    "caCertificates",
                    &format!("{word} TLS requires a client CA bundle"),
                );
            }
        }
        ServerTlsMode::IstioMutual
            if by_name || !tls.server_certificate.is_empty() || !tls.private_key.is_empty() =>
        {
            report.error(
                at,
                "ISTIO_MUTUAL TLS cannot have associated certificates or keys",
                "remove them",
            );
        }
        _ => {}
    }
}

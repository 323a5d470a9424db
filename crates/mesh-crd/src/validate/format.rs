//! Header names, header values as format strings, regular expressions.

use mesh_model::matching::Pattern;

use super::Report;

/// Commands that a header value may use (Envoy's).
const COMMANDS: &[&str] = &[
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DURATION",
    "DYNAMIC_METADATA",
    "ENVIRONMENT",
    "FILTER_STATE",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "METADATA",
    "PATH",
    "PROTOCOL",
    "QUERY_PARAM",
    "REQ",
    "REQUESTED_SERVER_NAME",
    "REQUEST_DURATION",
    "REQ_WITHOUT_QUERY",
    "RESP",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "ROUTE_NAME",
    "START_TIME",
    "STREAM_ID",
    "TRACE_ID",
    "TRAILER",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_HOST",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "VIRTUAL_CLUSTER_NAME",
];

/// A header name; `pseudo` are names with a colon that are taken.
pub(super) fn header_name(field: &str, name: &str, pseudo: &[&str], report: &mut Report<'_>) {
    if name.is_empty() {
        report.error(field, "header name cannot be empty", "name a header");
    } else if pseudo.contains(&name) {
    } else if name.starts_with(':') {
        report.error(
            field,
            format!("header {name:?} cannot have \":\" prefix"),
            "use rewrite for path and authority; the method cannot be changed",
        );
    } else if !name.bytes().all(is_token) {
        report.error(
            field,
            format!("header name {name} is not a valid header name"),
            "use letters, digits and -",
        );
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A header value: text with `%COMMAND(..)%` and `%%`.
pub(super) fn header_value(field: &str, value: &str, report: &mut Report<'_>) {
    if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        report.error(field, "header value has a line break or NUL", "remove it");
    }
    if let Err(reason) = commands(value) {
        report.error(
            field,
            format!("header value configuration: invalid header configuration. {reason}"),
            "write %% for a percent sign",
        );
    }
}

fn commands(value: &str) -> Result<(), String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(tail) = after.strip_prefix('%') {
            rest = tail;
            continue;
        }
        let name_end = after
            .find(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (name, tail) = after.split_at_checked(name_end).unwrap_or((after, ""));
        if name.is_empty() {
            return Err("Un-escaped %".into());
        }
        if !COMMANDS.contains(&name) {
            return Err(format!("%{name}% is not a command"));
        }
        let tail = match tail.strip_prefix('(') {
            None => tail,
            Some(arguments) => arguments.split_once(')').ok_or("( is not closed")?.1,
        };
        // `:n` cuts the value to n bytes.
        let tail = match tail.strip_prefix(':') {
            None => tail,
            Some(length) => length.trim_start_matches(|c: char| c.is_ascii_digit()),
        };
        rest = tail
            .strip_prefix('%')
            .ok_or_else(|| format!("%{name} is not closed by %"))?;
    }
    Ok(())
}

/// A regular expression in RE2 syntax.
pub(super) fn regex(field: &str, what: &str, pattern: &str, report: &mut Report<'_>) {
    if pattern.is_empty() {
        report.error(
            field,
            format!("{what:?}: regular expression may not be empty"),
            "write a pattern, or remove the condition",
        );
    } else if let Err(reason) = Pattern::new(pattern) {
        report.error(
            field,
            format!("{what:?}: error parsing regexp: {reason}"),
            "use RE2 syntax: no look-around, no back references (https://github.com/google/re2/wiki/Syntax)",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn header_values() {
        for (value, good) in [
            ("plain", true),
            ("100%%", true),
            ("%REQ(x-a)%", true),
            ("%REQ(x-a?x-b):10%", true),
            ("%PROTOCOL%", true),
            ("a %PROTOCOL% b", true),
            ("100%", false),
            ("%", false),
            ("%%%", false),
            ("%PROTOCOL", false),
            ("%NONSENSE%", false),
            ("%REQ(x%", false),
            ("50% off", false),
        ] {
            assert_eq!(commands(value).is_ok(), good, "{value}");
        }
    }
}

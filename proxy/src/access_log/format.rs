//! Log formats: what is written between what.

use std::io::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

use mesh_model::route::FormatFacts;

use super::Line;
use super::fact::Fact;
use crate::codec::write::number;

/// A compiled format.
#[derive(Debug)]
pub(crate) enum Format {
    /// Text with tokens; absent facts are `-`.
    Text(Vec<Piece>),
    /// A JSON object; absent facts are null, single numbers stay numbers. Keys are written as they are, with quotes
    /// and colon.
    Json(Vec<(Vec<u8>, Vec<Piece>)>),
}

/// A literal or a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text as it is.
    Literal(String),
    /// `%NAME(argument)%`; `None` = not known, always absent.
    Token(Option<Fact>),
}

const ISTIO_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" ",
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" ",
    "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% ",
    "%ROUTE_NAME%\n",
);

const ISTIO_JSON: [(&str, &str); 32] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("virtual_service", "%SIGHTLINE_VIRTUAL_SERVICE%"),
    ("route", "%SIGHTLINE_ROUTE%"),
    ("match", "%SIGHTLINE_MATCH%"),
    ("source_workload", "%SIGHTLINE_SOURCE_WORKLOAD%"),
    ("destination_workload", "%SIGHTLINE_DESTINATION_WORKLOAD%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("trace_id", "%TRACE_ID%"),
    ("policy", "%SIGHTLINE_POLICY%"),
];

impl Format {
    /// Istio's default line.
    #[must_use]
    pub(crate) fn istio_text() -> Self {
        Self::text(ISTIO_TEXT)
    }

    /// Istio's JSON keys and ours.
    #[must_use]
    pub(crate) fn istio_json() -> Self {
        Self::Json(ISTIO_JSON.iter().map(|(k, v)| (json_key(k), pieces(v))).collect())
    }

    /// A text format; a newline is added when missing.
    #[must_use]
    pub(crate) fn text(format: &str) -> Self {
        let mut pieces = pieces(format);
        if !format.ends_with('\n') {
            pieces.push(Piece::Literal("\n".into()));
        }
        Self::Text(pieces)
    }

    /// A JSON format.
    #[must_use]
    pub(crate) fn json(fields: &[(String, String)]) -> Self {
        Self::Json(fields.iter().map(|(k, v)| (json_key(k), pieces(v))).collect())
    }

    /// Appends one line.
    pub(crate) fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Token(fact) => {
                            let start = out.len();
                            if fact.as_ref().is_some_and(|fact| line.write(fact, out)) {
                                make_printable(out, start);
                            } else {
                                out.truncate(start);
                                out.push(b'-');
                            }
                        }
                    }
                }
            }
            Self::Json(fields) => {
                let mut separator = b'{';
                let mut value = Vec::with_capacity(128);
                for (key, pieces) in fields {
                    out.push(separator);
                    separator = b',';
                    out.extend_from_slice(key);
                    json_value(pieces, line, &mut value, out);
                }
                out.extend_from_slice(b"}\n");
            }
        }
    }
}

fn json_value(pieces: &[Piece], line: &Line<'_>, value: &mut Vec<u8>, out: &mut Vec<u8>) {
    value.clear();
    if let [Piece::Token(fact)] = pieces {
        match fact {
            Some(fact) if line.write(fact, value) => {
                if fact.is_number() && value.iter().all(u8::is_ascii_digit) {
                    out.extend_from_slice(value);
                } else {
                    json_string(value, out);
                }
            }
            _ => out.extend_from_slice(b"null"),
        }
        return;
    }
    for piece in pieces {
        match piece {
            Piece::Literal(text) => value.extend_from_slice(text.as_bytes()),
            Piece::Token(fact) => {
                if !fact.as_ref().is_some_and(|fact| line.write(fact, value)) {
                    value.push(b'-');
                }
            }
        }
    }
    json_string(value, out);
}

/// `"key":`.
fn json_key(key: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json_string(key.as_bytes(), &mut out);
    out.push(b':');
    out
}

fn json_string(value: &[u8], out: &mut Vec<u8>) {
    // Nearly every value is printable ASCII without anything to escape.
    let is_plain = |b: &u8| matches!(b, 0x20..=0x7e) && *b != b'"' && *b != b'\\';
    if value.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
        return;
    }
    // Writing into a vector does not fail.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(value));
}

/// Control characters and quotes never reach the file: one request is one line.
fn make_printable(out: &mut Vec<u8>, start: usize) {
    let is_bad = |b: &u8| *b < 0x20 || *b == 0x7f || *b == b'"';
    if out.get(start..).unwrap_or_default().iter().any(is_bad) {
        let value = out.split_off(start);
        for byte in value {
            if is_bad(&byte) {
                // Writing into a vector does not fail.
                let _ = write!(out, "\\x{byte:02x}");
            } else {
                out.push(byte);
            }
        }
    }
}

fn pieces(format: &str) -> Vec<Piece> {
    struct Collect(std::cell::RefCell<Vec<(String, String)>>);
    impl FormatFacts for Collect {
        fn fact(&self, name: &str, argument: &str, out: &mut Vec<u8>) -> bool {
            self.0.borrow_mut().push((name.into(), argument.into()));
            out.push(0);
            true
        }
    }
    // The one parser of format strings leaves a NUL where each token stood.
    let tokens = Collect(std::cell::RefCell::default());
    let mut text = Vec::new();
    mesh_model::route::write_value(format, &tokens, &mut text);
    let mut tokens = tokens.0.into_inner().into_iter();
    let mut pieces = Vec::new();
    for (position, literal) in text.split(|b| *b == 0).enumerate() {
        if position > 0
            && let Some((name, argument)) = tokens.next()
        {
            pieces.push(Piece::Token(Fact::of(&name, &argument)));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(String::from_utf8_lossy(literal).into_owned()));
        }
    }
    pieces
}

/// `2026-01-31T23:59:59.123Z`.
pub(super) fn iso_time(at: SystemTime, out: &mut Vec<u8>) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    digits(out, year, 4);
    for (separator, value) in [
        (b'-', month),
        (b'-', day),
        (b'T', second / 3600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.push(separator);
        digits(out, value, 2);
    }
    out.push(b'.');
    digits(out, u64::from(since.subsec_millis()), 3);
    out.push(b'Z');
}

/// The last `width` decimal digits.
fn digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_u64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

/// `192.0.2.1:80` or `[2001:db8::1]:80`.
pub(super) fn socket_address(address: SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(address) = address else {
        // Writing into a vector does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (place, octet) in address.ip().octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        number(out, u64::from(octet));
    }
    out.push(b':');
    number(out, u64::from(address.port()));
}

/// Date of a day number since 1970-01-01 (proleptic Gregorian; eras of 400 years that begin in March).
pub(super) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000, "2023-11-14T22:13:20.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        ] {
            let mut out = Vec::new();
            iso_time(
                SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
                &mut out,
            );
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn formats_are_cut_into_pieces() {
        let token = |name: &str, argument: &str| Piece::Token(Fact::of(name, argument));
        assert_eq!(
            pieces("a %PROTOCOL%%REQ(x?y):3% 100%%%NO_SUCH%"),
            [
                Piece::Literal("a ".into()),
                token("PROTOCOL", ""),
                token("REQ", "x?y):3"),
                Piece::Literal(" 100%".into()),
                Piece::Token(None),
            ]
        );
    }

    #[test]
    fn addresses_and_strings() {
        let check = |address: &str| {
            let mut out = Vec::new();
            socket_address(address.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), address);
        };
        check("127.0.0.1:80");
        check("10.200.3.44:65535");
        check("[2001:db8::1]:443");
        let string = |value: &[u8]| {
            let mut out = Vec::new();
            json_string(value, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(string(b"/a b?c=%20~"), "\"/a b?c=%20~\"");
        assert_eq!(string(b"a\"b\\c\n"), r#""a\"b\\c\n""#);
        assert_eq!(string(b"\xff\x7f"), "\"\u{fffd}\u{7f}\"");
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let mut out = b"x ".to_vec();
        out.extend_from_slice(b"a\n\"b");
        make_printable(&mut out, 2);
        assert_eq!(out, b"x a\\x0a\\x22b");
    }
}

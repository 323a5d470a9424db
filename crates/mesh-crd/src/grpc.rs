//! gRPC status names.

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of a status given by name (`UNAVAILABLE`) or number (`14`).
#[must_use]
pub fn grpc_status(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (number <= 16).then_some(number);
    }
    NAMES
        .iter()
        .position(|n| n.eq_ignore_ascii_case(text) || (*n == "CANCELLED" && text == "CANCELED"))
        .and_then(|i| u32::try_from(i).ok())
}

//! Authorities: what a host name with a port may consist of.

/// Whether an authority has only bytes that every peer reads alike; at an edge it is one host with a sane port.
#[must_use]
pub fn authority_is_good(authority: &[u8], edge: bool) -> bool {
    let plain =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b':' | b'[' | b']');
    if !edge {
        let sub_delimiters = b"!$&'()*+,;=%";
        return authority.iter().all(|b| plain(b) || sub_delimiters.contains(b));
    }
    if authority.is_empty() || authority.len() > 255 + 6 || !authority.iter().all(plain) {
        return false;
    }
    let Some(colon) = authority.iter().rposition(|b| *b == b':') else {
        return !authority.iter().any(|b| matches!(b, b'[' | b']'));
    };
    let (host, port) = authority.split_at(colon);
    if authority.first() == Some(&b'[') {
        if authority.last() == Some(&b']') {
            return ipv6_is_good(authority);
        }
        return ipv6_is_good(host) && port_is_good(port);
    }
    !host.is_empty() && host.iter().all(|b| !matches!(b, b':' | b'[' | b']')) && port_is_good(port)
}

fn ipv6_is_good(host: &[u8]) -> bool {
    host.strip_prefix(b"[")
        .and_then(|h| h.strip_suffix(b"]"))
        .and_then(|h| std::str::from_utf8(h).ok())
        .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok())
}

fn port_is_good(port: &[u8]) -> bool {
    let digits = port.get(1..).unwrap_or_default();
    !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(digits).is_ok_and(|p| p.parse::<u16>().is_ok())
}

//! Host names as Istio resolves and compares them.

/// Expands a short name: one without a dot (and not a wildcard) becomes `<name>.<namespace>.svc.<domain>`.
/// A name with a dot is taken literally, and so is an address.
#[must_use]
pub fn expand(host: &str, namespace: &str, domain: &str) -> String {
    if host.contains(['.', '*', ':']) || host.is_empty() {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.{domain}")
    }
}

/// Whether `pattern` (a name, `*.suffix` or `*`) covers `host` (which may be such a pattern too).
#[must_use]
pub fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(suffix) = pattern.strip_prefix('*') else {
        return false;
    };
    host.len() >= suffix.len()
        && host.is_char_boundary(host.len() - suffix.len())
        && host
            .get(host.len() - suffix.len()..)
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Sorts the most specific first: names before wildcards, longer before shorter, then by alphabet.
#[must_use]
pub fn specificity(host: &str) -> (bool, std::cmp::Reverse<usize>, &str) {
    (host.starts_with('*'), std::cmp::Reverse(host.len()), host)
}

#[cfg(test)]
mod tests {
    use super::{covers, expand};

    #[test]
    fn only_dotless_names_expand() {
        for (host, expanded) in [
            ("web", "web.app.svc.cluster.local"),
            ("web.app", "web.app"),
            ("10.0.0.1", "10.0.0.1"),
            ("*", "*"),
            ("*.test", "*.test"),
            ("fd00::1", "fd00::1"),
        ] {
            assert_eq!(expand(host, "app", "cluster.local"), expanded);
        }
    }

    #[test]
    fn wildcards_cover_longer_names() {
        for (pattern, host, yes) in [
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "b", false),
            ("*.b", "*.a.b", true),
            ("*.a.b", "*.b", false),
            ("a.b", "A.B", true),
            ("a.b", "x.a.b", false),
        ] {
            assert_eq!(covers(pattern, host), yes, "{pattern} {host}");
        }
    }
}

//! SPIFFE identities.

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, parsed strictly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Trust domain, lower case.
    pub trust_domain: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes service account.
    pub service_account: String,
}

impl SpiffeId {
    /// Parses the one accepted form; anything else (upper-case scheme, query, extra segments, empty or
    /// over-long parts, bytes outside the SPIFFE grammar) is `None`.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("spiffe://")?;
        let mut parts = rest.split('/');
        let trust_domain = parts.next()?;
        if parts.next()? != "ns" {
            return None;
        }
        let namespace = parts.next()?;
        if parts.next()? != "sa" {
            return None;
        }
        let service_account = parts.next()?;
        if parts.next().is_some() || uri.len() > 2048 {
            return None;
        }
        let domain_ok = !trust_domain.is_empty()
            && trust_domain
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
        let segment_ok = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.len() <= 253
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        (domain_ok && segment_ok(namespace) && segment_ok(service_account)).then(|| Self {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        })
    }
}

impl std::fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

#[cfg(test)]
mod tests {
    use super::SpiffeId;

    #[track_caller]
    fn check(uri: &str, accepted: bool) {
        let id = SpiffeId::parse(uri);
        assert_eq!(id.is_some(), accepted, "{uri}");
        if let Some(id) = id {
            assert_eq!(id.to_string(), uri);
        }
    }

    #[test]
    fn only_the_one_form() {
        check("spiffe://cluster.local/ns/default/sa/reviews", true);
        check("SPIFFE://cluster.local/ns/default/sa/reviews", false);
        check("spiffe://Cluster.local/ns/default/sa/reviews", false);
        check("spiffe://cluster.local/ns/default/sa/reviews/x", false);
        check("spiffe://cluster.local/ns/default/sa/", false);
        check("spiffe://cluster.local/ns/../sa/x", false);
        check("spiffe://cluster.local/ns/default/sa/a?b", false);
        check("spiffe://cluster.local/ns/default/sa/a\0b", false);
        check("spiffe://cluster.local/sa/x/ns/y", false);
    }
}

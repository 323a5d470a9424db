//! The names that a sidecar's DNS proxy answers itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses by host name (lower case, without final dot; `*.suffix` for wildcards).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameTable {
    /// Addresses of a host.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundName<'a> {
    /// The name that has the addresses, when it is not the one that was asked for.
    pub alias: Option<String>,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
}

impl NameTable {
    /// Finds `asked`. Clients try a short or foreign name with each of their `search` domains appended: the first of
    /// those answers at once with the name that was meant, so that they ask no further.
    #[must_use]
    pub fn find(&self, asked: &str, search: &[String]) -> Option<FoundName<'_>> {
        let name = asked.trim_end_matches('.').to_ascii_lowercase();
        if let Some(addresses) = self.exactly(&name) {
            return Some(FoundName {
                alias: None,
                addresses,
            });
        }
        let shorter = search
            .iter()
            .find_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))
            .filter(|name| name.contains('.'));
        if let Some(shorter) = shorter
            && let Some(addresses) = self.exactly(shorter)
        {
            return Some(FoundName {
                alias: Some(shorter.to_owned()),
                addresses,
            });
        }
        search.iter().find_map(|domain| {
            let longer = format!("{name}.{domain}");
            let addresses = self.hosts.get(&longer)?;
            Some(FoundName {
                alias: Some(longer),
                addresses,
            })
        })
    }

    fn exactly(&self, name: &str) -> Option<&[IpAddr]> {
        if let Some(addresses) = self.hosts.get(name) {
            return Some(addresses);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(addresses) = self.hosts.get(&format!("*.{parent}")) {
                return Some(addresses);
            }
            rest = parent;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let ip = |last| vec![IpAddr::from([240, 240, 0, last])];
        let table = NameTable {
            hosts: BTreeMap::from([
                ("web.app.svc.cluster.local".to_owned(), ip(1)),
                ("api.example.com".to_owned(), ip(2)),
                ("*.example.org".to_owned(), ip(3)),
                ("*.a.example.org".to_owned(), ip(4)),
            ]),
        };
        let search = ["app.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned);
        for (asked, last, alias) in [
            ("web.app.svc.cluster.local", Some(1), None),
            ("WEB.app.svc.cluster.local.", Some(1), None),
            ("web", Some(1), Some("web.app.svc.cluster.local")),
            ("web.app", Some(1), Some("web.app.svc.cluster.local")),
            ("web.other", None, None),
            ("api.example.com", Some(2), None),
            (
                "api.example.com.app.svc.cluster.local",
                Some(2),
                Some("api.example.com"),
            ),
            ("x.example.org", Some(3), None),
            ("x.a.example.org", Some(4), None),
            ("example.org", None, None),
            ("unknown.example.com", None, None),
        ] {
            let found = table.find(asked, &search);
            let got = found.as_ref().map(|f| (f.addresses.to_vec(), f.alias.as_deref()));
            assert_eq!(got, last.map(|last| (ip(last), alias)), "{asked}");
        }
    }
}

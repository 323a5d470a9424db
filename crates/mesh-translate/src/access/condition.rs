//! A policy rule as conditions on what is asked and on who asks.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_crd::security::{PolicyCondition, PolicyOperation, PolicyRuleSpec, PolicySource};
use mesh_model::authorization::Check;
use mesh_model::matching::{HeaderCheck, HeaderMatch, Pattern, StringMatch};

use super::{all, one_of};

/// For what a rule is made.
pub(super) struct Place<'a> {
    /// For opaque connections: nothing of HTTP is known.
    pub(super) tcp: bool,
    /// An ALLOW rule: what cannot be judged must not let through. For the others it must not spare.
    pub(super) allow: bool,
    pub(super) trust_domain: &'a str,
    /// Where short service account names belong.
    pub(super) namespace: &'a str,
}

/// A list of values with its negation.
type Lists<'a> = (&'a [String], &'a [String]);

impl Place<'_> {
    /// Permissions and principals; `None`: the rule can never hold here.
    pub(super) fn rule(&self, rule: &PolicyRuleSpec) -> Option<(Vec<Check>, Vec<Check>)> {
        let (mut on_what, mut on_who) = (Vec::new(), Vec::new());
        for condition in &rule.when {
            let (check, about_target) = self.when(condition)?;
            if let Some(check) = check {
                if about_target {
                    on_what.push(check);
                } else {
                    on_who.push(check);
                }
            }
        }
        let each = |blocks: Vec<Option<Vec<Check>>>, common: &[Check]| -> Option<Vec<Check>> {
            if blocks.is_empty() {
                return Some(vec![all(common.to_vec())]);
            }
            // A block that cannot hold is dropped; without any the rule cannot.
            let made: Vec<Check> = blocks
                .into_iter()
                .flatten()
                .map(|checks| all(checks.into_iter().chain(common.iter().cloned()).collect()))
                .collect();
            (!made.is_empty()).then_some(made)
        };
        let permissions = each(
            rule.to.iter().map(|to| self.operation(&to.operation)).collect(),
            &on_what,
        )?;
        let principals = each(
            rule.from.iter().map(|from| self.source(&from.source)).collect(),
            &on_who,
        )?;
        Some((permissions, principals))
    }

    fn operation(&self, spec: &PolicyOperation) -> Option<Vec<Check>> {
        let mut out = Vec::new();
        self.http((&spec.hosts, &spec.not_hosts), host, &mut out)?;
        both((&spec.ports, &spec.not_ports), port, &mut out);
        self.http(
            (&spec.methods, &spec.not_methods),
            |v| header(":method", v),
            &mut out,
        )?;
        self.http((&spec.paths, &spec.not_paths), path, &mut out)?;
        Some(out)
    }

    fn source(&self, spec: &PolicySource) -> Option<Vec<Check>> {
        let mut out = Vec::new();
        both((&spec.principals, &spec.not_principals), principal, &mut out);
        self.http(
            (&spec.request_principals, &spec.not_request_principals),
            |v| claim(&["request.auth.principal"], v),
            &mut out,
        )?;
        both((&spec.namespaces, &spec.not_namespaces), namespace, &mut out);
        both(
            (&spec.service_accounts, &spec.not_service_accounts),
            |v| self.account(v),
            &mut out,
        );
        both(
            (&spec.trust_domains, &spec.not_trust_domains),
            trust_domain,
            &mut out,
        );
        both(
            (&spec.ip_blocks, &spec.not_ip_blocks),
            |v| range(v, Check::SourceIp),
            &mut out,
        );
        self.http(
            (&spec.remote_ip_blocks, &spec.not_remote_ip_blocks),
            |v| range(v, Check::RemoteIp),
            &mut out,
        )?;
        Some(out)
    }

    /// The condition, and whether it is about what is asked. `None`: the rule can never hold here.
    fn when(&self, spec: &PolicyCondition) -> Option<(Option<Check>, bool)> {
        let lists: Lists<'_> = (&spec.values, &spec.not_values);
        let mut out = Vec::new();
        let key = spec.key.as_str();
        let indexed = |prefix: &str| {
            let rest = key.strip_prefix(prefix)?;
            rest.strip_prefix('[')?.strip_suffix(']')
        };
        let mut about_target = false;
        match key {
            "source.ip" => both(lists, |v| range(v, Check::SourceIp), &mut out),
            "remote.ip" => self.http(lists, |v| range(v, Check::RemoteIp), &mut out)?,
            "source.namespace" => both(lists, namespace, &mut out),
            "source.principal" => both(lists, principal, &mut out),
            "source.serviceAccount" => both(lists, |v| self.account(v), &mut out),
            "source.trustDomain" => both(lists, trust_domain, &mut out),
            "request.auth.principal" | "request.auth.audiences" | "request.auth.presenter" => {
                self.http(lists, |v| claim(&[key], v), &mut out)?;
            }
            "destination.ip" => {
                about_target = true;
                both(lists, |v| range(v, Check::DestinationIp), &mut out);
            }
            "destination.port" => {
                about_target = true;
                both(lists, port, &mut out);
            }
            "connection.sni" => {
                about_target = true;
                both(lists, |v| Some(Check::ServerName(wildcard(v))), &mut out);
            }
            _ => {
                if let Some(name) = indexed("request.headers") {
                    let name = name.to_ascii_lowercase();
                    self.http(lists, |v| header(&name, v), &mut out)?;
                } else if let Some(names) = indexed("request.auth.claims") {
                    let mut path = vec!["request.auth.claims"];
                    path.extend(names.split("]["));
                    self.http(lists, |v| claim(&path, v), &mut out)?;
                } else if self.allow {
                    // Not known here: an ALLOW must not hold by it.
                    return None;
                }
            }
        }
        Some(((!out.is_empty()).then(|| all(out)), about_target))
    }

    /// A condition on HTTP. On opaque connections an ALLOW rule with one can never hold, and others go without it.
    fn http(
        &self,
        lists: Lists<'_>,
        make: impl Fn(&str) -> Option<Check>,
        out: &mut Vec<Check>,
    ) -> Option<()> {
        if self.tcp && !(lists.0.is_empty() && lists.1.is_empty()) {
            return (!self.allow).then_some(());
        }
        both(lists, make, out);
        Some(())
    }

    /// `[namespace/]account`.
    fn account(&self, value: &str) -> Option<Check> {
        let (namespace, account) = value.split_once('/').unwrap_or((self.namespace, value));
        let _ = self.trust_domain;
        let (namespace, account) = (regex::escape(namespace), regex::escape(account));
        Some(Check::Principal(Some(regex_match(&format!(
            "spiffe://[^/]+/ns/{namespace}/sa/{account}"
        )))))
    }
}

/// One of the first list, none of the second. Values that mean nothing never hold.
fn both((values, not): Lists<'_>, make: impl Fn(&str) -> Option<Check>, out: &mut Vec<Check>) {
    let list = |values: &[String]| values.iter().filter_map(|v| make(v)).collect::<Vec<_>>();
    if !values.is_empty() {
        out.push(one_of(list(values)));
    }
    if !not.is_empty() {
        out.push(Check::Not(Box::new(one_of(list(not)))));
    }
}

/// `*` at an end is a wildcard; `*` alone is anything that is not empty.
fn wildcard(value: &str) -> StringMatch {
    if value == "*" {
        return regex_match("(?s:.+)");
    }
    if let Some(prefix) = value.strip_suffix('*') {
        return StringMatch::Prefix(prefix.to_owned());
    }
    match value.strip_prefix('*') {
        Some(suffix) => StringMatch::Suffix(suffix.to_owned()),
        None => StringMatch::Exact(value.to_owned()),
    }
}

/// The patterns are ours; one that the engine refuses (too long) matches nothing but itself.
fn regex_match(source: &str) -> StringMatch {
    Pattern::new(source).map_or_else(|_| StringMatch::Exact(source.to_owned()), StringMatch::Regex)
}

fn header(name: &str, value: &str) -> Option<Check> {
    let check = match value {
        "*" => HeaderCheck::Present(true),
        other => HeaderCheck::Value(wildcard(other)),
    };
    Some(Check::Header(HeaderMatch {
        name: name.to_owned(),
        check,
        invert: false,
        missing_is_empty: false,
    }))
}

/// Hosts in any case, with and without port or final dot: what the route takes for one host is one host here.
fn host(value: &str) -> Option<Check> {
    let source = if value == "*" {
        return header(":authority", "*");
    } else if let Some(prefix) = value.strip_suffix('*') {
        format!("(?i:{}).*", regex::escape(prefix))
    } else if let Some(suffix) = value.strip_prefix('*') {
        format!("(?i:.*{})\\.?(:[0-9]+)?", regex::escape(suffix))
    } else {
        format!("(?i:{})\\.?(:[0-9]+)?", regex::escape(value))
    };
    Some(Check::Header(HeaderMatch {
        name: ":authority".to_owned(),
        check: HeaderCheck::Value(regex_match(&source)),
        invert: false,
        missing_is_empty: false,
    }))
}

/// `/a`, `/a*`, `*a`, and templates: `{*}` is one segment, `{**}` anything.
fn path(value: &str) -> Option<Check> {
    if !value.contains("{*") {
        return Some(Check::Path(wildcard(value)));
    }
    let mut source = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("{*") {
        let (before, tail) = rest.split_at(at);
        source.push_str(&regex::escape(before));
        if let Some(tail) = tail.strip_prefix("{**}") {
            source.push_str(".*");
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("{*}") {
            source.push_str("[^/]+");
            rest = tail;
        } else {
            source.push_str(&regex::escape(tail));
            rest = "";
        }
    }
    source.push_str(&regex::escape(rest));
    Some(Check::Path(regex_match(&source)))
}

fn port(value: &str) -> Option<Check> {
    value.parse().ok().map(Check::DestinationPort)
}

fn range(value: &str, make: fn(IpNet) -> Check) -> Option<Check> {
    let range = value
        .parse::<IpNet>()
        .ok()
        .or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(make(range))
}

/// `trust.domain/ns/x/sa/y`, without the scheme.
fn principal(value: &str) -> Option<Check> {
    Some(Check::Principal(match value {
        "*" => None,
        _ => Some(match wildcard(value) {
            StringMatch::Exact(id) => StringMatch::Exact(format!("spiffe://{id}")),
            StringMatch::Prefix(id) => StringMatch::Prefix(format!("spiffe://{id}")),
            other => other,
        }),
    }))
}

fn namespace(value: &str) -> Option<Check> {
    let name = globbed(value);
    Some(Check::Principal(Some(regex_match(&format!(
        "spiffe://[^/]+/ns/{name}/sa/[^/]+"
    )))))
}

fn trust_domain(value: &str) -> Option<Check> {
    let name = globbed(value);
    Some(Check::Principal(Some(regex_match(&format!(
        "spiffe://{name}/.*"
    )))))
}

/// One segment with wildcards at its ends.
fn globbed(value: &str) -> String {
    match wildcard(value) {
        StringMatch::Prefix(prefix) => format!("{}[^/]*", regex::escape(&prefix)),
        StringMatch::Suffix(suffix) => format!("[^/]*{}", regex::escape(&suffix)),
        StringMatch::Regex(_) => "[^/]+".to_owned(),
        _ => regex::escape(value),
    }
}

fn claim(path: &[&str], value: &str) -> Option<Check> {
    Some(Check::Claim {
        path: path.iter().map(|key| (*key).to_owned()).collect(),
        value: (value != "*").then(|| wildcard(value)),
    })
}

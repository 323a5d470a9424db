//! `http[]`: what a rule does.

mod shaping;

use mesh_model::route::{PathRewrite, Rewriter};

use super::super::{Report, format};
use super::{l4, matches};
use crate::networking::virtual_service::{
    Delegate, DirectResponse, HeaderOperations, Headers, HttpRoute, Redirect, Rewrite,
};
use crate::parse::is_dns_label;

const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

pub(super) fn validate(at: &str, route: &HttpRoute, is_delegate: bool, report: &mut Report<'_>) {
    action(at, route, is_delegate, report);
    for (i, condition) in route.matches.iter().enumerate() {
        matches::validate(&format!("{at}.match[{i}]"), condition, report);
    }
    if let Some(redirect) = &route.redirect {
        validate_redirect(&format!("{at}.redirect"), redirect, route, report);
    }
    if let Some(direct) = &route.direct_response {
        direct_response(&format!("{at}.directResponse"), direct, report);
    }
    if let Some(reference) = &route.delegate {
        delegate(&format!("{at}.delegate"), reference, report);
    }
    if let Some(spec) = &route.rewrite {
        rewrite(&format!("{at}.rewrite"), spec, report);
        authority_twice(at, route, spec, report);
    }
    headers(&format!("{at}.headers"), route.headers.as_ref(), report);
    l4::weights(at, &route.route, report);
    for (i, candidate) in route.route.iter().enumerate() {
        headers(
            &format!("{at}.route[{i}].headers"),
            candidate.headers.as_ref(),
            report,
        );
    }
    if let Some(spec) = &route.retries {
        shaping::retries(&format!("{at}.retries"), spec, report);
    }
    if let Some(spec) = &route.fault {
        shaping::fault(&format!("{at}.fault"), spec, report);
    }
    if let Some(spec) = &route.cors_policy {
        shaping::cors(&format!("{at}.corsPolicy"), spec, report);
    }
    shaping::mirrors(at, route, report);
}

/// Exactly one thing is done, and nothing that contradicts it.
fn action(at: &str, route: &HttpRoute, is_delegate: bool, report: &mut Report<'_>) {
    let both = |report: &mut Report<'_>, field: &str, message: &str| {
        report.error(format!("{at}.{field}"), message, "keep one of them");
    };
    let (redirect, direct) = (route.redirect.is_some(), route.direct_response.is_some());
    if redirect && !route.route.is_empty() {
        both(
            report,
            "redirect",
            "HTTP route cannot contain both route and redirect",
        );
    }
    if direct && !route.route.is_empty() {
        both(
            report,
            "directResponse",
            "HTTP route cannot contain both route and direct_response",
        );
    }
    if redirect && direct {
        both(
            report,
            "directResponse",
            "HTTP route cannot contain both redirect and direct_response",
        );
    }
    if route.fault.is_some() && redirect {
        both(
            report,
            "fault",
            "HTTP route cannot contain both fault and redirect",
        );
    }
    if route.fault.is_some() && direct {
        both(
            report,
            "fault",
            "HTTP route cannot contain both fault and direct_response",
        );
    }
    if route.rewrite.is_some() && redirect {
        both(
            report,
            "rewrite",
            "HTTP route rule cannot contain both rewrite and redirect",
        );
    }
    if route.rewrite.is_some() && direct {
        both(
            report,
            "rewrite",
            "HTTP route rule cannot contain both rewrite and direct_response",
        );
    }
    if route.delegate.is_some() {
        if is_delegate {
            report.error(
                format!("{at}.delegate"),
                "a delegate virtual service must not delegate further",
                "give the rule a route",
            );
        }
        if !route.route.is_empty() {
            report.error(
                format!("{at}.route"),
                format!("root HTTP route {} must not specify route", route.name),
                "remove route or delegate",
            );
        }
        if redirect {
            report.error(
                format!("{at}.redirect"),
                format!("root HTTP route {} must not specify redirect", route.name),
                "remove redirect or delegate",
            );
        }
    } else if route.route.is_empty() && !redirect && !direct {
        report.error(
            at,
            "HTTP route, redirect or direct_response is required",
            "add route, redirect, directResponse or delegate",
        );
    }
}

fn validate_redirect(at: &str, redirect: &Redirect, route: &HttpRoute, report: &mut Report<'_>) {
    let nothing = redirect.uri.is_empty()
        && redirect.prefix_rewrite.is_empty()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && redirect.redirect_code == 0
        && redirect.port.is_none()
        && redirect.derive_port.is_none();
    if nothing {
        report.error(
            at,
            "redirect must specify URI, authority, scheme, or redirect_code",
            "say where to redirect to",
        );
    }
    if !redirect.uri.is_empty() && !redirect.prefix_rewrite.is_empty() {
        report.error(
            format!("{at}.prefixRewrite"),
            "redirect may only contain one of uri or prefixRewrite",
            "keep one of them",
        );
    }
    if !redirect.prefix_rewrite.is_empty() {
        let by_prefix = !route.matches.is_empty()
            && route
                .matches
                .iter()
                .all(|m| m.uri.as_ref().is_some_and(|u| u.prefix.is_some()));
        if !by_prefix {
            report.error(
                format!("{at}.prefixRewrite"),
                "prefixRewrite requires prefix matches",
                "match uri by prefix in every alternative",
            );
        }
    }
    if !redirect.scheme.is_empty() && redirect.scheme != "http" && redirect.scheme != "https" {
        report.error(
            format!("{at}.scheme"),
            "invalid redirect scheme, must be http or https",
            "use http or https",
        );
    }
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        code if (300..400).contains(&code) => report.error(
            format!("{at}.redirectCode"),
            format!(
                "{code} is not a redirect that proxies can answer; it would hold back the whole route table"
            ),
            "use 301, 302, 303, 307 or 308",
        ),
        code => report.error(
            format!("{at}.redirectCode"),
            format!("{code} is not a valid redirect code, must be 3xx"),
            "use 301, 302, 303, 307 or 308",
        ),
    }
    if let Some(port) = redirect.port
        && port > 65535
    {
        report.error(
            format!("{at}.port"),
            format!("port number {port} must be in the range 1..65535"),
            "use a port from 1 to 65535",
        );
    }
}

fn direct_response(at: &str, direct: &DirectResponse, report: &mut Report<'_>) {
    if !(200..=599).contains(&direct.status) && direct.status != 0 {
        report.error(
            format!("{at}.status"),
            format!("HTTP status {} is not in range 200-599", direct.status),
            "use a status from 200 to 599",
        );
    }
    let Some(body) = &direct.body else {
        return;
    };
    let size = body
        .string
        .as_ref()
        .map(String::len)
        .or_else(|| body.bytes.as_ref().map(|b| b.len() / 4 * 3))
        .unwrap_or_default();
    if size > MAX_BODY {
        report.error(
            format!("{at}.body"),
            format!("response body size must be less than or equal to {MAX_BODY}, is {size}"),
            "answer from a service instead",
        );
    } else if size > LARGE_BODY {
        report.warn(
            format!("{at}.body"),
            format!("a body of {size} bytes is held by every proxy"),
            "answer from a service instead",
        );
    }
}

fn delegate(at: &str, reference: &Delegate, report: &mut Report<'_>) {
    if reference.name.is_empty() {
        report.error(
            format!("{at}.name"),
            "delegate must name a virtual service",
            "name it",
        );
    }
    if !reference.namespace.is_empty() && !is_dns_label(&reference.namespace) {
        report.error(
            format!("{at}.namespace"),
            format!("{:?} is not a namespace", reference.namespace),
            "name a namespace",
        );
    }
}

fn rewrite(at: &str, spec: &Rewrite, report: &mut Report<'_>) {
    match (&spec.uri_regex_rewrite, spec.uri.as_str()) {
        (Some(_), uri) if !uri.is_empty() => report.error(
            at,
            "rewrite may only contain one of URI or UriRegexRewrite",
            "keep one of them",
        ),
        (None, "") if spec.authority.is_empty() => report.error(
            at,
            "rewrite must specify at least one of URI, UriRegexRewrite, or authority",
            "add one of them",
        ),
        (Some(regex), _) => {
            if regex.pattern.is_empty() || regex.rewrite.is_empty() {
                report.error(
                    format!("{at}.uriRegexRewrite"),
                    "UriRegexRewrite must specify match and rewrite",
                    "add both",
                );
            } else {
                let field = format!("{at}.uriRegexRewrite.match");
                format::regex(&field, "uriRegexRewrite", &regex.pattern, report);
                // Proxies compile it without anchors, which may be larger.
                let rewrite = PathRewrite::Regex {
                    pattern: regex.pattern.clone(),
                    substitution: regex.rewrite.clone(),
                };
                if let Err(reason) = Rewriter::new(&rewrite) {
                    report.error(field, reason, "simplify the pattern");
                }
            }
        }
        _ => {}
    }
}

/// The host is set once: by rewrite.authority or by a header.
fn authority_twice(at: &str, route: &HttpRoute, spec: &Rewrite, report: &mut Report<'_>) {
    if spec.authority.is_empty() {
        return;
    }
    let set = route
        .headers
        .as_ref()
        .and_then(|h| h.request.as_ref())
        .into_iter()
        .flat_map(|r| &r.set)
        .find(|(name, _)| is_authority(name));
    if let Some((name, value)) = set {
        report.error(
            format!("{at}.headers.request.set[{name}]"),
            format!(
                "authority header cannot be set multiple times: have {:?}, attempting to set {value:?}",
                spec.authority
            ),
            "keep rewrite.authority or the header",
        );
    }
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

fn headers(at: &str, headers: Option<&Headers>, report: &mut Report<'_>) {
    let Some(headers) = headers else { return };
    for (side, operations) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(operations) = operations {
            header_operations(&format!("{at}.{side}"), operations, report);
        }
    }
}

fn header_operations(at: &str, operations: &HeaderOperations, report: &mut Report<'_>) {
    for (kind, map) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in map {
            let field = format!("{at}.{kind}[{name}]");
            format::header_name(&field, name, &[":authority"], report);
            format::header_value(&field, value, report);
        }
    }
    let hosts = operations.set.keys().filter(|n| is_authority(n)).count();
    if hosts > 1 {
        report.error(
            format!("{at}.set"),
            "authority header cannot be set multiple times",
            "keep one of Host and :authority",
        );
    }
    for (i, name) in operations.remove.iter().enumerate() {
        let field = format!("{at}.remove[{i}]");
        if is_authority(name) {
            report.error(
                field,
                format!("header {name:?} cannot be removed"),
                "remove the entry",
            );
        } else {
            format::header_name(&field, name, &[], report);
        }
    }
}

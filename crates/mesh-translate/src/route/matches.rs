//! `http[].match[]` to conditions.

use mesh_crd::networking::virtual_service::{HttpMatch, StringMatch as Spec};
use mesh_model::matching::{HeaderCheck, HeaderMatch, Pattern, QueryMatch, StringMatch};
use mesh_model::route::{ClaimMatch, PathMatch, RouteMatch};

/// Why a condition cannot be made.
pub(super) struct Unusable {
    pub(super) field: String,
    pub(super) message: String,
}

/// Conditions of one alternative; `None` takes everything.
pub(super) fn translate(condition: Option<&HttpMatch>) -> Result<RouteMatch, Unusable> {
    let mut out = super::everything();
    let Some(condition) = condition else {
        return Ok(out);
    };
    if let Some(uri) = &condition.uri {
        out.path = path(uri)?;
        out.path_ignore_case = condition.ignore_uri_case && !matches!(out.path, PathMatch::Regex(_));
    }
    for (field, name, spec) in [
        ("scheme", ":scheme", &condition.scheme),
        ("method", ":method", &condition.method),
        ("authority", ":authority", &condition.authority),
    ] {
        if let Some(spec) = spec {
            out.headers.push(header(name, Some(spec), field)?);
        }
    }
    for (name, spec) in &condition.headers {
        if let Some(path) = claim_path(name) {
            out.claims.push(claim(path, spec.as_ref(), name, false)?);
            continue;
        }
        out.headers
            .push(header(name, spec.as_ref(), &format!("headers[{name}]"))?);
    }
    for (name, spec) in &condition.without_headers {
        if let Some(path) = claim_path(name) {
            out.claims.push(claim(path, spec.as_ref(), name, true)?);
            continue;
        }
        let mut inverted = header(name, spec.as_ref(), &format!("withoutHeaders[{name}]"))?;
        inverted.invert = true;
        inverted.missing_is_empty = matches!(inverted.check, HeaderCheck::Value(_));
        out.headers.push(inverted);
    }
    for (name, spec) in &condition.query_params {
        let value = spec
            .as_ref()
            .map(|s| string(s, &format!("queryParams[{name}]")))
            .transpose()?
            .flatten();
        out.query.push(QueryMatch {
            name: name.clone(),
            value,
        });
    }
    Ok(out)
}

fn path(uri: &Spec) -> Result<PathMatch, Unusable> {
    Ok(match string(uri, "uri")? {
        None => PathMatch::Prefix("/".into()),
        Some(StringMatch::Exact(v)) => PathMatch::Exact(v),
        Some(StringMatch::Regex(p)) => PathMatch::Regex(p),
        Some(StringMatch::Prefix(v)) => PathMatch::Prefix(v),
        Some(_) => PathMatch::Prefix("/".into()),
    })
}

/// `@request.auth.claims.a.b` and `@request.auth.claims[a][b]`: the keys of a fact of the token.
fn claim_path(name: &str) -> Option<Vec<String>> {
    const CLAIMS: &str = "request.auth.claims";
    let rest = name.strip_prefix('@')?.strip_prefix(CLAIMS)?;
    let keys: Vec<&str> = match rest.strip_prefix('.') {
        Some(dotted) => dotted.split('.').collect(),
        None => rest.strip_prefix('[')?.strip_suffix(']')?.split("][").collect(),
    };
    if keys.iter().any(|key| key.is_empty()) {
        return None;
    }
    let keys = std::iter::once(CLAIMS).chain(keys);
    Some(keys.map(str::to_owned).collect())
}

fn claim(path: Vec<String>, spec: Option<&Spec>, name: &str, invert: bool) -> Result<ClaimMatch, Unusable> {
    let value = spec
        .map(|spec| string(spec, &format!("headers[{name}]")))
        .transpose()?
        .flatten();
    Ok(ClaimMatch { path, value, invert })
}

fn header(name: &str, spec: Option<&Spec>, field: &str) -> Result<HeaderMatch, Unusable> {
    if name.starts_with('@') {
        return Err(Unusable {
            field: field.to_owned(),
            message: "only @request.auth.claims stands for more than a header; the rule never applies".into(),
        });
    }
    let lower = name.to_ascii_lowercase();
    let check = match spec.map(|s| string(s, field)).transpose()?.flatten() {
        None => HeaderCheck::Present(true),
        Some(value) => HeaderCheck::Value(value),
    };
    Ok(HeaderMatch {
        name: if lower == "host" {
            ":authority".into()
        } else {
            lower
        },
        check,
        invert: false,
        missing_is_empty: false,
    })
}

/// `None` asks for presence only.
fn string(spec: &Spec, field: &str) -> Result<Option<StringMatch>, Unusable> {
    if let Some(v) = &spec.exact {
        return Ok(Some(StringMatch::Exact(v.clone())));
    }
    if let Some(v) = &spec.prefix {
        return Ok(Some(StringMatch::Prefix(v.clone())));
    }
    let Some(source) = &spec.regex else {
        return Ok(None);
    };
    Pattern::new(source)
        .map(|p| Some(StringMatch::Regex(p)))
        .map_err(|error| Unusable {
            field: format!("{field}.regex"),
            message: format!("{error}; the rule never applies"),
        })
}

/// For CORS origins; `*` is every one.
pub(super) fn origin(spec: &Spec) -> Option<StringMatch> {
    if spec.exact.as_deref() == Some("*") {
        return Pattern::new(".*").ok().map(StringMatch::Regex);
    }
    string(spec, "").ok().flatten()
}

//! Links to other tools.

use leptos::prelude::*;
use mesh_api::traces::{Link, Links};

use crate::parts::sized_icon;
use crate::requests::percent_encode;

/// What is to be shown elsewhere: a kind of link, and the values for its template.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    shows: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Target {
    /// A trace.
    pub fn trace(id: &str) -> Self {
        Self {
            shows: "trace",
            values: vec![("trace", id.to_owned())],
        }
    }

    /// A service or a workload, in an interval (milliseconds since 1970).
    pub fn object(shows: &'static str, namespace: &str, name: &str, (from, to): (f64, f64)) -> Self {
        Self {
            shows,
            values: vec![
                ("namespace", namespace.to_owned()),
                (shows, name.to_owned()),
                ("from_ms", format!("{from:.0}")),
                ("to_ms", format!("{to:.0}")),
            ],
        }
    }
}

/// The links that show a target, in the order of the console's options.
pub fn links_out(links: &Links, target: &Target) -> impl IntoView + use<> {
    let link = |link: &Link| {
        let href = filled(&link.template, &target.values)?;
        let name = link.name.clone();
        Some(view! {
            <a class="button" href=href target="_blank" rel="noopener noreferrer" data-out=name.clone()>
                {name.clone()}{sized_icon("external-link", "icon small")}
            </a>
        })
    };
    links
        .links
        .iter()
        .filter(|link| link.shows == target.shows)
        .filter_map(link)
        .collect_view()
}

/// A template with its values, percent-encoded; none where it is no http(s) link, or asks for what is not known.
fn filled(template: &str, values: &[(&str, String)]) -> Option<String> {
    let web = |text: &str| {
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        lower.starts_with("https://") || lower.starts_with("http://")
    };
    if !web(template) {
        return None;
    }
    let mut link = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        let (_, value) = values.iter().find(|(known, _)| *known == name)?;
        link.push_str(before);
        link.push_str(&percent_encode(value));
        rest = after;
    }
    link.push_str(rest);
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (template, expected) in [
            (
                "http://127.0.0.1:16686/trace/{trace}",
                Some("http://127.0.0.1:16686/trace/a%2Fb%22%3E"),
            ),
            (
                "HTTPS://x/?t={trace}&u={trace}",
                Some("HTTPS://x/?t=a%2Fb%22%3E&u=a%2Fb%22%3E"),
            ),
            ("https://x/", Some("https://x/")),
            ("javascript:alert({trace})", None),
            ("/relative/{trace}", None),
            ("https://x/{unknown}", None),
            ("https://x/{trace", None),
            ("", None),
        ] {
            let values = [("trace", "a/b\">".to_owned())];
            assert_eq!(filled(template, &values).as_deref(), expected, "{template}");
        }
    }
}

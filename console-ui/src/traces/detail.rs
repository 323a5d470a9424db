//! One trace.

use std::collections::HashSet;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use mesh_api::requests::RequestPage;
use mesh_api::traces::{Links, Trace};

use super::minimap::Minimap;
use super::out::{Target, links_out};
use super::side::SpanPanel;
use super::tree::Tree;
use super::waterfall::{Waterfall, micros};
use crate::address::{Address, Step, address};
use crate::clock;
use crate::load::{load, signed_in_known, skeleton_rows};
use crate::parts::{icon, sized_icon};
use crate::requests::Filter;
use crate::text::t;
use crate::text::traces::words;
use crate::time::time;

/// Kept requests that are looked for around a trace, milliseconds.
const AROUND_MS: f64 = 60_000.0;

/// What the page shows of its trace, from the URL.
#[derive(Clone, Copy)]
pub struct Shown {
    /// The trace.
    pub tree: Memo<Tree>,
    /// Closed spans.
    pub closed: Memo<HashSet<String>>,
    /// The span in the panel.
    pub chosen: Memo<Option<String>>,
    /// Part of the trace on the screen: start and end, microseconds after its start.
    pub zoom: Memo<(f64, f64)>,
    /// Places of what the search finds.
    pub found: Memo<Vec<usize>>,
    address: Address,
}

impl Shown {
    fn new(tree: Memo<Tree>) -> Self {
        let address = address();
        let closed = Memo::new(move |_| {
            let text = address.read("closed").unwrap_or_default();
            text.split(',')
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect::<HashSet<_>>()
        });
        let zoom = Memo::new(move |_| {
            let length = tree.with(|tree| tree.length_us);
            address
                .read("zoom")
                .and_then(|text| parse_zoom(&text, length))
                .unwrap_or((0.0, length.max(1.0)))
        });
        let found = Memo::new(move |_| {
            let words = address.read("q").unwrap_or_default();
            tree.with(|tree| tree.matches(&words))
        });
        Self {
            tree,
            closed,
            chosen: Memo::new(move |_| address.read("span")),
            zoom,
            found,
            address,
        }
    }

    /// Shows a part of the trace; all of it when the part is nearly all.
    pub fn zoom_to(self, from: f64, to: f64) {
        let length = self.tree.with_untracked(|tree| tree.length_us);
        let whole = to - from >= length * 0.999 || to <= from;
        let text = (!whole).then(|| format!("{:.0}-{:.0}", from.max(0.0), to.min(length).ceil()));
        self.address.write(&[("zoom", text)], Step::Replace);
    }

    /// Opens or closes a span.
    pub fn fold(self, span: &str, open: bool) {
        let mut closed = self.closed.get_untracked();
        if open {
            closed.remove(span);
        } else {
            closed.insert(span.to_owned());
        }
        self.keep(&closed);
    }

    /// Closes every span that has children, or opens all.
    pub fn fold_all(self, open: bool) {
        let closed = self.tree.with_untracked(|tree| {
            let inner = tree.nodes.iter().filter(|node| node.children > 0 && !open);
            inner.map(|node| node.span.span.clone()).collect()
        });
        self.keep(&closed);
    }

    fn keep(self, closed: &HashSet<String>) {
        let mut ids: Vec<String> = closed.iter().cloned().collect();
        ids.sort();
        let text = (!ids.is_empty()).then(|| ids.join(","));
        self.address.write(&[("closed", text)], Step::Replace);
    }

    /// Shows a span in the panel; its closed ancestors open.
    pub fn choose(self, span: Option<String>, step: Step) {
        let mut closed = self.closed.get_untracked();
        if let Some(span) = &span {
            self.tree.with_untracked(|tree| {
                let mut at = tree.place(span).and_then(|at| tree.nodes.get(at)?.parent);
                while let Some(node) = at.and_then(|at| tree.nodes.get(at)) {
                    closed.remove(&node.span.span);
                    at = node.parent;
                }
            });
        }
        let mut ids: Vec<String> = closed.into_iter().collect();
        ids.sort();
        let closed = (!ids.is_empty()).then(|| ids.join(","));
        self.address.write(&[("span", span), ("closed", closed)], step);
    }

    /// A link to a span in the panel; tracked.
    pub fn link(self, span: &str) -> String {
        self.address.with(&[("span", Some(span.to_owned()))])
    }
}

fn parse_zoom(text: &str, length: f64) -> Option<(f64, f64)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (from.parse::<f64>().ok()?, to.parse::<f64>().ok()?);
    (from >= 0.0 && to > from && from < length).then(|| (from, to.min(length).max(from + 1.0)))
}

/// The page of one trace.
#[component]
pub fn TracePage() -> impl IntoView {
    let parameters = use_params_map();
    let id = Memo::new(move |_| {
        let text = parameters.with(|parameters| parameters.get("trace").unwrap_or_default());
        text.chars().filter(char::is_ascii_hexdigit).collect::<String>()
    });
    let trace = load::<Trace>(move || signed_in_known().then(|| format!("/api/traces/{}", id.get())));
    let tree = Memo::new(move |_| {
        trace
            .value
            .with(|trace| trace.as_ref().map(Tree::new).unwrap_or_default())
    });
    let shown = Shown::new(tree);
    let requests = load::<RequestPage>(move || {
        let (start, length) = tree.with(|tree| (tree.start_us / 1000.0, tree.length_us / 1000.0));
        (start > 0.0).then(|| {
            let filter = Filter {
                trace: id.get(),
                ..Filter::default()
            };
            format!(
                "/api/requests?from={}&to={}{}&limit=100",
                crate::api::encode(&clock::iso(start - AROUND_MS)),
                crate::api::encode(&clock::iso(start + length + AROUND_MS)),
                filter.query()
            )
        })
    });
    let links = load::<Links>(|| Some("/api/links".to_owned()));
    view! {
        <TraceHead id tree shown links=links.value requests=requests.value/>
        {trace.view(t().traces, || skeleton_rows(14), move || view! {
            <Hints tree/>
            <Minimap shown/>
            <div class="split">
                <Waterfall shown/>
                {move || {
                    let chosen = shown.chosen.get()?;
                    let node = tree.with(|tree| tree.place(&chosen).and_then(|at| tree.nodes.get(at).cloned()))?;
                    Some(view! { <SpanPanel node shown trace=id.get_untracked() requests=requests.value/> })
                }}
            </div>
        })}
    }
}

#[component]
fn TraceHead(
    id: Memo<String>,
    tree: Memo<Tree>,
    shown: Shown,
    links: RwSignal<Option<Links>>,
    requests: RwSignal<Option<RequestPage>>,
) -> impl IntoView {
    let (address, time) = (address(), time());
    let name = move || {
        tree.with(|tree| {
            tree.nodes
                .first()
                .map(|node| node.span.name.clone())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| words().unnamed.to_owned())
        })
    };
    let figures = move || {
        tree.with(|tree| {
            let apps: HashSet<&str> = tree.nodes.iter().map(|node| node.span.app.as_str()).collect();
            let errors = tree.nodes.iter().filter(|node| node.span.error).count();
            let at = tree.start_us / 1000.0;
            let depth = tree.nodes.iter().map(|node| node.depth + 1).max().unwrap_or(0);
            (tree.start_us > 0.0).then(|| view! {
                <span title=clock::iso(at)>{clock::full(at)}</span>
                <span><strong>{micros(tree.length_us)}</strong></span>
                <span><strong>{tree.nodes.len()}</strong>" "{words().spans}</span>
                <span><strong>{apps.len()}</strong>" "{t().apps}</span>
                <span>{words().depth}" "<strong>{depth}</strong></span>
                {(errors > 0).then(|| view! { <span class="health fail">{sized_icon("octagon-alert", "icon small")}{errors}" "{t().errors}</span> })}
            })
        })
    };
    let kept = move || {
        let number = requests.with(|page| page.as_ref().map_or(0, |page| page.requests.len()));
        let link = time.link(&format!("/requests?trace={}", id.get()));
        (number > 0).then(|| view! { <a class="button" data-kept="" href=link>{icon("activity")}{(words().kept)(number)}</a> })
    };
    let step_through = move |back: bool| {
        let found = shown.found.get_untracked();
        let here = shown
            .chosen
            .get_untracked()
            .and_then(|span| tree.with_untracked(|tree| tree.place(&span)));
        let next = if back {
            found
                .iter()
                .rev()
                .find(|at| here.is_none_or(|here| **at < here))
                .or(found.last())
        } else {
            found
                .iter()
                .find(|at| here.is_none_or(|here| **at > here))
                .or(found.first())
        };
        let span = next.and_then(|at| {
            tree.with_untracked(|tree| tree.nodes.get(*at).map(|node| node.span.span.clone()))
        });
        if span.is_some() {
            shown.choose(span, Step::Replace);
        }
    };
    let found = move || {
        let searched = address.read("q").is_some();
        searched.then(|| (words().found)(shown.found.with(Vec::len)))
    };
    view! {
        <div class="page-head trace-head">
            <div class="crumbs"><a href=move || time.link("/traces")>{t().traces}</a>{sized_icon("chevron-right", "icon small")}</div>
            <h1>{name}</h1>
            <span class="mono soft trace-id">{move || id.get()}</span>
            <div class="spacer"></div>
            {kept}
            {move || links.get().map(|links| links_out(&links, &Target::trace(&id.get())))}
        </div>
        <div class="toolbar" role="toolbar" aria-label=words().in_trace>
            <div class="trace-figures">{figures}</div>
            <div class="spacer"></div>
            <input
                class="input"
                type="search"
                size="24"
                placeholder=words().in_trace
                aria-label=words().in_trace
                prop:value=move || address.read("q").unwrap_or_default()
                on:input=move |event| {
                    let words = event_target_value(&event);
                    address.write(&[("q", (!words.is_empty()).then_some(words))], Step::Replace);
                }
                on:keydown=move |event| {
                    if event.key() == "Enter" {
                        step_through(event.shift_key());
                    }
                }
            />
            <span class="kind" aria-live="polite">{found}</span>
            <button class="button" on:click=move |_| shown.fold_all(true)>{words().open_all}</button>
            <button class="button" on:click=move |_| shown.fold_all(false)>{words().close_all}</button>
        </div>
    }
}

/// What a reader must know before believing the picture.
#[component]
fn Hints(tree: Memo<Tree>) -> impl IntoView {
    move || {
        tree.with(|tree| {
            let skew = tree.skew_us();
            let orphans = tree.orphans();
            view! {
                {tree.rootless.then(|| view! { <div class="banner info" role="status" data-rootless="">{icon("info")}{words().rootless}<span class="detail">{words().rootless_hint}</span></div> })}
                {(!tree.rootless && orphans > 0).then(|| view! { <div class="banner info" role="status">{icon("info")}{(words().orphans)(orphans)}</div> })}
                {(skew > 0.0).then(|| view! { <div class="banner info" role="status" data-skew="">{icon("clock")}{(words().skew)(&micros(skew))}<span class="detail">{words().skew_hint}</span></div> })}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parse_zoom;

    #[test]
    fn zooms() {
        for (text, expected) in [
            ("0-100", Some((0.0, 100.0))),
            ("20-500", Some((20.0, 100.0))),
            ("100-200", None),
            ("5-5", None),
            ("-1-5", None),
            ("a-b", None),
        ] {
            assert_eq!(parse_zoom(text, 100.0), expected, "{text}");
        }
    }
}

//! The pages, and the column that leads to them.

use leptos::prelude::*;

use super::{Overlays, Spoken, Who, signin::UserButton};
use crate::address::address;
use crate::parts::icon;
use crate::text::t;
use crate::theme::theme;
use crate::time::time;

/// A page of the console.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Path; what lies below it belongs to it.
    pub path: &'static str,
    /// Icon.
    pub icon: &'static str,
    /// Second key after `g`.
    pub key: char,
    /// Whether it shows an interval.
    pub time: bool,
    /// Name.
    pub name: fn() -> &'static str,
}

const fn page(
    path: &'static str,
    icon: &'static str,
    key: char,
    time: bool,
    name: fn() -> &'static str,
) -> Page {
    Page {
        path,
        icon,
        key,
        time,
        name,
    }
}

/// In the order of the column; an empty path is a gap.
pub const PAGES: &[Page] = &[
    page("/overview", "layout-dashboard", 'o', true, || t().overview),
    page("/graph", "network", 'g', true, || t().graph),
    page("/requests", "activity", 'r', true, || t().requests_page),
    page("/traces", "waypoints", 't', true, || t().traces),
    page("/explain", "route", 'e', false, || t().explain),
    page("/services", "server", 's', true, || t().services),
    page("/workloads", "layers", 'w', true, || t().workloads),
    page("/apps", "package", 'a', true, || t().apps),
    page("/namespaces", "component", 'n', true, || t().namespaces),
    page("/config", "file-cog", 'c', false, || t().config),
    page("/history", "history", 'h', false, || t().changes),
    page("/mesh", "boxes", 'm', false, || t().mesh),
];

/// Sections of the column: the first page of each.
const SECTIONS: &[&str] = &["/services", "/config"];

/// All pages.
pub fn pages() -> &'static [Page] {
    PAGES
}

/// The page that a path belongs to.
pub fn page_of(path: &str) -> Option<Page> {
    PAGES.iter().copied().find(|page| {
        path.strip_prefix(page.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The column.
#[component]
pub fn Navigation() -> impl IntoView {
    let (address, time) = (address(), time());
    let links = PAGES.iter().map(|page| {
        let current = move || {
            let here = page_of(&address.path()).is_some_and(|here| here.path == page.path);
            here.then_some("page")
        };
        let name = (page.name)();
        view! {
            <a
                href=move || time.link(page.path)
                class:section=SECTIONS.contains(&page.path)
                aria-current=current
                title=format!("{name} (g {})", page.key)
            >
                {icon(page.icon)}<span>{name}</span>
            </a>
        }
    });
    view! {
        <nav class="column" aria-label=t().pages>
            <a href=move || time.link("/overview") class="brand" aria-label="Sightline">
                <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
                    <path d="M3 17 9.5 7l5 7L21 6"></path>
                    <circle cx="9.5" cy="7" r="2.6"></circle>
                </svg>
                <span>"Sightline"</span>
            </a>
            <div class="nav">{links.collect_view()}</div>
            <div class="spacer"></div>
            <UserButton/>
            <div class="column-foot">
                <ThemeButton/>
                <LanguageButton/>
                <HelpButton/>
            </div>
        </nav>
    }
}

#[component]
fn ThemeButton() -> impl IntoView {
    let theme = theme();
    let words = move || theme.choice.get().face().1;
    view! {
        <button class="button quiet square" aria-label=words title=words on:click=move |_| theme.next()>
            {move || icon(theme.choice.get().face().0)}
        </button>
    }
}

#[component]
fn LanguageButton() -> impl IntoView {
    let spoken = expect_context::<Spoken>();
    let next = move || spoken.0.get().next();
    view! {
        <button
            class="button quiet square"
            lang=move || next().tag()
            aria-label=move || next().name()
            title=move || format!("{}: {}", t().language, next().name())
            data-language=move || spoken.0.get().tag()
            on:click=move |_| spoken.switch(untrack(next))
        >
            {icon("languages")}
        </button>
    }
}

#[component]
fn HelpButton() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    view! {
        <button class="button quiet square" aria-label=t().help title=format!("{} (?)", t().help) on:click=move |_| Overlays::open(overlays.help)>
            {icon("circle-help")}
        </button>
    }
}

/// Whether anyone is signed in, for parts that need it.
pub fn who() -> Who {
    expect_context::<Who>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_pages() {
        for (path, expected) in [
            ("/graph", Some("/graph")),
            ("/services/default/reviews", Some("/services")),
            ("/config/VirtualService/default/reviews", Some("/config")),
            ("/configuration", None),
            ("/", None),
            ("/gallery", None),
        ] {
            assert_eq!(page_of(path).map(|page| page.path), expected, "{path}");
        }
    }

    #[test]
    fn every_page_has_a_key_of_its_own() {
        let mut keys: Vec<char> = PAGES.iter().map(|page| page.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), PAGES.len());
    }
}

//! The shell: navigation, time bar, pages, who is signed in.

mod keys;
mod nav;
mod routes;
mod signin;

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::{Lazy, path};
use mesh_api::session::Session;

use self::nav::{Navigation, PAGES, page_of};
use self::routes::{
    AppRoute, AppsRoute, EditorRoute, ExplainRoute, GalleryRoute, GraphRoute, HistoryRoute, ListRoute,
    MeshRoute, NamespaceRoute, NamespacesRoute, NewRoute, ProxyRoute, RequestsRoute, ServiceRoute,
    ServicesRoute, TraceRoute, TracesRoute, WorkloadRoute, WorkloadsRoute, fetch_ahead,
};
use self::signin::SignInDialog;
use crate::address::Address;
use crate::api;
use crate::chart::Marks;
use crate::help::HelpDialog;
use crate::overview::OverviewPage;
use crate::palette::PaletteDialog;
use crate::parts::{empty, icon};
use crate::text::{Language, t};
use crate::theme::Theme;
use crate::time::{Time, TimeBar};

pub use self::nav::pages;

/// Who is signed in; nothing until the console has said.
#[derive(Clone, Copy)]
pub struct Who(pub RwSignal<Option<Session>>);

impl Who {
    /// Whether objects may be changed.
    pub fn may_edit(self) -> bool {
        self.0
            .with(|session| session.as_ref().is_some_and(|session| session.may_edit))
    }
}

/// The language in use; what it says is drawn again when it changes.
#[derive(Clone, Copy)]
pub struct Spoken(pub RwSignal<Language>);

impl Spoken {
    /// Speaks another language from now on.
    pub fn switch(self, language: Language) {
        language.speak();
        language.remember();
        // The page is drawn anew: not while one of its own buttons still runs.
        request_animation_frame(move || self.0.set(language));
    }
}

/// What lies over the page, opened from anywhere.
#[derive(Clone, Copy)]
pub struct Overlays {
    /// Search and jump.
    pub palette: NodeRef<html::Dialog>,
    /// Keys and notices.
    pub help: NodeRef<html::Dialog>,
    /// Token.
    pub sign_in: NodeRef<html::Dialog>,
}

impl Overlays {
    /// Opens one.
    pub fn open(dialog: NodeRef<html::Dialog>) {
        if let Some(dialog) = dialog.get_untracked()
            && !dialog.open()
            && dialog.show_modal().is_err()
        {
            leptos::logging::warn!("the dialog does not open");
        }
    }

    /// Closes one.
    pub fn close(dialog: NodeRef<html::Dialog>) {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    }
}

/// The whole application.
#[component]
pub fn App() -> impl IntoView {
    let language = Language::detect();
    language.speak();
    let spoken = Spoken(RwSignal::new(language));
    let who = Who(RwSignal::new(None));
    provide_context(spoken);
    provide_context(who);
    provide_context(Theme::new());
    spawn_local(async move {
        match api::get::<Session>("/api/session").await {
            Ok(session) => who.0.set(Some(session)),
            Err(failure) => leptos::logging::warn!("no session: {}", failure.message),
        }
    });
    view! {
        <Router>
            {move || {
                spoken.0.track();
                view! { <Shell/> }
            }}
        </Router>
    }
}

#[component]
fn Shell() -> impl IntoView {
    let address = Address::new();
    provide_context(address);
    let time = Time::new(address);
    provide_context(time);
    provide_context(Marks::new(time));
    let overlays = Overlays {
        palette: NodeRef::new(),
        help: NodeRef::new(),
        sign_in: NodeRef::new(),
    };
    provide_context(overlays);
    keys::follow(address, time, overlays);
    name_the_tab(address);
    fetch_ahead();
    // Another page has other data: it is not as fresh as the last one's.
    Effect::new(move |_| {
        let _ = address.path();
        time.report(None);
        time.lost.set(false);
    });
    let with_time = Memo::new(move |_| page_of(&address.path()).is_some_and(|page| page.time));
    view! {
        <a class="skip" href="#content">{t().skip}</a>
        <div class="app">
            <Navigation/>
            <div class="desk">
                <header class="masthead">
                    <button class="button search-button" on:click=move |_| Overlays::open(overlays.palette)>
                        {icon("search")}<span>{t().search_or_jump}</span><kbd>"Ctrl K"</kbd>
                    </button>
                    <div class="spacer"></div>
                    <Show when=move || with_time.get()><TimeBar/></Show>
                </header>
                <main id="content" tabindex="-1">
                    <Pages/>
                </main>
            </div>
        </div>
        <PaletteDialog/>
        <HelpDialog/>
        <SignInDialog/>
    }
}

/// One line for each page.
#[component]
fn Pages() -> impl IntoView {
    view! {
        <Routes fallback=|| empty("circle-help", t().not_found.to_owned(), t().not_found_hint.to_owned())>
            <Route path=path!("/") view=|| view! { <Redirect path="/overview"/> }/>
            <Route path=path!("/overview") view=OverviewPage/>
            <Route path=path!("/gallery") view={Lazy::<GalleryRoute>::new()}/>
            <Route path=path!("/history") view={Lazy::<HistoryRoute>::new()}/>
            <Route path=path!("/graph") view={Lazy::<GraphRoute>::new()}/>
            <Route path=path!("/config") view={Lazy::<ListRoute>::new()}/>
            <Route path=path!("/config/new") view={Lazy::<NewRoute>::new()}/>
            <Route path=path!("/config/:kind/:namespace/:name") view={Lazy::<EditorRoute>::new()}/>
            <Route path=path!("/explain") view={Lazy::<ExplainRoute>::new()}/>
            <Route path=path!("/requests") view={Lazy::<RequestsRoute>::new()}/>
            <Route path=path!("/traces") view={Lazy::<TracesRoute>::new()}/>
            <Route path=path!("/traces/:trace") view={Lazy::<TraceRoute>::new()}/>
            <Route path=path!("/services") view={Lazy::<ServicesRoute>::new()}/>
            <Route path=path!("/services/:namespace/:name") view={Lazy::<ServiceRoute>::new()}/>
            <Route path=path!("/workloads") view={Lazy::<WorkloadsRoute>::new()}/>
            <Route path=path!("/workloads/:namespace/:name") view={Lazy::<WorkloadRoute>::new()}/>
            <Route path=path!("/apps") view={Lazy::<AppsRoute>::new()}/>
            <Route path=path!("/apps/:namespace/:name") view={Lazy::<AppRoute>::new()}/>
            <Route path=path!("/namespaces") view={Lazy::<NamespacesRoute>::new()}/>
            <Route path=path!("/namespaces/:name") view={Lazy::<NamespaceRoute>::new()}/>
            <Route path=path!("/mesh/:proxy") view={Lazy::<ProxyRoute>::new()}/>
            <Route path=path!("/mesh") view={Lazy::<MeshRoute>::new()}/>
        </Routes>
    }
}

/// `default/reviews · Services · Sightline`
fn name_the_tab(address: Address) {
    Effect::new(move |_| {
        let path = address.path();
        let page = page_of(&path);
        let rest: Vec<&str> = path
            .trim_matches('/')
            .split('/')
            .skip(1)
            .filter(|part| !part.is_empty())
            .collect();
        let mut parts = Vec::new();
        if !rest.is_empty() {
            parts.push(rest.join("/"));
        }
        parts.extend(page.map(|page| (page.name)().to_owned()));
        parts.push("Sightline".to_owned());
        document().set_title(&parts.join(" · "));
    });
}

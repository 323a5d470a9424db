//! The shell: masthead, pages, who is signed in.

use gloo_net::http::Method;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::components::{A, Redirect, Route, Router, Routes};
use leptos_router::path;
use mesh_api::session::{Session, SignIn};

use crate::address::Address;
use crate::api::{self, Failure};
use crate::config::{EditorPage, ListPage, NewPage};
use crate::graph::GraphPage;
use crate::mesh::MeshPage;
use crate::parts::{empty, icon};
use crate::text::t;
use crate::theme::{Theme, theme};

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

/// The whole application.
#[component]
pub fn App() -> impl IntoView {
    let who = Who(RwSignal::new(None));
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
            <Shell/>
        </Router>
    }
}

#[component]
fn Shell() -> impl IntoView {
    provide_context(Address::new());
    let dialog = NodeRef::<html::Dialog>::new();
    view! {
        <a class="skip" href="#content">{t().skip}</a>
        <div class="app">
            <header class="masthead">
                <A href="/graph" attr:class="brand">
                    <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
                        <path d="M3 17 9.5 7l5 7L21 6"></path>
                        <circle cx="9.5" cy="7" r="2.6"></circle>
                    </svg>
                    "Sightline"
                </A>
                <nav class="nav" aria-label=t().pages>
                    <A href="/graph">{icon("network")}{t().graph}</A>
                    <A href="/config">{icon("file-cog")}{t().config}</A>
                    <A href="/mesh">{icon("boxes")}{t().mesh}</A>
                </nav>
                <div class="spacer"></div>
                <ThemeButton/>
                <UserButton dialog/>
            </header>
            <main id="content" tabindex="-1">
                <Routes fallback=|| empty("circle-help", t().not_found.to_owned(), t().not_found_hint.to_owned())>
                    <Route path=path!("/") view=|| view! { <Redirect path="/graph"/> }/>
                    <Route path=path!("/graph") view=GraphPage/>
                    <Route path=path!("/config") view=ListPage/>
                    <Route path=path!("/config/new") view=NewPage/>
                    <Route path=path!("/config/:kind/:namespace/:name") view=EditorPage/>
                    <Route path=path!("/mesh") view=MeshPage/>
                </Routes>
            </main>
        </div>
        <SignInDialog dialog/>
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
fn UserButton(dialog: NodeRef<html::Dialog>) -> impl IntoView {
    let who = expect_context::<Who>();
    let sign_out = move |_| {
        spawn_local(async move {
            match api::send::<(), Session>(Method::DELETE, "/api/session", &()).await {
                Ok(session) => who.0.set(Some(session)),
                Err(failure) => leptos::logging::warn!("not signed out: {}", failure.message),
            }
        });
    };
    let open = move |_| {
        if let Some(dialog) = dialog.get_untracked()
            && dialog.show_modal().is_err()
        {
            leptos::logging::warn!("the dialog is open already");
        }
    };
    move || {
        let session = who.0.get()?;
        Some(if session.user.is_empty() {
            view! { <button class="button" on:click=open>{icon("log-in")}{t().sign_in}</button> }.into_any()
        } else {
            view! {
                <span class="chip" data-user="">{icon("user")}{session.user}</span>
                <button class="button quiet square" aria-label=t().sign_out title=t().sign_out on:click=sign_out>{icon("log-out")}</button>
            }
            .into_any()
        })
    }
}

#[component]
fn SignInDialog(dialog: NodeRef<html::Dialog>) -> impl IntoView {
    let who = expect_context::<Who>();
    let token = RwSignal::new(String::new());
    let failure: RwSignal<Option<Failure>> = RwSignal::new(None);
    let close = move || {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = SignIn {
            token: token.get_untracked(),
        };
        spawn_local(async move {
            match api::send::<SignIn, Session>(Method::POST, "/api/session", &body).await {
                Ok(session) => {
                    token.set(String::new());
                    failure.set(None);
                    who.0.set(Some(session));
                    close();
                }
                Err(error) => failure.set(Some(error)),
            }
        });
    };
    view! {
        <dialog node_ref=dialog aria-labelledby="sign-in-title">
            <form on:submit=submit>
                <h2 id="sign-in-title">{t().sign_in}</h2>
                <label for="token">{t().token}</label>
                <input id="token" class="input mono" type="password" autocomplete="off" prop:value=token on:input=move |event| token.set(event_target_value(&event))/>
                <p class="kind">{t().token_hint}</p>
                {move || failure.get().map(|failure| view! { <p class="health fail" role="alert">{failure.message}</p> })}
                <div class="actions">
                    <button type="button" class="button" on:click=move |_| close()>{t().cancel}</button>
                    <button type="submit" class="button primary">{t().sign_in}</button>
                </div>
            </form>
        </dialog>
    }
}

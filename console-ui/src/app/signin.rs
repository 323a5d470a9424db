//! Signing in and out.

use gloo_net::http::Method;
use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::session::{Session, SignIn};

use super::nav::who;
use super::{Overlays, Who};
use crate::api::{self, Failure};
use crate::parts::icon;
use crate::text::t;

/// Who is signed in, and the way out; or the way in.
#[component]
pub fn UserButton() -> impl IntoView {
    let (who, overlays) = (who(), expect_context::<Overlays>());
    let sign_out = move |_| {
        spawn_local(async move {
            match api::send::<(), Session>(Method::DELETE, "/api/session", &()).await {
                Ok(session) => who.0.set(Some(session)),
                Err(failure) => leptos::logging::warn!("not signed out: {}", failure.message),
            }
        });
    };
    move || {
        let session = who.0.get()?;
        Some(if session.user.is_empty() {
            view! {
                <div class="user"><button class="button" on:click=move |_| Overlays::open(overlays.sign_in)>{icon("log-in")}<span>{t().sign_in}</span></button></div>
            }
            .into_any()
        } else {
            let name = session.user.clone();
            view! {
                <div class="user">
                    <span class="user-name" data-user="" title=name>{icon("user")}<span>{session.user}</span></span>
                    <button class="button quiet square" aria-label=t().sign_out title=t().sign_out on:click=sign_out>{icon("log-out")}</button>
                </div>
            }
            .into_any()
        })
    }
}

/// Asks for a token.
#[component]
pub fn SignInDialog() -> impl IntoView {
    let who = expect_context::<Who>();
    let dialog = expect_context::<Overlays>().sign_in;
    let token = RwSignal::new(String::new());
    let failure: RwSignal<Option<Failure>> = RwSignal::new(None);
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
                    Overlays::close(dialog);
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
                    <button type="button" class="button" on:click=move |_| Overlays::close(dialog)>{t().cancel}</button>
                    <button type="submit" class="button primary">{t().sign_in}</button>
                </div>
            </form>
        </dialog>
    }
}

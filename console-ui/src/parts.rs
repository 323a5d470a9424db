//! Small pieces that every page uses.

use leptos::prelude::*;

use crate::api::Failure;
use crate::health::Health;
use crate::text::t;

/// An icon of the sprite.
pub fn icon(name: &'static str) -> impl IntoView {
    sized_icon(name, "icon")
}

/// An icon with further classes.
pub fn sized_icon(name: &'static str, class: &'static str) -> impl IntoView {
    view! {
        <svg class=class aria-hidden="true">
            <use href=format!("#i-{name}")></use>
        </svg>
    }
}

/// Colour, shape and word of a verdict.
pub fn health_badge(health: Health) -> impl IntoView {
    view! {
        <span class=format!("health {}", health.class())>
            {icon(health.icon())}
            {health.word()}
        </span>
    }
}

/// Nothing to show: why, and what next.
pub fn empty(name: &'static str, title: String, hint: String) -> impl IntoView {
    view! {
        <div class="empty">
            {icon(name)}
            <strong>{title}</strong>
            <p>{hint}</p>
        </div>
    }
}

/// A failed call, with its cause, its id for the logs, and a way to try again.
pub fn failed(title: &'static str, failure: Failure, retry: impl Fn() + 'static) -> impl IntoView {
    let id =
        (!failure.request_id.is_empty()).then(|| view! { <span class="mono">{failure.request_id}</span> });
    view! {
        <div class="empty" role="alert">
            {icon("unplug")}
            <strong>{title}</strong>
            <p>{failure.message}</p>
            <p>{failure.remedy}</p>
            {id}
            <button class="button" on:click=move |_| retry()>{icon("refresh-cw")}{t().retry}</button>
        </div>
    }
}

/// A choice of a few.
pub fn segmented<T: Copy + PartialEq + Send + Sync + 'static>(
    label: &'static str,
    options: Vec<(T, &'static str)>,
    chosen: impl Fn() -> T + Copy + Send + Sync + 'static,
    choose: impl Fn(T) + Copy + 'static,
) -> impl IntoView {
    let buttons = options
        .into_iter()
        .map(|(value, name)| {
            view! {
                <button aria-pressed=move || (chosen() == value).to_string() on:click=move |_| choose(value)>
                    {name}
                </button>
            }
        })
        .collect_view();
    view! { <div class="segmented" role="group" aria-label=label>{buttons}</div> }
}

/// A button that copies a text, and says so.
pub fn copy(label: &'static str, text: Callback<(), String>) -> impl IntoView {
    let done = RwSignal::new(false);
    let press = move |_| {
        let text = text.run(());
        let Some(clipboard) = web_sys::window().map(|window| window.navigator().clipboard()) else {
            return;
        };
        leptos::task::spawn_local(async move {
            if wasm_bindgen_futures::JsFuture::from(clipboard.write_text(&text))
                .await
                .is_ok()
            {
                done.try_set(true);
                set_timeout(
                    move || {
                        done.try_set(false);
                    },
                    std::time::Duration::from_secs(2),
                );
            } else {
                leptos::logging::warn!("the browser does not let the page copy");
            }
        });
    };
    view! {
        <button type="button" class="button quiet copy" title=label on:click=press>
            {move || if done.get() { icon("check").into_any() } else { icon("copy").into_any() }}
            <span aria-live="polite">{move || if done.get() { t().copied } else { label }}</span>
        </button>
    }
}

/// A titled box; `link` leads on from its head.
pub fn card(title: &'static str, link: Option<AnyView>, body: impl IntoView) -> impl IntoView {
    view! {
        <section class="card-box">
            <header><h2>{title}</h2><div class="spacer"></div>{link}</header>
            {body}
        </section>
    }
}

/// A figure with its name, and what stands small beside or below it.
pub fn figure(
    label: &'static str,
    value: String,
    class: &'static str,
    detail: impl IntoView,
) -> impl IntoView {
    view! {
        <div class="figure">
            <span class="label">{label}</span>
            <span class=format!("value {class}")>{value}</span>
            {detail}
        </div>
    }
}

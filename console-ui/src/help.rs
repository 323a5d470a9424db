//! `?`: all keys, the API, the licences of what is built in.

use leptos::prelude::*;

use crate::app::{Overlays, Who, pages};
use crate::parts::icon;
use crate::text::help::words;
use crate::text::t;

/// The dialog.
#[component]
pub fn HelpDialog() -> impl IntoView {
    let dialog = expect_context::<Overlays>().help;
    let who = expect_context::<Who>();
    let everywhere = [
        (vec!["Ctrl", "K"], words().palette),
        (vec!["?"], words().this_help),
        (vec!["/"], words().search),
        (vec!["j"], words().next_row),
        (vec!["k"], words().previous_row),
        (vec!["Enter"], words().open_row),
        (vec!["Esc"], words().escape),
    ];
    let graph = [
        (vec!["←", "→", "↑", "↓"], words().pan),
        (vec!["+", "−"], words().zoom),
        (vec!["0"], words().fit),
        (vec!["Tab", "← →"], words().walk),
    ];
    let editor = [
        (vec!["Ctrl", "Enter"], words().review),
        (vec!["Ctrl", "Space"], words().complete),
    ];
    let goes = pages().iter().map(|page| {
        view! { <div><dt><kbd>"g"</kbd><kbd>{page.key.to_string()}</kbd></dt><dd>{(words().go_to)((page.name)())}</dd></div> }
    });
    let version = move || {
        who.0
            .with(|session| session.as_ref().map(|session| session.version.clone()))
    };
    view! {
        <dialog class="help" node_ref=dialog aria-labelledby="help-title">
            <header>
                <h2 id="help-title">{words().keys}</h2>
                <div class="spacer"></div>
                <button class="button quiet square" aria-label=t().close title=t().close autofocus=true on:click=move |_| Overlays::close(dialog)>{icon("x")}</button>
            </header>
            <div class="help-columns">
                <section><h3>{words().everywhere}</h3>{list(everywhere.into())}</section>
                <section><h3>{words().pages}</h3><dl class="keys">{goes.collect_view()}</dl></section>
                <section>
                    <h3>{words().in_graph}</h3>{list(graph.into())}
                    <h3>{words().in_editor}</h3>{list(editor.into())}
                </section>
            </div>
            <footer>
                <a href="/api/openapi.json" target="_blank" rel="noopener">{words().api}</a>
                <a href="/assets/NOTICES.txt" target="_blank" rel="noopener">{words().licences}</a>
                <a href="/gallery" on:click=move |_| Overlays::close(dialog)>{t().gallery}</a>
                <div class="spacer"></div>
                <span class="kind">"Sightline "{version}</span>
            </footer>
        </dialog>
    }
}

fn list(keys: Vec<(Vec<&'static str>, &'static str)>) -> impl IntoView {
    let rows = keys.into_iter().map(|(keys, what)| {
        let keys = keys
            .into_iter()
            .map(|key| view! { <kbd>{key}</kbd> })
            .collect_view();
        view! { <div><dt>{keys}</dt><dd>{what}</dd></div> }
    });
    view! { <dl class="keys">{rows.collect_view()}</dl> }
}

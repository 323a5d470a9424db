//! Before and after saving: the difference, and what happens when someone else was faster.

use leptos::prelude::*;
use mesh_api::config::SaveConflict;

use crate::parts::icon;
use crate::text::t;

/// Someone else saved first: their version against ours.
#[component]
pub fn Conflict(conflict: SaveConflict, take_theirs: Callback<()>, keep_mine: Callback<()>) -> impl IntoView {
    let lines = conflict.diff.lines().map(|line| {
        let class = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'@', ..] => "meta",
            [b'+', ..] => "add",
            [b'-', ..] => "del",
            _ => "",
        };
        view! { <span class=class>{format!("{line}\n")}</span> }
    });
    view! {
        <div class="review" role="alert" data-conflict="">
            <div class="banner fail">{icon("git-compare")}{t().conflict}<span class="detail">{conflict.message}</span></div>
            <div class="toolbar">
                <span>{t().conflict_hint}</span>
                <div class="spacer"></div>
                <button class="button" on:click=move |_| take_theirs.run(())>{icon("undo-2")}{t().take_theirs}</button>
                <button class="button primary" on:click=move |_| keep_mine.run(())>{icon("git-compare")}{t().rebase}</button>
            </div>
            <div class="scroll"><pre class="diff-text" tabindex="0" aria-label=t().yours_against_theirs>{lines.collect_view()}</pre></div>
        </div>
    }
}

//! The page.

use leptos::prelude::*;

use super::change::Turn;
use super::choice::{Choice, Other, Selection};
use super::feed::Feed;
use super::language::parse;
use super::panel::Panel;
use super::playback::PlaybackBar;
use super::scene::Scene;
use super::stage::GraphStage;
use super::table::EdgeTable;
use super::toolbar::Toolbar;
use super::tools::Tools;
use crate::address::{Step, address};
use crate::clock;
use crate::parts::{empty, failed, icon, sized_icon};
use crate::text::graph::words;
use crate::text::t;
use crate::time::{length, time};

/// What calls what.
#[component]
pub fn GraphPage() -> impl IntoView {
    let address = address();
    let (choice, time) = (Choice::new(address), time());
    let feed = Feed::follow(choice);
    let scene = Memo::new(move |_| {
        let drawn = feed.whole.with(|graph| {
            feed.layout.with(|layout| match (graph, layout) {
                (Some(graph), Some(layout)) => Scene::new(graph, layout, feed.kind.get()),
                _ => Scene::default(),
            })
        });
        let drawn = feed.before.with(|before| match before {
            Some(before) => drawn.compared_with(before),
            None => drawn,
        });
        // A condition with a mistake finds and hides nothing; the field says what is wrong.
        let condition = |text: Memo<String>| text.with(|text| parse(text).ok().flatten());
        drawn
            .reduced(condition(choice.hide).as_ref(), choice.isolation.get().as_ref())
            .marked(condition(choice.find).as_ref())
    });
    let select = Callback::new(move |selection: Option<Selection>| {
        let text = selection.map(|selection| selection.to_text());
        if address.read("sel") != text {
            address.write(&[("sel", text)], Step::New);
        }
    });
    let state = Memo::new(move |_| {
        let arrived = feed.whole.with(|graph| {
            graph
                .as_ref()
                .map(|graph| graph.edges.is_empty() && graph.nodes.is_empty())
        });
        match (
            feed.failure.with(Option::is_some),
            arrived,
            scene.with(|scene| scene.cards.is_empty()),
        ) {
            (true, None, _) => Shown::Failed,
            (_, Some(true), _) => Shown::Quiet,
            (_, Some(false), false) => Shown::Traffic,
            (_, Some(false), true) if scene.with(|scene| scene.hidden != (0, 0)) => Shown::Hidden,
            _ => Shown::Waiting,
        }
    });
    view! {
        <h1 class="visually-hidden">{t().graph}</h1>
        <Toolbar choice feed/>
        <Tools choice feed scene/>
        <Show when=move || feed.lost.get() && time.live.get()>
            <div class="banner" role="status">{icon("unplug")}{t().lost}<span class="detail">{t().lost_detail}</span></div>
        </Show>
        <Show when=move || has_gap(feed)>
            <div class="banner info" role="status">{icon("info")}{t().gap}</div>
        </Show>
        {move || choice.compare.get().map(diff_strip)}
        <div class="graph">
            {move || match state.get() {
                Shown::Waiting => view! { <div class="empty" role="status">{sized_icon("loader-circle", "icon spin")}<p>{t().waiting}</p></div> }.into_any(),
                Shown::Quiet => empty("network", t().no_traffic.to_owned(), t().no_traffic_hint.to_owned()).into_any(),
                Shown::Hidden => empty("eye-off", words().nothing_left.to_owned(), words().nothing_left_hint.to_owned()).into_any(),
                Shown::Failed => feed.failure.get().map(|failure| failed(t().graph_failed, failure, move || feed.retry())).into_any(),
                Shown::Traffic => view! {
                    {move || if choice.table.get() {
                        view! { <EdgeTable scene selection=choice.selection select/> }.into_any()
                    } else {
                        view! { <GraphStage scene choice select/> }.into_any()
                    }}
                    <Panel scene choice select/>
                }.into_any(),
            }}
        </div>
        <Show when=move || choice.moment.get().is_some()><PlaybackBar choice/></Show>
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Waiting,
    Quiet,
    Hidden,
    Failed,
    Traffic,
}

/// With what is compared, and what the colours mean.
fn diff_strip(other: Other) -> impl IntoView {
    let title = match other {
        Other::Earlier(seconds) => (words().compared_with)(&length(seconds)),
        Other::EndsAt(at) => format!("{} · {}", words().previous_change, clock::full(at)),
    };
    let turns = Turn::ALL
        .map(|turn| view! { <li><span class=format!("turn {}", turn.class())></span>{turn.word()}</li> });
    view! { <div class="diff-strip" data-compared=""><strong>{title}</strong><ul>{turns.into_iter().collect_view()}</ul></div> }
}

fn has_gap(feed: Feed) -> bool {
    feed.graph.with(|graph| {
        graph
            .as_ref()
            .is_some_and(|graph| graph.edges.iter().any(|edge| edge.gap))
    })
}

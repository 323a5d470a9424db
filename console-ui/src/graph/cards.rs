//! The nodes: an SVG layer over the canvas, so that every node can be focused, read aloud and clicked.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use mesh_api::graph::NodeKind;

use super::choice::Selection;
use super::scene::{Card, Scene};
use super::viewport::{CARDS_FROM, Viewport};
use crate::format;
use crate::health::Health;

/// Characters that fit beside the icon.
const TITLE_LIMIT: usize = 20;

/// What nodes tell the page.
#[derive(Clone, Copy)]
pub struct CardEvents {
    /// Clicked, or Enter.
    pub select: Callback<String>,
    /// Arrow keys.
    pub key: Callback<(String, KeyboardEvent)>,
    /// Focused by keyboard.
    pub focus: Callback<String>,
}

/// All nodes.
#[component]
pub fn Cards(
    scene: Memo<Scene>,
    viewport: RwSignal<Viewport>,
    selection: Memo<Option<Selection>>,
    related: Memo<Option<Vec<String>>>,
    events: CardEvents,
) -> impl IntoView {
    let ids = Memo::new(move |_| {
        scene.with(|scene| scene.cards.iter().map(|card| card.id.clone()).collect::<Vec<_>>())
    });
    // From far away the canvas draws them; here they stay to be pointed at and focused.
    let far = Memo::new(move |_| viewport.get().zoom < CARDS_FROM);
    view! {
        <svg class="nodes" class:far=move || far.get()>
            <g transform=move || viewport.get().transform()>
                <For each=move || ids.get() key=|id| id.clone() let:id>
                    <CardView id scene selection related events/>
                </For>
            </g>
        </svg>
    }
}

#[component]
fn CardView(
    id: String,
    scene: Memo<Scene>,
    selection: Memo<Option<Selection>>,
    related: Memo<Option<Vec<String>>>,
    events: CardEvents,
) -> impl IntoView {
    let key = StoredValue::new(id);
    let card = Memo::new(move |_| scene.with(|scene| key.with_value(|id| scene.card(id).cloned())));
    let rate = Memo::new(move |_| {
        let requests = card.with(|card| card.as_ref().map_or(0, |card| card.requests));
        format::rate(requests, scene.with(|scene| scene.seconds))
    });
    let class = move || {
        let mut class = String::from("node");
        if selection.with(
            |selection| matches!(selection, Some(Selection::Node(id)) if key.with_value(|key| key == id)),
        ) {
            class.push_str(" selected");
        }
        if related.with(|related| {
            related
                .as_ref()
                .is_some_and(|ids| key.with_value(|key| !ids.contains(key)))
        }) {
            class.push_str(" dim");
        }
        card.with(|card| {
            if let Some(card) = card {
                let marks = [
                    (card.kind == NodeKind::Unknown, " ghost"),
                    (card.idle, " idle"),
                    (card.found, " found"),
                ];
                for (_, mark) in marks.into_iter().filter(|(holds, _)| *holds) {
                    class.push_str(mark);
                }
            }
        });
        class
    };
    let transform = move || {
        card.with(|card| {
            card.as_ref().map(|card| {
                format!(
                    "translate({:.1} {:.1})",
                    card.x - card.width / 2.0,
                    card.y - card.height / 2.0
                )
            })
        })
    };
    let spoken = move || {
        card.with(|card| {
            card.as_ref().map(|card| {
                let name = [card.title.as_str(), card.version.as_str()]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ");
                // Begins with what is written on the card, so that a voice command finds it.
                format!(
                    "{name} {} {}, {}, {}",
                    rate.get(),
                    crate::text::t().rps,
                    card.health().word(),
                    card.kind_word()
                )
            })
        })
    };
    view! {
        <g
            class=class
            transform=transform
            tabindex="0"
            role="button"
            aria-label=spoken
            data-id=key.get_value()
            on:click=move |event| {
                event.stop_propagation();
                events.select.run(key.get_value());
            }
            on:keydown=move |event| events.key.run((key.get_value(), event))
            on:focus=move |_| events.focus.run(key.get_value())
        >
            {move || card.get().map(|card| face(&card))}
            <text class="sub" x="49" y="38">{move || format!("{} {}", rate.get(), crate::text::t().rps)}</text>
        </g>
    }
}

/// What changes with the node's name and health only. Texts end in a space, so that read together they are words.
fn face(card: &Card) -> impl IntoView + use<> {
    let (width, height) = (format!("{:.0}", card.width), format!("{:.0}", card.height));
    let version = (!card.version.is_empty()).then(|| {
        let x = format!("{:.0}", card.width - 12.0);
        view! { <text class="version" x=x y="38" text-anchor="end">{format!("{} ", format::shorten(&card.version, 8))}</text> }
    });
    view! {
        <rect class="shade" x="0" y="2" width=width.clone() height=height.clone() rx="9"></rect>
        <rect class="card" width=width height=height rx="9"></rect>
        <rect class="plate" x="9" y="10" width="31" height="31" rx="7"></rect>
        <use class="glyph" href=format!("#i-{}", card.icon()) x="16" y="17" width="17" height="17"></use>
        <text class="title" x="49" y="22">{format!("{} ", format::shorten(&card.title, TITLE_LIMIT))}</text>
        {version}
        <g transform="translate(39 40)">{mark_of(card.health())}</g>
    }
}

/// Circle, triangle, octagon, dashed ring: told apart without colour.
fn mark_of(health: Health) -> AnyView {
    match health {
        Health::Ok => view! {
            <circle class="mark ok" r="7.5"></circle>
            <path class="tick" d="M-3 0.2 -0.8 2.4 3 -2"></path>
        }
        .into_any(),
        Health::Warn => view! {
            <path class="mark warn" d="M0 -7.5 8 6.5 -8 6.5Z" stroke-linejoin="round"></path>
            <path class="bang" d="M0 -2.6V2M0 4.3V4.4"></path>
        }
        .into_any(),
        Health::Fail => view! {
            <path class="mark fail" d="M-3.2 -7.6H3.2L7.6 -3.2V3.2L3.2 7.6H-3.2L-7.6 3.2V-3.2Z"></path>
            <path class="bang on-fail" d="M0 -3.6V0.6M0 3.6V3.7"></path>
        }
        .into_any(),
        Health::Unknown => view! { <circle class="mark unknown" r="6"></circle> }.into_any(),
    }
}

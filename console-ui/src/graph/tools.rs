//! Find and hide, isolate, idle nodes, comparison, playback, export.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

use super::choice::{Choice, Other};
use super::export;
use super::feed::Feed;
use super::language::{edge_words, flag_words, node_words, parse};
use super::paint::Palette;
use super::playback;
use super::scene::Scene;
use crate::address::{Step, address};
use crate::chart::Marks;
use crate::clock;
use crate::grid::download;
use crate::parts::{icon, sized_icon};
use crate::text::graph::words;
use crate::text::t;
use crate::time::{close_outside, length};

/// Offered distances of the other time, seconds.
const EARLIER: &[u32] = &[300, 900, 3600, 21_600, 86_400, 604_800];
/// Examples of conditions.
const EXAMPLES: &[&str] = &[
    "not healthy",
    "p95 > 200ms",
    "errors > 1% and rate > 1",
    "name ~ reviews",
    "namespace = istio-system",
    "source ~ productpage and code = 503",
    "not mtls and not tcp",
    "idle or outside",
];

/// The second bar.
#[component]
pub fn Tools(choice: Choice, feed: Feed, scene: Memo<Scene>) -> impl IntoView {
    let address = address();
    let play = playback::enter();
    let counts = move |(nodes, edges): (usize, usize), text: fn(&str, &str) -> String| {
        text(&nodes.to_string(), &edges.to_string())
    };
    view! {
        <div class="toolbar tools" role="toolbar" aria-label=words().find>
            <Conditional name="find" symbol="search" placeholder=words().find_placeholder text=choice.find/>
            <Conditional name="hide" symbol="eye-off" placeholder=words().hide_placeholder text=choice.hide/>
            <LanguageHelp/>
            {move || {
                let found = scene.with(Scene::found);
                (!choice.find.with(String::is_empty)).then(|| view! { <span class="chip info" data-found="">{counts(found, words().found)}</span> })
            }}
            {move || {
                let hidden = scene.with(|scene| scene.hidden);
                (hidden != (0, 0)).then(|| view! { <span class="chip" data-hidden="">{counts(hidden, words().hidden)}</span> })
            }}
            {move || choice.isolation.get().map(|isolation| {
                let name = isolation.id.clone();
                view! {
                    <span class="chip info" data-isolated="">
                        {sized_icon("target", "icon small")}{(words().isolated)(&name)}
                        <Hops choice/>
                        <button class="chip-close" aria-label=words().show_everything title=words().show_everything on:click=move |_| address.write(&[("iso", None), ("dir", None), ("hops", None)], Step::New)>{sized_icon("x", "icon small")}</button>
                    </span>
                }
            })}
            <div class="spacer"></div>
            <button
                class="button"
                title=words().idle_hint
                aria-pressed=move || choice.idle.get().to_string()
                on:click=move |_| {
                    let on = choice.idle.get_untracked();
                    address.write(&[("idle", (!on).then(|| "1".to_owned()))], Step::Replace);
                }
            >
                {icon("circle-dashed")}{words().idle}
            </button>
            <Compare choice/>
            <button class="button" title=words().scrub_hint aria-pressed=move || choice.moment.get().is_some().to_string() on:click=move |_| play()>
                {icon("rewind")}{words().scrub}
            </button>
            <Export choice feed scene/>
        </div>
    }
}

/// A field with a condition; a mistake stands below it, and nothing is found or hidden meanwhile.
#[component]
fn Conditional(
    name: &'static str,
    symbol: &'static str,
    placeholder: &'static str,
    text: Memo<String>,
) -> impl IntoView {
    let address = address();
    let problem = Memo::new(move |_| text.with(|text| parse(text).err()));
    let id = format!("{name}-problem");
    let described = id.clone();
    view! {
        <span class="conditional">
            {sized_icon(symbol, "icon small")}
            <input
                class="input"
                type="search"
                placeholder=placeholder
                aria-label=placeholder
                spellcheck="false"
                autocomplete="off"
                aria-invalid=move || problem.with(Option::is_some).then_some("true")
                aria-describedby=described
                data-condition=name
                prop:value=move || text.get()
                on:input=move |event| {
                    let text = event_target_value(&event);
                    address.write(&[(name, (!text.is_empty()).then_some(text))], Step::Replace);
                }
            />
            <span id=id class="problem-tip" role="status">{move || problem.get()}</span>
        </span>
    }
}

#[component]
fn LanguageHelp() -> impl IntoView {
    let address = address();
    let menu = NodeRef::<html::Details>::new();
    close_outside(menu);
    let examples = EXAMPLES.iter().map(|example| {
        let put = move |name: &'static str| {
            move |_| address.write(&[(name, Some((*example).to_owned()))], Step::Replace)
        };
        view! {
            <li>
                <code>{*example}</code>
                <button class="button quiet" on:click=put("find")>{words().find}</button>
                <button class="button quiet" on:click=put("hide")>{words().hide}</button>
            </li>
        }
    });
    let row =
        |name: &'static str, list: String| view! { <div><dt>{name}</dt><dd class="mono">{list}</dd></div> };
    view! {
        <details class="chooser" node_ref=menu>
            <summary class="button quiet square" title=words().language_help aria-label=words().language_help>{icon("circle-help")}</summary>
            <div class="popover language-help">
                <p>{words().language_intro}</p>
                <dl>
                    {row(words().node_words, node_words())}
                    {row(words().edge_words, edge_words())}
                    {row(words().flags, flag_words())}
                </dl>
                <p class="mono">{words().operators}</p>
                <h3>{words().examples}</h3>
                <ul>{examples.collect_view()}</ul>
            </div>
        </details>
    }
}

/// How far isolation reaches.
#[component]
fn Hops(choice: Choice) -> impl IntoView {
    let address = address();
    let hops = move || choice.isolation.get().and_then(|isolation| isolation.hops);
    let direction = move || match choice.isolation.get() {
        Some(isolation) if !isolation.downstream => "up",
        Some(isolation) if !isolation.upstream => "down",
        _ => "",
    };
    let options = [None, Some(1), Some(2), Some(3)].map(|count| {
        let value = count.map(|count: u32| count.to_string()).unwrap_or_default();
        let name = count.map_or_else(
            || words().all_hops.to_owned(),
            |count| (words().hops)(&count.to_string()),
        );
        view! { <option value=value selected=move || hops() == count>{name}</option> }
    });
    let directions = [
        ("", words().both),
        ("up", words().upstream),
        ("down", words().downstream),
    ]
    .map(|(value, name)| view! { <option value=value selected=move || direction() == value>{name}</option> });
    let write = move |name: &'static str| {
        move |event: web_sys::Event| {
            let value = event_target_value(&event);
            address.write(&[(name, (!value.is_empty()).then_some(value))], Step::Replace);
        }
    };
    view! {
        <select class="mini" aria-label=words().isolate on:change=write("dir")>{directions.into_iter().collect_view()}</select>
        <select class="mini" aria-label=words().all_hops on:change=write("hops")>{options.into_iter().collect_view()}</select>
    }
}

/// The other time.
#[component]
fn Compare(choice: Choice) -> impl IntoView {
    let address = address();
    let marks = expect_context::<Marks>();
    crate::chart::follow_marks();
    let last_change = Memo::new(move |_| {
        let newest = marks.changes().into_iter().next()?;
        clock::parse(&newest.at)
    });
    let value = move || choice.compare.get().map(Other::to_text).unwrap_or_default();
    let option = move |other: Other, name: String| {
        let text = other.to_text();
        let this = text.clone();
        view! { <option value=text selected=move || value() == this>{name}</option> }
    };
    let earlier = EARLIER
        .iter()
        .map(|seconds| option(Other::Earlier(*seconds), (words().earlier_by)(&length(*seconds))));
    view! {
        <select
            class="select"
            aria-label=words().compare_hint
            title=words().compare_hint
            data-compare=""
            on:change=move |event| {
                let text = event_target_value(&event);
                address.write(&[("cmp", (!text.is_empty()).then_some(text)), ("moment", None)], Step::New);
            }
        >
            <option value="" selected=move || value().is_empty()>{words().no_compare}</option>
            {move || last_change.get().map(|at| option(Other::EndsAt(at.round()), words().previous_change.to_owned()))}
            {earlier.collect_view()}
        </select>
    }
}

#[component]
fn Export(choice: Choice, feed: Feed, scene: Memo<Scene>) -> impl IntoView {
    let menu = NodeRef::<html::Details>::new();
    close_outside(menu);
    let close = move || {
        if let Some(menu) = menu.get_untracked() {
            menu.set_open(false);
        }
    };
    let name = |ending: &str| {
        let at = clock::iso(clock::now());
        format!("mesh-{}.{ending}", at.get(..19).unwrap_or("now").replace(':', ""))
    };
    let label = move || choice.label.get_untracked();
    let picture = move || scene.with_untracked(|scene| export::svg(scene, label(), &Palette::read()));
    let item = move |symbol: &'static str, words: &'static str, ending: &'static str, act: Callback<()>| {
        view! { <button data-export=ending on:click=move |_| { act.run(()); close(); }>{icon(symbol)}{words}</button> }
    };
    let svg = Callback::new(move |()| download(&name("svg"), "image/svg+xml", &picture()));
    let png = Callback::new(move |()| {
        let size = scene.with_untracked(Scene::bounds);
        rasterise(name("png"), &picture(), (size.2 + 48.0, size.3 + 48.0));
    });
    let json = Callback::new(move |()| {
        let text = feed
            .graph
            .with_untracked(|graph| serde_json::to_string_pretty(graph).unwrap_or_default());
        download(&name("json"), "application/json", &text);
    });
    let dot = Callback::new(move |()| {
        let text = scene.with_untracked(|scene| export::dot(scene, label()));
        download(&name("dot"), "text/vnd.graphviz", &text);
    });
    let mermaid = Callback::new(move |()| {
        let text = scene.with_untracked(|scene| export::mermaid(scene, label()));
        download(&name("mmd"), "text/plain", &text);
    });
    view! {
        <details class="chooser menu" node_ref=menu>
            <summary class="button">{icon("download")}{words().export}{sized_icon("chevron-down", "icon small")}</summary>
            <div class="popover presets">
                {item("image", words().as_svg, "svg", svg)}
                {item("camera", words().as_png, "png", png)}
                {item("file-json", words().as_json, "json", json)}
                {item("file-code", words().as_dot, "dot", dot)}
                {item("workflow", words().as_mermaid, "mmd", mermaid)}
            </div>
        </details>
        <span class="visually-hidden">{t().graph}</span>
    }
}

/// Draws an SVG on a canvas of twice its size, and hands it over.
fn rasterise(name: String, svg: &str, size: (f64, f64)) {
    let Ok(image) = web_sys::HtmlImageElement::new() else {
        return;
    };
    let drawn = image.clone();
    let loaded = Closure::once_into_js(move || {
        if give(&name, &drawn, size).is_none() {
            leptos::logging::warn!("the browser does not draw the picture {name}");
        }
    });
    image.set_onload(Some(loaded.unchecked_ref()));
    image.set_src(&format!(
        "data:image/svg+xml;charset=utf-8,{}",
        crate::api::encode(svg)
    ));
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture of some thousand pixels"
)]
fn give(name: &str, image: &web_sys::HtmlImageElement, size: (f64, f64)) -> Option<()> {
    // Canvases larger than this stay empty.
    const MOST: f64 = 8192.0;
    let scale = (MOST / size.0.max(size.1).max(1.0)).min(2.0);
    let canvas: web_sys::HtmlCanvasElement = document().create_element("canvas").ok()?.dyn_into().ok()?;
    canvas.set_width((size.0 * scale) as u32);
    canvas.set_height((size.1 * scale) as u32);
    let context: web_sys::CanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
    context
        .draw_image_with_html_image_element_and_dw_and_dh(image, 0.0, 0.0, size.0 * scale, size.1 * scale)
        .ok()?;
    let link: web_sys::HtmlAnchorElement = document().create_element("a").ok()?.dyn_into().ok()?;
    link.set_href(&canvas.to_data_url_with_type("image/png").ok()?);
    link.set_download(name);
    link.click();
    Some(())
}

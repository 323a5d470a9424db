//! Ctrl+K: any object, page or action by a few of its letters.

mod fuzzy;

use leptos::ev::KeyboardEvent;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::config::ObjectList;
use mesh_api::inventory::{AppList, ServiceList, WorkloadList};

use self::fuzzy::score;
use crate::address::{Step, address};
use crate::api;
use crate::app::{Overlays, Spoken, pages};
use crate::clock;
use crate::parts::{icon, sized_icon};
use crate::text::help::words;
use crate::text::t;
use crate::theme::theme;
use crate::time::{Bound, Range, time};

/// More than this nobody reads: typing narrows.
const SHOWN: usize = 30;

/// What a choice does.
#[derive(Debug, Clone, PartialEq)]
enum Deed {
    /// Goes to a path; the time comes along.
    Go(String),
    Theme,
    Language,
    LiveOrPause,
    CopyLink,
    Help,
}

/// Something that can be chosen.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    icon: &'static str,
    name: String,
    /// What it is, or where.
    detail: String,
    deed: Deed,
}

/// The dialog; it is filled when it opens.
#[component]
pub fn PaletteDialog() -> impl IntoView {
    let dialog = expect_context::<Overlays>().palette;
    let field = NodeRef::<html::Input>::new();
    let text = RwSignal::new(String::new());
    let chosen = RwSignal::new(0_usize);
    let objects: RwSignal<Vec<Entry>> = RwSignal::new(Vec::new());
    let run = doer();
    let found = Memo::new(move |_| {
        let text = text.get();
        let mut all = fixed();
        objects.with(|objects| all.extend(objects.iter().cloned()));
        rank(all, text.trim())
    });
    Effect::new(move |_| {
        text.track();
        chosen.set(0);
    });
    let finish = move |at: usize| {
        if let Some(entry) = found.with_untracked(|found| found.get(at).cloned()) {
            Overlays::close(dialog);
            run.run(entry.deed);
        }
    };
    let key = move |event: KeyboardEvent| {
        let last = found.with_untracked(Vec::len).saturating_sub(1);
        match event.key().as_str() {
            "ArrowDown" => chosen.update(|at| *at = (*at + 1).min(last)),
            "ArrowUp" => chosen.update(|at| *at = at.saturating_sub(1)),
            "Enter" => finish(chosen.get_untracked()),
            _ => return,
        }
        event.prevent_default();
        reveal(chosen.get_untracked());
    };
    // A dialog says nothing when it opens; its field takes the focus.
    let opened = move |_| {
        text.set(String::new());
        fill(objects);
    };
    view! {
        <dialog
            class="palette"
            node_ref=dialog
            aria-label=t().search_or_jump
            on:click=move |event| {
                // The backdrop is the dialog itself.
                if event.target() == event.current_target() {
                    Overlays::close(dialog);
                }
            }
        >
            <div class="palette-box">
                <div class="palette-field">
                    {icon("search")}
                    <input
                        node_ref=field
                        class="bare"
                        type="text"
                        role="combobox"
                        autofocus=true
                        autocomplete="off"
                        spellcheck="false"
                        placeholder=words().type_to_find
                        aria-label=t().search_or_jump
                        aria-controls="palette-list"
                        aria-expanded="true"
                        aria-activedescendant=move || format!("palette-{}", chosen.get())
                        prop:value=text
                        on:focus=opened
                        on:input=move |event| text.set(event_target_value(&event))
                        on:keydown=key
                    />
                    <kbd>"Esc"</kbd>
                </div>
                <span class="visually-hidden" role="status">{move || (words().results)(&found.with(Vec::len).to_string())}</span>
                <ul id="palette-list" role="listbox" aria-label=t().search_or_jump>
                    {move || found.get().into_iter().enumerate().map(|(at, entry)| view! {
                        <li
                            id=format!("palette-{at}")
                            role="option"
                            aria-selected=move || (chosen.get() == at).to_string()
                            on:mousemove=move |_| if chosen.get_untracked() != at { chosen.set(at) }
                            on:click=move |_| finish(at)
                        >
                            {sized_icon(entry.icon, "icon")}
                            <span class="grow">{entry.name}</span>
                            <span class="kind">{entry.detail}</span>
                        </li>
                    }).collect_view()}
                </ul>
                {move || found.with(Vec::is_empty).then(|| view! { <p class="kind nothing-found">{words().nothing_found}</p> })}
            </div>
        </dialog>
    }
}

/// Does what was chosen.
fn doer() -> Callback<Deed> {
    let (address, time, theme) = (address(), time(), theme());
    let spoken = expect_context::<Spoken>();
    let overlays = expect_context::<Overlays>();
    Callback::new(move |deed| match deed {
        Deed::Go(path) => address.go(&untrack(|| time.link(&path)), Step::New),
        Deed::Theme => theme.next(),
        Deed::Language => spoken.switch(spoken.0.get_untracked().next()),
        Deed::LiveOrPause => {
            let (range, now) = (time.range.get_untracked(), clock::now());
            if time.live.get_untracked() {
                let (from, to) = range.bounds(now);
                time.show(Range {
                    from: Bound::At(from.round()),
                    to: Bound::At(to.round()),
                });
            } else {
                time.show(range.lasting(now));
            }
        }
        Deed::CopyLink => {
            let text = time.pinned();
            let clipboard = window().navigator().clipboard();
            spawn_local(async move {
                if wasm_bindgen_futures::JsFuture::from(clipboard.write_text(&text))
                    .await
                    .is_err()
                {
                    leptos::logging::warn!("the browser does not let the page copy");
                }
            });
        }
        Deed::Help => Overlays::open(overlays.help),
    })
}

/// Pages and actions.
fn fixed() -> Vec<Entry> {
    let mut entries: Vec<Entry> = pages()
        .iter()
        .map(|page| Entry {
            icon: page.icon,
            name: (page.name)().to_owned(),
            detail: format!("g {}", page.key),
            deed: Deed::Go(page.path.to_owned()),
        })
        .collect();
    let action = |icon, name: &str, deed| Entry {
        icon,
        name: name.to_owned(),
        detail: words().actions.to_owned(),
        deed,
    };
    entries.extend([
        action("file-plus", words().new_object, Deed::Go("/config/new".into())),
        action("pause", words().pause, Deed::LiveOrPause),
        action("copy", words().copy_link, Deed::CopyLink),
        action("sun", words().switch_theme, Deed::Theme),
        action("languages", words().switch_language, Deed::Language),
        action("circle-help", t().help, Deed::Help),
        action("component", t().gallery, Deed::Go("/gallery".into())),
    ]);
    entries
}

/// Asks what there is. What cannot be asked for is left out: the palette never stands in the way.
fn fill(objects: RwSignal<Vec<Entry>>) {
    const RECENT: &str = "from=now-60s&to=now";
    let entry = |icon: &'static str, kind: &str, namespace: &str, name: &str, path: String| Entry {
        icon,
        name: name.to_owned(),
        detail: format!("{kind} · {namespace}"),
        deed: Deed::Go(path),
    };
    spawn_local(async move {
        let mut all = Vec::new();
        if let Ok(list) = api::get::<ObjectList>("/api/objects").await {
            all.extend(list.objects.iter().map(|object| {
                let name = &object.object;
                let path = format!("/config/{}/{}/{}", name.kind, name.namespace, name.name);
                entry("file-cog", &name.kind, &name.namespace, &name.name, path)
            }));
        }
        if let Ok(list) = api::get::<ServiceList>(&format!("/api/services?{RECENT}")).await {
            all.extend(list.services.iter().map(|row| {
                let path = format!("/services/{}/{}", row.namespace, row.name);
                entry("server", t().service, &row.namespace, &row.name, path)
            }));
        }
        if let Ok(list) = api::get::<WorkloadList>(&format!("/api/workloads?{RECENT}")).await {
            all.extend(list.workloads.iter().map(|row| {
                let path = format!("/workloads/{}/{}", row.namespace, row.name);
                entry("layers", t().kind_workload, &row.namespace, &row.name, path)
            }));
        }
        if let Ok(list) = api::get::<AppList>(&format!("/api/apps?{RECENT}")).await {
            all.extend(list.apps.iter().map(|row| {
                let path = format!("/apps/{}/{}", row.namespace, row.name);
                entry("package", t().kind_app, &row.namespace, &row.name, path)
            }));
        }
        objects.try_set(all);
    });
}

/// The best first; without words, in the order that they have.
fn rank(entries: Vec<Entry>, words: &str) -> Vec<Entry> {
    let mut scored: Vec<(i32, Entry)> = entries
        .into_iter()
        .filter_map(|entry| {
            let best = score(words, &entry.name)
                .map(|points| points + 8)
                .max(score(words, &format!("{} {}", entry.name, entry.detail)));
            best.map(|points| (points, entry))
        })
        .collect();
    if !words.is_empty() {
        scored.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    }
    scored.truncate(SHOWN);
    scored.into_iter().map(|(_, entry)| entry).collect()
}

fn reveal(at: usize) {
    if let Some(row) = document().get_element_by_id(&format!("palette-{at}")) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(web_sys::ScrollLogicalPosition::Nearest);
        row.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

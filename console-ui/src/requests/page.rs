//! The explorer.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;
use mesh_api::requests::{HeatMap, KeptRequest, RequestPage};

use super::drawer::Drawer;
use super::facets::{Change, FacetColumn, count, field_word, value_word};
use super::filter::Filter;
use super::flow::merged;
use super::rows::{columns, row};
use super::tail::Feed;
use crate::address::{Address, Step, address};
use crate::api;
use crate::chart::{Brush, HeatChart};
use crate::format;
use crate::grid::{Grid, GridTools, Row};
use crate::load::{Loaded, load, signed_in_known, skeleton_rows};
use crate::parts::{empty, icon, sized_icon};
use crate::text::requests::words;
use crate::text::t;
use crate::time::time;

/// Requests of one answer.
const PAGE: usize = 200;
/// Columns of the heat map.
const HEAT_COLUMNS: u32 = 120;

/// Every kept request.
#[component]
pub fn RequestsPage() -> impl IntoView {
    view! {
        <h1 class="visually-hidden">{t().requests_page}</h1>
        <RequestsView base=Filter::default()/>
    }
}

/// Where the page's filter is kept.
#[derive(Clone, Copy)]
struct Place {
    address: Address,
    query: Memo<ParamsMap>,
    filter: Memo<Filter>,
}

impl Place {
    fn new() -> Self {
        let query = use_query_map();
        let filter = Memo::new(move |_| {
            query.with(|query| Filter::read(|name| query.get_all(name).unwrap_or_default()))
        });
        Self {
            address: address(),
            query,
            filter,
        }
    }

    /// The page with another filter; what else the URL says stays, but for what is open.
    fn show(self, filter: &Filter, further: &[(&'static str, String)], step: Step) {
        let mut next = ParamsMap::new();
        let changed = |name: &str| {
            name == "sel" || Filter::owns(name) || further.iter().any(|(known, _)| *known == name)
        };
        for (name, value) in self.query.get_untracked() {
            if !changed(&name) {
                next.insert(name, value);
            }
        }
        for (name, value) in filter.pairs().into_iter().chain(further.iter().cloned()) {
            next.insert(name, value);
        }
        let path = untrack(|| self.address.path());
        self.address
            .go(&format!("{path}{}", next.to_query_string()), step);
    }
}

/// The explorer, held to `base`: what a page about one thing shows of its requests.
#[component]
pub fn RequestsView(base: Filter) -> impl IntoView {
    let (place, time) = (Place::new(), time());
    let filter = place.filter;
    let tailing = Memo::new(move |_| place.address.read("tail").is_some());
    let whole = {
        let base = base.clone();
        Memo::new(move |_| filter.with(|filter| base.and(filter)))
    };
    let change = Change(Callback::new(move |next: Filter| {
        place.show(&next, &[], Step::New)
    }));
    let counted = count(base.clone(), filter, move || time.query());
    let heat = load::<HeatMap>(move || {
        signed_in_known().then(|| {
            format!(
                "/api/requests/heatmap?{}{}&columns={HEAT_COLUMNS}",
                time.query(),
                whole.with(Filter::query)
            )
        })
    });
    let brush = Callback::new(move |brush: Brush| {
        let mut next = filter.get_untracked();
        next.min_ms = (brush.min_ms > 0.0).then_some(brush.min_ms);
        next.max_ms = brush.max_ms;
        let times = [
            ("from", format!("{:.0}", brush.from_ms.floor())),
            ("to", format!("{:.0}", brush.to_ms.ceil())),
        ];
        place.show(&next, &times, Step::New);
    });
    let found = Found::follow(whole, tailing);
    let feed = Feed::follow(Memo::new(move |_| {
        (signed_in_known() && tailing.get())
            .then(|| whole.with(Filter::query).trim_start_matches('&').to_owned())
    }));
    let requests = Memo::new(move |_| {
        if tailing.get() {
            feed.tail.with(super::flow::Tail::requests)
        } else {
            found.requests.get()
        }
    });
    let rows = Memo::new(move |_| {
        let link = |id: &str| place.address.with(&[("sel", Some(id.to_owned()))]);
        requests.with(|requests| {
            requests
                .iter()
                .map(|request| row(request, link))
                .collect::<Vec<Row>>()
        })
    });
    let selected = Memo::new(move |_| place.address.read("sel"));
    let close = Callback::new(move |()| place.address.write(&[("sel", None)], Step::New));
    view! {
        <RequestBar place rows tailing feed/>
        <Show when=move || feed.lost.get() && tailing.get()>
            <div class="banner" role="status">{icon("unplug")}{t().lost}</div>
        </Show>
        <div class="split explorer">
            <FacetColumn counted filter change/>
            <div class="middle">
                <Summary counted filter change/>
                <div class="heat-room"><HeatChart map=heat.value brush/></div>
                <List found rows tailing selected/>
            </div>
            {move || selected.get().map(|id| view! { <Drawer id requests close/> })}
        </div>
    }
}

/// The list as it is known: the newest page again and again, older ones when they are asked for.
#[derive(Clone, Copy)]
struct Found {
    page: Loaded<RequestPage>,
    requests: RwSignal<Vec<KeptRequest>>,
    next: RwSignal<Option<String>>,
    asking: RwSignal<bool>,
    whole: Memo<Filter>,
}

impl Found {
    fn follow(whole: Memo<Filter>, tailing: Memo<bool>) -> Self {
        let time = time();
        let page = load::<RequestPage>(move || {
            (signed_in_known() && !tailing.get()).then(|| {
                format!(
                    "/api/requests?{}{}&limit={PAGE}",
                    time.query(),
                    whole.with(Filter::query)
                )
            })
        })
        .reported();
        let found = Self {
            page,
            requests: RwSignal::new(Vec::new()),
            next: RwSignal::new(None),
            asking: RwSignal::new(false),
            whole,
        };
        // Pages of another question do not belong together.
        let question = Memo::new(move |_| (whole.get(), time.range.get()));
        let older = RwSignal::new(false);
        Effect::new(move |_| {
            question.track();
            older.set(false);
        });
        Effect::new(move |_| {
            let Some(page) = page.value.get() else { return };
            let known = if older.get_untracked() {
                found.requests.get_untracked()
            } else {
                Vec::new()
            };
            found.requests.set(merged(&page.requests, &known));
            if !older.get_untracked() {
                found.next.set(page.next);
            }
        });
        // Asked for by the end of the list.
        Effect::new(move |_| {
            if !found.asking.get() {
                return;
            }
            let Some(after) = found.next.get_untracked() else {
                found.asking.set(false);
                return;
            };
            let path = untrack(|| {
                format!(
                    "/api/requests?{}{}&limit={PAGE}&after={}",
                    time.interval(),
                    whole.with(Filter::query),
                    api::encode(&after)
                )
            });
            let asked = question.get_untracked();
            leptos::task::spawn_local(async move {
                let answer = api::get::<RequestPage>(&path).await;
                if question.try_get_untracked() == Some(asked)
                    && let Ok(page) = answer
                {
                    older.set(true);
                    found
                        .requests
                        .update(|known| *known = merged(known, &page.requests));
                    found.next.set(page.next);
                }
                found.asking.try_set(false);
            });
        });
        found
    }

    fn more(self) {
        let room = self.requests.with_untracked(Vec::len) < super::flow::HELD_MOST;
        if room && !self.asking.get_untracked() && self.next.with_untracked(Option::is_some) {
            self.asking.set(true);
        }
    }
}

#[component]
fn List(
    found: Found,
    rows: Memo<Vec<Row>>,
    tailing: Memo<bool>,
    selected: Memo<Option<String>>,
) -> impl IntoView {
    let nothing = Memo::new(move |_| rows.with(Vec::is_empty));
    let table = move || {
        view! {
            <div class="list-room" hidden=move || nothing.get()>
                <Grid label=t().requests_page name="requests" columns=columns() rows selected more=Callback::new(move |()| found.more())/>
            </div>
            <Show when=move || nothing.get()>
                {move || if tailing.get() {
                    empty("radio", words().tail_waits.to_owned(), words().tail_waits_hint.to_owned()).into_any()
                } else if found.whole.with(Filter::is_empty) {
                    empty("activity", words().nothing_kept.to_owned(), words().nothing_kept_hint.to_owned()).into_any()
                } else {
                    empty("search", t().no_matches.to_owned(), words().no_matches_hint.to_owned()).into_any()
                }}
            </Show>
        }
    };
    move || {
        if tailing.get() {
            table().into_any()
        } else {
            found
                .page
                .view(t().requests_page, || skeleton_rows(10), table)
                .into_any()
        }
    }
}

/// How many, and by what they are filtered.
#[component]
fn Summary(
    counted: RwSignal<Option<super::facets::Counted>>,
    filter: Memo<Filter>,
    change: Change,
) -> impl IntoView {
    let total = move || {
        counted.with(|counted| {
            counted
                .as_ref()
                .map(|counted| (words().kept)(&format::count(counted.total)))
        })
    };
    let chips = move || {
        let filter = filter.get();
        let chip = |(name, value): (&'static str, String)| {
            let next = without(&filter, name, &value);
            let word = match name {
                "minMs" => (words().at_least)(&value),
                "maxMs" => (words().at_most)(&value),
                "text" => format!("“{value}”"),
                "trace" => format!("{}: {}", words().trace, format::shorten(&value, 12)),
                field => format!("{}: {}", field_word(field), value_word(field, &value)),
            };
            let label = (words().remove)(&word);
            view! { <button class="chip removable" aria-label=label on:click=move |_| change.0.run(next.clone())>{word}{sized_icon("x", "icon small")}</button> }
        };
        let pairs = filter.pairs();
        let several = pairs.len() > 1;
        view! {
            {pairs.into_iter().map(chip).collect_view()}
            {several.then(|| view! { <button class="button quiet" on:click=move |_| change.0.run(Filter::default())>{words().clear}</button> })}
        }
    };
    view! { <div class="found" aria-live="polite"><strong>{total}</strong>{chips}</div> }
}

fn without(filter: &Filter, name: &'static str, value: &str) -> Filter {
    let mut next = filter.clone();
    match name {
        "minMs" => next.min_ms = None,
        "maxMs" => next.max_ms = None,
        "text" => next.text.clear(),
        "trace" => next.trace.clear(),
        field => next = next.toggled(field, value),
    }
    next
}

#[component]
fn RequestBar(place: Place, rows: Memo<Vec<Row>>, tailing: Memo<bool>, feed: Feed) -> impl IntoView {
    let filter = place.filter;
    let write = move |event: web_sys::Event| {
        let mut next = filter.get_untracked();
        next.text = event_target_value(&event);
        place.show(&next, &[], Step::Replace);
    };
    let toggle = move |_| {
        let on = tailing.get_untracked();
        place
            .address
            .write(&[("tail", (!on).then(|| "on".to_owned()))], Step::New);
    };
    let paused = move || feed.tail.with(|tail| tail.paused);
    let unseen = move || feed.tail.with(super::flow::Tail::unseen);
    view! {
        <div class="toolbar" role="toolbar" aria-label=t().requests_page>
            <input
                class="input grow"
                type="search"
                placeholder=words().search
                aria-label=words().search
                prop:value=move || filter.with(|filter| filter.text.clone())
                on:change=write
            />
            <label class="field">
                {words().longer_than}
                <input
                    class="input short"
                    type="number"
                    min="0"
                    step="any"
                    prop:value=move || filter.with(|filter| filter.min_ms.map(|ms| ms.to_string()).unwrap_or_default())
                    on:change=move |event| {
                        let mut next = filter.get_untracked();
                        next.min_ms = event_target_value(&event).parse().ok().filter(|ms: &f64| *ms > 0.0);
                        place.show(&next, &[], Step::Replace);
                    }
                />
                "ms"
            </label>
            <div class="spacer"></div>
            <Show when=move || tailing.get()>
                <button class="button" data-pause="" aria-pressed=move || paused().to_string() on:click=move |_| feed.tail.update(|tail| tail.pause(!tail.paused))>
                    {move || if paused() { icon("play") } else { icon("pause") }}
                    {move || if paused() && unseen() > 0 { (words().unseen)(&format::count(unseen())) } else { t().pause.to_owned() }}
                </button>
            </Show>
            <button class="button" data-tail="" aria-pressed=move || tailing.get().to_string() title=words().tail_hint on:click=toggle>{icon("radio")}{words().tail}</button>
            <GridTools name="requests" columns=columns() rows/>
        </div>
    }
}

//! How many requests have each value of each field: a click chooses a value, or leaves it out.

use std::collections::BTreeMap;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::requests::Facets;

use super::filter::{FIELDS, Filter, field_of};
use super::rows::{reason_word, reporter_word};
use crate::api;
use crate::format::{self, number};
use crate::load::signed_in_known;
use crate::parts::sized_icon;
use crate::text::requests::words;
use crate::text::t;

/// Values of a field before the reader asks for all.
const FIRST: usize = 7;

/// By field: value and number of requests.
type Known = BTreeMap<&'static str, Vec<(String, u64)>>;

/// Facets of a filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// All that match.
    pub total: u64,
    /// By field.
    pub fields: Known,
}

/// Asks for the facets. A field with chosen values is counted as if none were chosen, so that another one can be
/// added: that is one more call for each such field.
pub fn count(
    base: Filter,
    filter: Memo<Filter>,
    interval: impl Fn() -> String + 'static,
) -> RwSignal<Option<Counted>> {
    let counted: RwSignal<Option<Counted>> = RwSignal::new(None);
    let turn = StoredValue::new(0_u32);
    Effect::new(move |_| {
        let (interval, filter, base) = (interval(), filter.get(), base.clone());
        if !signed_in_known() {
            return;
        }
        turn.update_value(|turn| *turn = turn.wrapping_add(1));
        let mine = turn.get_value();
        spawn_local(async move {
            let Some(mut all) = ask(&interval, &base.and(&filter)).await else {
                return;
            };
            for field in filter.values.keys() {
                let others = base.and(&filter.without_field(field));
                if turn.try_get_value() == Some(mine)
                    && let Some(wider) = ask(&interval, &others).await
                    && let Some(values) = wider.fields.get(field)
                {
                    all.fields.insert(field, values.clone());
                }
            }
            if turn.try_get_value() == Some(mine) {
                counted.try_set(Some(all));
            }
        });
    });
    counted
}

async fn ask(interval: &str, filter: &Filter) -> Option<Counted> {
    let path = format!("/api/requests/facets?{interval}{}", filter.query());
    // The list beside it says why nothing comes.
    let facets = api::get::<Facets>(&path).await.ok()?;
    let field = |facet: mesh_api::requests::Facet| Some((field_of(&facet.field)?, facet.values));
    Some(Counted {
        total: facets.total,
        fields: facets.fields.into_iter().filter_map(field).collect(),
    })
}

/// What is to be done with the filter.
#[derive(Clone, Copy)]
pub struct Change(pub Callback<Filter>);

/// The column of facets.
#[component]
pub fn FacetColumn(
    counted: RwSignal<Option<Counted>>,
    filter: Memo<Filter>,
    change: Change,
) -> impl IntoView {
    let field = move |field: &'static str| {
        let values = Memo::new(move |_| values_of(field, counted, filter));
        let open = !matches!(
            field,
            "reporter" | "protocol" | "match" | "workload" | "app" | "namespace"
        );
        let all = RwSignal::new(false);
        let many = move || values.with(Vec::len) > FIRST;
        let shown = move || {
            let values = values.get();
            let most = values.iter().map(|(_, requests)| *requests).max().unwrap_or(1);
            let limit = if all.get() { values.len() } else { FIRST };
            let rows = values
                .into_iter()
                .take(limit)
                .map(|(value, requests)| entry(field, value, requests, most, counted, filter, change));
            rows.collect_view()
        };
        view! {
            <details class="facet" open=open data-facet=field hidden=move || values.with(Vec::is_empty)>
                <summary>{sized_icon("chevron-right", "icon small fold-mark")}{field_word(field)}</summary>
                <ul>{shown}</ul>
                <Show when=many>
                    <button class="more" on:click=move |_| all.update(|all| *all = !*all)>
                        {move || if all.get() { words().fewer.to_owned() } else { (words().more)(values.with(Vec::len) - FIRST) }}
                    </button>
                </Show>
            </details>
        }
    };
    view! {
        <aside class="facets" aria-label=words().facets data-facets="">
            {FIELDS.map(field).into_iter().collect_view()}
        </aside>
    }
}

/// Known values, and chosen ones that nothing has.
fn values_of(
    field: &'static str,
    counted: RwSignal<Option<Counted>>,
    filter: Memo<Filter>,
) -> Vec<(String, u64)> {
    let mut values = counted.with(|counted| {
        counted
            .as_ref()
            .and_then(|counted| counted.fields.get(field).cloned())
            .unwrap_or_default()
    });
    filter.with(|filter| {
        for value in filter.values.get(field).into_iter().flatten() {
            if values.iter().all(|(known, _)| known != value) {
                values.insert(0, (value.clone(), 0));
            }
        }
    });
    // `-` alone says nothing.
    if matches!(values.as_slice(), [(only, _)] if only.is_empty() || only == "-") {
        values.clear();
    }
    values
}

fn entry(
    field: &'static str,
    value: String,
    requests: u64,
    most: u64,
    counted: RwSignal<Option<Counted>>,
    filter: Memo<Filter>,
    change: Change,
) -> impl IntoView {
    let (chosen, toggled, left_out) = (value.clone(), value.clone(), value.clone());
    let word = value_word(field, &value);
    let choose = move |_| {
        change
            .0
            .run(filter.with_untracked(|filter| filter.toggled(field, &toggled)));
    };
    let exclude = move |_| {
        let known: Vec<String> = untrack(|| values_of(field, counted, filter))
            .into_iter()
            .map(|(value, _)| value)
            .collect();
        change
            .0
            .run(filter.with_untracked(|filter| filter.without(field, &left_out, &known)));
    };
    let width = format!("{:.1}%", number(requests) / number(most.max(1)) * 100.0);
    let without = (words().leave_out)(&word);
    view! {
        <li>
            <button class="value" aria-pressed=move || filter.with(|filter| filter.has(field, &chosen)).to_string() title=value on:click=choose>
                <span class="fill" style:width=width></span>
                <span class="word">{word}</span>
                <span class="count">{format::count(requests)}</span>
            </button>
            <button class="exclude" aria-label=without.clone() title=without on:click=exclude>{sized_icon("eye-off", "icon small")}</button>
        </li>
    }
}

/// A field in words.
pub fn field_word(field: &str) -> &'static str {
    let w = words();
    match field {
        "source" => t().source,
        "destination" => t().target,
        "service" => t().service,
        "code" => w.code,
        "flags" => w.flags,
        "virtualService" => w.virtual_service,
        "route" => w.route,
        "match" => w.match_name,
        "method" => w.method,
        "protocol" => t().protocol,
        "reason" => w.reason,
        "reporter" => w.reporter,
        "app" => w.app,
        "workload" => w.workload,
        _ => t().namespace,
    }
}

/// A value in words.
pub fn value_word(field: &str, value: &str) -> String {
    match (field, value) {
        ("code", "0") => t().no_answer.to_owned(),
        ("flags", "-") => t().no_flags.to_owned(),
        ("route" | "match" | "virtualService", "") => t().default_route.to_owned(),
        ("reason", value) => reason_word(value).to_owned(),
        ("reporter", value) => reporter_word(value).to_owned(),
        (_, "") => "–".to_owned(),
        (_, value) => value.to_owned(),
    }
}

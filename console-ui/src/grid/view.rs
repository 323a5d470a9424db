//! The table on the screen.

use std::collections::HashMap;

use leptos::ev::MouseEvent;
use leptos::html;
use leptos::prelude::*;

use super::cell::{Cell, Column, Look, Row};
use super::order;
use crate::address::{Step, address};
use crate::chart::sparkline;
use crate::parts::{health_badge, sized_icon};
use crate::text::grid::words;

/// Height of a row, as the style sheet has it.
const ROW_HEIGHT: f64 = 34.0;
/// Rows drawn beyond the border, so that scrolling and walking by key find them there.
const BEYOND: usize = 12;
/// The window moves by so many rows at once.
const STEP: usize = 4;

/// A table.
#[component]
pub fn Grid(
    /// For readers.
    label: &'static str,
    /// For tests, and the file name.
    name: &'static str,
    /// Before the names of its parameters in the URL.
    #[prop(default = "")]
    prefix: &'static str,
    /// All columns.
    columns: Vec<Column>,
    /// Rows as they came.
    #[prop(into)]
    rows: Signal<Vec<Row>>,
    /// Order while the URL says none.
    #[prop(default = "")]
    order: &'static str,
    /// Row that is open beside the table.
    #[prop(optional, into)]
    selected: Option<Signal<Option<String>>>,
    /// Called when the end comes near.
    #[prop(optional, into)]
    more: Option<Callback<()>>,
    /// As high as its rows, instead of as high as there is room.
    #[prop(default = false)]
    inline: bool,
) -> impl IntoView {
    let address = address();
    let columns = StoredValue::new(columns);
    let (sort_name, columns_name) = (format!("{prefix}sort"), format!("{prefix}cols"));
    let sorting = {
        let key = sort_name.clone();
        Memo::new(move |_| {
            let text = address.read(&key).unwrap_or_else(|| order.to_owned());
            columns.with_value(|columns| order::parse(&text, columns))
        })
    };
    let shown = Memo::new(move |_| {
        columns.with_value(|columns| order::shown(address.read(&columns_name).as_deref(), columns))
    });
    let sorted = Memo::new(move |_| {
        let mut rows = rows.get();
        sorting.with(|sorting| order::sort(&mut rows, sorting));
        rows
    });
    let wrap = NodeRef::<html::Div>::new();
    let place: RwSignal<(f64, f64)> = RwSignal::new((0.0, 1200.0));
    let window = Memo::new(move |_| {
        let (top, height) = place.get();
        rows_between(top, height, sorted.with(Vec::len))
    });
    let scrolled = move |_| {
        let Some(element) = wrap.get_untracked() else {
            return;
        };
        let (top, height) = (
            f64::from(element.scroll_top()),
            f64::from(element.client_height()),
        );
        place.set((top, height));
        if let Some(more) = more
            && f64::from(element.scroll_height()) - top - height < height.max(400.0)
        {
            more.run(());
        }
    };
    let index = Memo::new(move |_| {
        sorted.with(|rows| {
            rows.iter()
                .enumerate()
                .map(|(at, row)| (row.id.clone(), at))
                .collect::<HashMap<_, _>>()
        })
    });
    let ids = Memo::new(move |_| {
        let (first, last) = window.get();
        sorted.with(|rows| {
            rows.get(first..last)
                .unwrap_or_default()
                .iter()
                .map(|row| row.id.clone())
                .collect::<Vec<_>>()
        })
    });
    let above = move || format!("{}px", ROW_HEIGHT * length(window.get().0));
    let below = move || {
        let rest = sorted.with(Vec::len).saturating_sub(window.get().1);
        format!("{}px", ROW_HEIGHT * length(rest))
    };
    let at_top = move || window.get().0 == 0;
    let at_end = move || window.get().1 >= sorted.with(Vec::len);
    let heads = move || {
        let sort_name = sort_name.clone();
        let head = move |at: usize| {
            let column = columns.with_value(|columns| columns.get(at).copied())?;
            Some(head(column, at, columns, sorting, sort_name.clone()))
        };
        shown.get().into_iter().filter_map(head).collect_view()
    };
    let row = StoredValue::new(Rows {
        sorted,
        index,
        shown,
        columns,
        selected,
    });
    view! {
        <div class="table-wrap" class:inline=inline node_ref=wrap tabindex="0" role="region" aria-label=label on:scroll=scrolled>
            <table class="grid virtual" data-grid=name aria-rowcount=move || (sorted.with(Vec::len) + 1).to_string()>
                // The room of rows that are not drawn stands in head and foot: a body's rows are all real.
                <thead>
                    <tr>{heads}</tr>
                    <tr class="spacer" aria-hidden="true" hidden=at_top style:height=above><td></td></tr>
                </thead>
                <tbody>
                    <For each=move || ids.get() key=|id| id.clone() let:id>
                        {row.with_value(|rows| rows.row(id))}
                    </For>
                </tbody>
                <tfoot aria-hidden="true"><tr class="spacer" hidden=at_end style:height=below><td></td></tr></tfoot>
            </table>
        </div>
    }
}

/// First and one past the last row to draw.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "heights are positive, and no table has 2^32 rows"
)]
fn rows_between(top: f64, height: f64, rows: usize) -> (usize, usize) {
    let first = (top.max(0.0) / ROW_HEIGHT).floor() as usize;
    let last = ((top.max(0.0) + height.max(0.0)) / ROW_HEIGHT).ceil() as usize;
    let first = first.saturating_sub(BEYOND) / STEP * STEP;
    let last = (last + BEYOND).div_ceil(STEP) * STEP;
    (first.min(rows), last.min(rows))
}

#[expect(clippy::cast_precision_loss, reason = "no table has 2^53 rows")]
fn length(rows: usize) -> f64 {
    rows as f64
}

fn head(
    column: Column,
    at: usize,
    columns: StoredValue<Vec<Column>>,
    sorting: Memo<Vec<(usize, bool)>>,
    sort_name: String,
) -> impl IntoView {
    let address = address();
    let falling = move || {
        sorting.with(|sorting| {
            sorting
                .iter()
                .find(|(known, _)| *known == at)
                .map(|(_, falling)| *falling)
        })
    };
    let spoken = move || falling().map(|falling| if falling { "descending" } else { "ascending" });
    let sort = move |event: MouseEvent| {
        let next = columns.with_value(|columns| {
            sorting.with_untracked(|order| order::toggled(order, at, event.shift_key(), columns))
        });
        address.write(&[(&sort_name, Some(next))], Step::Replace);
    };
    view! {
        <th scope="col" class:number=column.numeric aria-sort=spoken>
            <button title=words().sort_hint on:click=sort data-column=column.id>
                {column.name}
                <span class="sort-mark" aria-hidden="true">{move || match falling() { Some(true) => "↓", Some(false) => "↑", None => "" }}</span>
            </button>
        </th>
    }
}

/// What a row needs.
#[derive(Clone, Copy)]
struct Rows {
    sorted: Memo<Vec<Row>>,
    index: Memo<HashMap<String, usize>>,
    shown: Memo<Vec<usize>>,
    columns: StoredValue<Vec<Column>>,
    selected: Option<Signal<Option<String>>>,
}

impl Rows {
    /// A row stays the same element while its cells change: the focus stays with it.
    fn row(self, id: String) -> impl IntoView + use<> {
        let key = StoredValue::new(id);
        let row = Memo::new(move |_| {
            let at = self
                .index
                .with(|index| key.with_value(|id| index.get(id).copied()))?;
            self.sorted.with(|rows| rows.get(at).cloned())
        });
        let chosen = move || {
            let selected = self.selected?;
            Some(
                selected
                    .with(|selected| key.with_value(|id| selected.as_ref() == Some(id)))
                    .to_string(),
            )
        };
        let cells = move || {
            let cell = |(place, at): (usize, usize)| {
                let numeric = self
                    .columns
                    .with_value(|columns| columns.get(at).is_some_and(|column| column.numeric));
                if place == 0 {
                    first(row, at).into_any()
                } else {
                    let painted = move || row.with(|row| row.as_ref()?.cells.get(at).map(paint));
                    view! { <td class:number=numeric>{painted}</td> }.into_any()
                }
            };
            self.shown.get().into_iter().enumerate().map(cell).collect_view()
        };
        view! { <tr aria-selected=chosen data-row=key.get_value()>{cells}</tr> }
    }
}

fn first(row: Memo<Option<Row>>, at: usize) -> impl IntoView {
    let linked = Memo::new(move |_| row.with(|row| row.as_ref().is_some_and(|row| row.href.is_some())));
    let href = move || row.with(|row| row.as_ref().and_then(|row| row.href.clone()));
    // A link says something, also where a thing has no name (a listener's default chain).
    let unnamed = move || linked.get() && row.with(|row| row.as_ref().is_some_and(|row| is_unnamed(row, at)));
    let content = move || {
        if unnamed() {
            return Some("—".into_any());
        }
        row.with(|row| row.as_ref()?.cells.get(at).map(paint))
    };
    view! {
        <td class="name">
            {move || if linked.get() {
                view! { <a class="row-link" href=href>{content}</a> }.into_any()
            } else {
                view! { {content} }.into_any()
            }}
        </td>
    }
}

fn is_unnamed(row: &Row, at: usize) -> bool {
    row.cells
        .get(at)
        .is_none_or(|cell| cell.text.is_empty() && matches!(cell.look, Look::Plain | Look::Soft | Look::Mono))
}

fn paint(cell: &Cell) -> AnyView {
    let text = cell.text.clone();
    let title = (!cell.title.is_empty()).then(|| cell.title.clone());
    if let Some(href) = &cell.href {
        return view! { <a class="cell-link" href=href.clone() title=title>{text}</a> }.into_any();
    }
    match &cell.look {
        Look::Plain => view! { <span title=title>{text}</span> }.into_any(),
        Look::Soft => view! { <span class="soft" title=title>{text}</span> }.into_any(),
        Look::Mono => view! { <span class="mono" title=title>{text}</span> }.into_any(),
        Look::Health(health) => health_badge(*health).into_any(),
        Look::State(class, icon) => {
            view! { <span class=format!("health {class}") title=title>{sized_icon(icon, "icon")}{text}</span> }
                .into_any()
        }
        Look::Chip(class) => {
            view! { <span class=format!("chip {class}") title=title>{text}</span> }.into_any()
        }
        Look::Spark(values) => sparkline(values).into_any(),
        Look::Bar(share) => {
            let width = format!("{:.1}%", share.clamp(0.0, 1.0) * 100.0);
            view! { <span class="bar-cell" title=title><span class="track"><span class="fill" style:width=width></span></span>{text}</span> }.into_any()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rows_between;

    #[test]
    fn the_window_covers_the_screen() {
        for (top, height, rows, expected) in [
            (0.0, 340.0, 5, (0, 5)),
            (0.0, 340.0, 1000, (0, 24)),
            (3400.0, 340.0, 1000, (88, 124)),
            (99_999.0, 340.0, 10, (10, 10)),
            (-5.0, 0.0, 10, (0, 10)),
        ] {
            assert_eq!(rows_between(top, height, rows), expected, "{top} {height} {rows}");
        }
    }
}

//! Which columns, and the table as a file.

use leptos::html;
use leptos::prelude::*;

use super::cell::{Column, Row};
use super::csv::{csv, download};
use super::order;
use crate::address::{Step, address};
use crate::parts::{icon, sized_icon};
use crate::text::grid::words;
use crate::time::close_outside;

/// Buttons of a table, for the toolbar above it.
#[component]
pub fn GridTools(
    /// File name without ending.
    name: &'static str,
    /// Before the names of its parameters in the URL.
    #[prop(default = "")]
    prefix: &'static str,
    /// All columns.
    columns: Vec<Column>,
    /// Rows as they came.
    #[prop(into)]
    rows: Signal<Vec<Row>>,
) -> impl IntoView {
    let address = address();
    let columns = StoredValue::new(columns);
    let (sort_name, columns_name) = (format!("{prefix}sort"), format!("{prefix}cols"));
    let key = columns_name.clone();
    let shown = Memo::new(move |_| {
        columns.with_value(|columns| order::shown(address.read(&key).as_deref(), columns))
    });
    let menu = NodeRef::<html::Details>::new();
    close_outside(menu);
    let choices = columns.with_value(|all| {
        all.iter()
            .enumerate()
            .skip(1)
            .map(|(at, column)| {
                let key = columns_name.clone();
                let change = move |_| {
                    let next = columns.with_value(|columns| {
                        shown.with_untracked(|shown| order::with_column(shown, at, columns))
                    });
                    address.write(&[(&key, next)], Step::Replace);
                };
                view! {
                    <button role="checkbox" class="check" aria-checked=move || shown.with(|shown| shown.contains(&at)).to_string() on:click=change>
                        <span class="box" aria-hidden="true">{icon("check")}</span>
                        {column.name}
                    </button>
                }
            })
            .collect_view()
    });
    let export = move |_| {
        let text = columns.with_value(|columns| {
            let mut sorted = rows.get_untracked();
            let spec = untrack(|| address.read(&sort_name)).unwrap_or_default();
            order::sort(&mut sorted, &order::parse(&spec, columns));
            shown.with_untracked(|shown| csv(columns, shown, &sorted))
        });
        download(&format!("{name}.csv"), "text/csv", &text);
    };
    view! {
        <details class="chooser columns" node_ref=menu>
            <summary class="button">{sized_icon("table", "icon small")}{words().columns}{sized_icon("chevron-down", "icon small")}</summary>
            <div class="popover" role="group" aria-label=words().columns>{choices}</div>
        </details>
        <button class="button" data-csv="" on:click=export>{icon("download")}"CSV"</button>
    }
}

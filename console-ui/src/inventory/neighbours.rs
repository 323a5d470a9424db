//! Who calls a thing, and what it calls: three columns.

use leptos::prelude::*;
use mesh_api::graph::{Edge, Graph};

use super::subject::{Subject, page_of_node};
use crate::format::{self, number};
use crate::health::Health;
use crate::text::inventory::words;
use crate::text::t;
use crate::time::time;

/// Most neighbours of one side; the rest is a number.
const MOST: usize = 8;
const BOX_WIDTH: f64 = 208.0;
const BOX_HEIGHT: f64 = 44.0;
const GAP: f64 = 12.0;
const WIDTH: f64 = 820.0;

/// A neighbour: all edges to it together.
#[derive(Debug, Clone, PartialEq)]
struct Neighbour {
    id: String,
    requests: u64,
    errors: u64,
}

/// Edges joined by their other end, most requests first.
fn joined<'a>(edges: impl Iterator<Item = &'a Edge>, incoming: bool) -> Vec<Neighbour> {
    let mut found: Vec<Neighbour> = Vec::new();
    for edge in edges {
        let other = if incoming { &edge.source } else { &edge.target };
        match found.iter_mut().find(|known| known.id == *other) {
            Some(known) => {
                known.requests += edge.requests;
                known.errors += edge.errors;
            }
            None => found.push(Neighbour {
                id: other.clone(),
                requests: edge.requests,
                errors: edge.errors,
            }),
        }
    }
    found.sort_by_key(|neighbour| std::cmp::Reverse(neighbour.requests));
    found
}

/// The picture.
pub fn mini_graph(graph: &Graph, subject: &Subject, title: String) -> impl IntoView + use<> {
    let callers = joined(subject.edges(&graph.edges, true), true);
    let callees = joined(subject.edges(&graph.edges, false), false);
    let rows = callers.len().min(MOST).max(callees.len().min(MOST)).max(1);
    let place = |rows: usize| number(u64::try_from(rows).unwrap_or(0));
    let height = place(rows) * (BOX_HEIGHT + GAP) + GAP;
    let middle = height / 2.0;
    let side = |neighbours: &[Neighbour], incoming: bool| {
        let shown = neighbours.len().min(MOST);
        let top = middle - (place(shown) * (BOX_HEIGHT + GAP) - GAP) / 2.0;
        neighbours
            .iter()
            .take(MOST)
            .enumerate()
            .map(|(at, neighbour)| {
                let y = top + place(at) * (BOX_HEIGHT + GAP);
                let picture = neighbour_view(neighbour, subject, graph.seconds, incoming, y, middle);
                picture.into_any()
            })
            .collect::<Vec<_>>()
    };
    let (left, right) = (side(&callers, true), side(&callees, false));
    let (x, y) = ((WIDTH - BOX_WIDTH) / 2.0, middle - BOX_HEIGHT / 2.0);
    let rest = |neighbours: &[Neighbour]| {
        let rest = neighbours.len().saturating_sub(MOST);
        (rest > 0).then(|| (words().more_neighbours)(rest))
    };
    view! {
        <div class="mini-graph" data-mini-graph="">
            <svg viewBox=format!("0 0 {WIDTH} {height:.0}") role="group" aria-label=words().neighbours>
                {left}
                {right}
                <rect class="box own" x=x.to_string() y=y.to_string() width=BOX_WIDTH.to_string() height=BOX_HEIGHT.to_string() rx="8"></rect>
                <text class="box-name own" x=(WIDTH / 2.0).to_string() y=(middle + 4.0).to_string() text-anchor="middle">{format::shorten(&title, 26)}</text>
            </svg>
            <p class="kind">{rest(&callers)}" "{rest(&callees)}</p>
        </div>
    }
}

fn neighbour_view(
    neighbour: &Neighbour,
    subject: &Subject,
    seconds: f64,
    incoming: bool,
    y: f64,
    middle: f64,
) -> impl IntoView + use<> {
    let health = Health::of(neighbour.requests, neighbour.errors);
    let (name, path) = page_of_node(subject.kind, &neighbour.id);
    let name = if name == "unknown" {
        if incoming {
            t().outside.to_owned()
        } else {
            t().local_answers.to_owned()
        }
    } else {
        name
    };
    let x = if incoming { 0.0 } else { WIDTH - BOX_WIDTH };
    let own = (WIDTH - BOX_WIDTH) / 2.0;
    let centre = y + BOX_HEIGHT / 2.0;
    let (from, to) = if incoming {
        ((BOX_WIDTH, centre), (own, middle))
    } else {
        ((own + BOX_WIDTH, middle), (x, centre))
    };
    let bend = f64::midpoint(from.0, to.0);
    let line = format!(
        "M{} {}C{bend} {} {bend} {} {} {}",
        from.0, from.1, from.1, to.1, to.0, to.1
    );
    let rate = number(neighbour.requests) / seconds.max(1.0);
    let width = format!("{:.1}", 1.5 + (1.0 + rate).log10().clamp(0.0, 3.5));
    let text = format!(
        "{}/s · {}",
        format::short(rate),
        format::percent(neighbour.errors, neighbour.requests)
    );
    let text_class = format!("box-figure {}", health.class());
    let spoken = format!("{name}, {text} {}, {}", t().errors, health.word());
    let shape = view! {
        <rect class=format!("box {}", health.class()) x=x.to_string() y=y.to_string() width=BOX_WIDTH.to_string() height=BOX_HEIGHT.to_string() rx="8"></rect>
        <text class="box-name" x=(x + 12.0).to_string() y=(y + 18.0).to_string()>{format!("{} ", format::shorten(&name, 28))}</text>
        <text class=text_class x=(x + 12.0).to_string() y=(y + 35.0).to_string()>{text}</text>
    };
    let time = time();
    view! {
        <path class=format!("link {}", health.class()) d=line stroke-width=width></path>
        {match path {
            Some(path) => view! { <g><a href=move || time.link(&path)>{shape}</a></g> }.into_any(),
            None => view! { <g role="img" aria-label=spoken>{shape}</g> }.into_any(),
        }}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_to_one_neighbour_are_one() {
        let edge = |source: &str, requests, errors| Edge {
            source: source.into(),
            requests,
            errors,
            ..Edge::default()
        };
        let edges = [edge("a", 1, 0), edge("b", 5, 2), edge("a", 9, 1)];
        let found = joined(edges.iter(), true);
        let shape: Vec<(&str, u64, u64)> = found
            .iter()
            .map(|one| (one.id.as_str(), one.requests, one.errors))
            .collect();
        assert_eq!(shape, [("a", 10, 1), ("b", 5, 2)]);
    }
}

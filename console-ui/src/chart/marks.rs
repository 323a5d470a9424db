//! Changes of the configuration on every time axis.

use std::time::Duration;

use leptos::prelude::*;
use mesh_api::history::{Revision, RevisionList};

use super::data::Data;
use crate::clock;
use crate::load::{Loaded, load};
use crate::text::t;
use crate::time::Time;

/// More marks than this are a carpet.
const MOST: usize = 100;
/// Changes are rare; their marks may come a little late.
const EVERY: Duration = Duration::from_secs(5);

/// The changes in the interval on the screen, provided by the shell; asked for while a chart shows them.
#[derive(Clone, Copy)]
pub struct Marks {
    revisions: Loaded<RevisionList>,
    wanted: RwSignal<u32>,
}

impl Marks {
    /// Follows the interval.
    pub fn new(time: Time) -> Self {
        let wanted = RwSignal::new(0_u32);
        let some = Memo::new(move |_| wanted.get() > 0);
        let now = clock::ticker(EVERY);
        let revisions = load(move || {
            if time.live.get() {
                now.track();
            }
            some.get()
                .then(|| format!("/api/revisions?{}&limit={MOST}", time.interval()))
        });
        Self { revisions, wanted }
    }

    /// The changes; tracked.
    pub fn changes(self) -> Vec<Revision> {
        self.revisions.value.with(|list| {
            list.as_ref()
                .map(|list| list.revisions.clone())
                .unwrap_or_default()
        })
    }
}

/// The calling chart shows marks for as long as it lives.
pub fn follow_marks() {
    let Some(marks) = use_context::<Marks>() else {
        return;
    };
    marks.wanted.update(|wanted| *wanted += 1);
    on_cleanup(move || {
        marks
            .wanted
            .try_update(|wanted| *wanted = wanted.saturating_sub(1));
    });
}

/// Where a change is looked at.
pub fn link_of(revision: &Revision) -> String {
    let name = &revision.object;
    format!(
        "/history?kind={}&namespace={}&name={}&rev={}",
        name.kind, name.namespace, name.name, revision.id
    )
}

/// What happened, in words.
pub fn words_of(revision: &Revision) -> String {
    let name = &revision.object;
    let what = format!("{} {}/{}", name.kind, name.namespace, name.name);
    let change = crate::text::history::words().change(&revision.change);
    let mut words = (t().change_of)(&what, change);
    if !revision.user.is_empty() {
        words.push_str(&format!(" · {}", revision.user));
    }
    words
}

/// The marks over a chart. They repeat what the page of changes lists, so readers and the keyboard pass them by.
#[component]
pub fn MarkLayer(data: Signal<Option<Data>>) -> impl IntoView {
    let marks = use_context::<Marks>()?;
    let places = move || {
        data.with(|data| {
            let data = data.as_ref()?;
            let (from, to) = (data.from_ms, data.to_ms());
            let shown = marks.changes().into_iter().filter_map(move |revision| {
                let at = clock::parse(&revision.at)?;
                let share = (at - from) / (to - from).max(1.0);
                (0.0..=1.0).contains(&share).then(|| {
                    view! {
                        <a
                            class="mark"
                            href=link_of(&revision)
                            tabindex="-1"
                            title=format!("{}\n{}", words_of(&revision), clock::full(at))
                            style:left=format!("{:.3}%", share * 100.0)
                            on:pointerdown=|event| event.stop_propagation()
                        ></a>
                    }
                })
            });
            Some(shown.collect_view())
        })
    };
    Some(view! { <div class="marks" aria-hidden="true">{places}</div> })
}

//! Data of a page: asked for again when its question changes or time passes, shown dimmed while it is refreshed.

use std::rc::Rc;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::de::DeserializeOwned;

use crate::api::{self, Failure};
use crate::parts::{empty, failed};
use crate::text::t;

/// Shorter waits show no sign of waiting.
const PATIENCE: Duration = Duration::from_millis(300);

/// What has been loaded.
pub struct Loaded<T: Send + Sync + 'static> {
    /// The newest answer; it stays while another one is awaited.
    pub value: RwSignal<Option<T>>,
    /// Why the newest question has no answer.
    pub failure: RwSignal<Option<Failure>>,
    /// Whether the value answers an older question.
    pub stale: RwSignal<bool>,
    again: RwSignal<u32>,
}

impl<T: Send + Sync + 'static> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Loaded<T> {}

/// Asks for `path` now and whenever it runs again (it is an effect: what it reads is tracked, so that
/// `time().query()` makes it live). `None` asks nothing.
pub fn load<T>(path: impl Fn() -> Option<String> + 'static) -> Loaded<T>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let loaded = Loaded {
        value: RwSignal::new(None),
        failure: RwSignal::new(None),
        stale: RwSignal::new(false),
        again: RwSignal::new(0),
    };
    let take = move |body: &str| {
        let value = api::understood::<T>(body)?;
        loaded.value.try_set(Some(value));
        Ok(())
    };
    ask(
        Box::new(path),
        Rc::new(take),
        Asking {
            failure: loaded.failure,
            stale: loaded.stale,
            again: loaded.again,
        },
    );
    loaded
}

/// Everything about a question but the type of its answer: written once, not once for each type.
#[derive(Clone, Copy)]
struct Asking {
    failure: RwSignal<Option<Failure>>,
    stale: RwSignal<bool>,
    again: RwSignal<u32>,
}

type Take = Rc<dyn Fn(&str) -> Result<(), Failure>>;

fn ask(path: Box<dyn Fn() -> Option<String>>, take: Take, asking: Asking) {
    let turn = StoredValue::new(0_u32);
    Effect::new(move |before: Option<Option<String>>| {
        asking.again.track();
        let path = path();
        turn.update_value(|turn| *turn = turn.wrapping_add(1));
        let mine = turn.get_value();
        let Some(question) = path.clone() else {
            return path;
        };
        if before.flatten().is_some_and(|before| before != question) {
            set_timeout(
                move || {
                    if turn.try_get_value() == Some(mine) {
                        asking.stale.try_set(true);
                    }
                },
                PATIENCE,
            );
        }
        let take = take.clone();
        spawn_local(async move {
            let answer = api::text(&question).await;
            // Another question was asked meanwhile, or the page is gone.
            if turn.try_get_value() != Some(mine) {
                return;
            }
            // The timer of this turn must not mark the answer.
            turn.update_value(|turn| *turn = turn.wrapping_add(1));
            asking.stale.try_set(false);
            let failure = answer.and_then(|body| take(&body)).err();
            asking.failure.try_set(failure);
        });
        path
    });
}

impl<T: Clone + Send + Sync + 'static> Loaded<T> {
    /// Asks again.
    pub fn retry(self) {
        self.failure.set(None);
        self.again.update(|times| *times = times.wrapping_add(1));
    }

    /// Says in the time bar how fresh the answers are: each was true up to the moment at which it came.
    #[must_use]
    pub fn reported(self) -> Self {
        let time = crate::time::time();
        Effect::new(move |_| {
            if self.value.with(Option::is_some) {
                time.report(Some(crate::clock::iso(crate::clock::now())));
            }
        });
        self
    }

    /// The value, or `None` before the first.
    pub fn get(self) -> Option<T> {
        self.value.get()
    }

    /// The content when there is a value (drawn once: it reads [`Self::value`] itself where it changes), else a
    /// skeleton, an error with its cause and a way to try again, or who may see it.
    pub fn view<V: IntoView + 'static>(
        self,
        title: &'static str,
        skeleton: impl Fn() -> AnyView + Send + 'static,
        content: impl Fn() -> V + Send + 'static,
    ) -> impl IntoView {
        let known = Memo::new(move |_| self.value.with(Option::is_some));
        let lost = Memo::new(move |_| {
            self.failure
                .with(|failure| failure.as_ref().map(|failure| failure.status))
        });
        move || match (known.get(), lost.get()) {
            (true, _) => view! { <div class="loaded" class:stale=move || self.stale.get()>{content()}</div> }
                .into_any(),
            (false, Some(status)) => {
                refusal(title, status, self.failure.get_untracked(), move || self.retry())
            }
            (false, None) => skeleton(),
        }
    }
}

/// Nothing came: not signed in, no right, or an error.
fn refusal(
    title: &'static str,
    status: u16,
    failure: Option<Failure>,
    retry: impl Fn() + 'static,
) -> AnyView {
    match (status, failure) {
        (401, _) => empty(
            "lock",
            t().sign_in_to_see.to_owned(),
            t().sign_in_to_see_hint.to_owned(),
        )
        .into_any(),
        (403, Some(failure)) => empty("lock", t().forbidden.to_owned(), failure.message).into_any(),
        (_, failure) => failure.map(|failure| failed(title, failure, retry)).into_any(),
    }
}

/// Whether it is known who is signed in: what needs a user is asked for from then on. Tracked.
pub fn signed_in_known() -> bool {
    expect_context::<crate::app::Who>().0.with(Option::is_some)
}

/// Grey bars in the place of rows that will come.
pub fn skeleton_rows(rows: usize) -> AnyView {
    let widths = ["w70", "w45", "w60", "w35", "w55"];
    let lines = widths
        .iter()
        .cycle()
        .take(rows)
        .map(|width| view! { <div class=format!("skeleton {width}")></div> })
        .collect_view();
    view! { <div class="skeletons" role="status"><span class="visually-hidden">{t().loading}</span>{lines}</div> }.into_any()
}

/// A grey box in the place of a chart that will come.
pub fn skeleton_chart() -> AnyView {
    view! { <div class="skeleton chart-shape" role="status"><span class="visually-hidden">{t().loading}</span></div> }.into_any()
}

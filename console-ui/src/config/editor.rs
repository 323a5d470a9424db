//! One object: edit, see problems, review the difference, save, watch it take effect.

use std::time::Duration;

use gloo_net::http::Method;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::hooks::use_params_map;
use mesh_api::config::{
    AnalyzeAnswer, AnalyzeRequest, ObjectName, ObjectSource, Problem, SaveConflict, Severity,
};

use super::island::{Diff, Editor};
use super::problems::problem_row;
use super::progress::Effects;
use super::review::Conflict;
use super::save::{Outcome, Verdict, page_of, path_of, save, verdict};
use crate::address::{Step, address};
use crate::api::{self, Failure};
use crate::app::Who;
use crate::parts::{failed, icon, sized_icon};
use crate::text::t;

/// Typing pauses this long before the text is judged.
const QUIET: Duration = Duration::from_millis(250);

/// Where a new object begins.
const TEMPLATE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: my-service
  namespace: default
spec:
  hosts:
  - my-service
  http:
  - name: default
    route:
    - destination:
        host: my-service
";

/// An object that exists.
#[component]
pub fn EditorPage() -> impl IntoView {
    let params = use_params_map();
    let name = Memo::new(move |_| {
        params.with(|params| ObjectName {
            kind: params.get("kind").unwrap_or_default(),
            namespace: params.get("namespace").unwrap_or_default(),
            name: params.get("name").unwrap_or_default(),
        })
    });
    let loaded: RwSignal<Option<Result<ObjectSource, Failure>>> = RwSignal::new(None);
    let again = RwSignal::new(0_u32);
    Effect::new(move |_| {
        again.track();
        let path = path_of(&name.get());
        spawn_local(async move {
            let answer = api::get::<ObjectSource>(&path).await;
            loaded.try_set(Some(answer));
        });
    });
    move || match loaded.get() {
        None => view! { <div class="empty" role="status"><p>{t().waiting}</p></div> }.into_any(),
        Some(Err(failure)) => {
            failed(t().config, failure, move || again.update(|times| *times += 1)).into_any()
        }
        Some(Ok(source)) => view! { <Desk source/> }.into_any(),
    }
}

/// An object that does not exist yet.
#[component]
pub fn NewPage() -> impl IntoView {
    view! { <Desk source=ObjectSource { yaml: TEMPLATE.to_owned(), ..ObjectSource::default() }/> }
}

#[derive(Debug, Clone, PartialEq)]
enum Mode {
    Editing,
    Reviewing,
    Conflicting(SaveConflict),
}

/// The state of one editing session.
#[derive(Clone, Copy)]
struct Session {
    base: RwSignal<ObjectSource>,
    text: RwSignal<String>,
    problems: RwSignal<Vec<Problem>>,
    checking: RwSignal<bool>,
    mode: RwSignal<Mode>,
    saving: RwSignal<bool>,
    saved: RwSignal<Option<ObjectSource>>,
    failure: RwSignal<Option<Failure>>,
    editor: Editor,
}

#[component]
fn Desk(source: ObjectSource) -> impl IntoView {
    let host = NodeRef::<html::Div>::new();
    let text = RwSignal::new(source.yaml.clone());
    let mode = RwSignal::new(Mode::Editing);
    let who = expect_context::<Who>();
    let review = Callback::new(move |()| {
        if who.may_edit() {
            mode.set(Mode::Reviewing);
        }
    });
    let session = Session {
        base: RwSignal::new(source),
        text,
        problems: RwSignal::new(Vec::new()),
        checking: RwSignal::new(false),
        mode,
        saving: RwSignal::new(false),
        saved: RwSignal::new(None),
        failure: RwSignal::new(None),
        editor: Editor::new(host, text, t().editor, review),
    };
    session.judge_as_typed();
    session.guard_unsaved();
    // A link to a line, as from the decision that the line made.
    let address = address();
    Effect::new(move |_| {
        let line = address.read("line").and_then(|line| line.parse().ok());
        if let (true, Some(line)) = (session.editor.ready.get(), line) {
            session.editor.reveal(line);
        }
    });
    let editing = move || mode.with(|mode| *mode == Mode::Editing);
    view! {
        <div class="editor-page">
            {head(session)}
            {move || session.failure.get().map(|failure| view! {
                <div class="banner fail" role="alert">{icon("octagon-alert")}{failure.message}<span class="detail">{failure.remedy}</span></div>
            })}
            <div class="split">
                <div class="editor-host" node_ref=host hidden=move || !editing()></div>
                {move || match mode.get() {
                    Mode::Editing => ().into_any(),
                    Mode::Reviewing => view! { <Diff before=session.base.get_untracked().yaml after=text.get_untracked()/> }.into_any(),
                    Mode::Conflicting(conflict) => view! {
                        <Conflict
                            conflict
                            take_theirs=Callback::new(move |()| session.settle(false))
                            keep_mine=Callback::new(move |()| session.settle(true))
                        />
                    }.into_any(),
                }}
                {side(session)}
            </div>
        </div>
    }
}

impl Session {
    fn changed(self) -> bool {
        self.text.with(|text| {
            self.base
                .with(|base| base.resource_version.is_empty() || *text != base.yaml)
        })
    }

    fn verdict(self) -> Verdict {
        self.problems.with(|problems| verdict(problems))
    }

    /// The control plane judges what stands there, a moment after the last key.
    fn judge_as_typed(self) {
        let turn = StoredValue::new(0_u32);
        Effect::new(move |_| {
            let yaml = self.text.get();
            let ready = self.editor.ready.get();
            turn.update_value(|turn| *turn += 1);
            let mine = turn.get_value();
            self.checking.set(true);
            if !ready {
                return;
            }
            set_timeout(
                move || {
                    if turn.try_get_value() != Some(mine) {
                        return;
                    }
                    spawn_local(async move {
                        let answer = api::send::<_, AnalyzeAnswer>(
                            Method::POST,
                            "/api/analyze",
                            &AnalyzeRequest { yaml },
                        )
                        .await;
                        if turn.try_get_value() != Some(mine) {
                            return;
                        }
                        self.checking.set(false);
                        match answer {
                            Ok(answer) => self.show(answer.problems),
                            Err(failure) => self.failure.set(Some(failure)),
                        }
                    });
                },
                QUIET,
            );
        });
    }

    fn show(self, problems: Vec<Problem>) {
        self.editor.problems(&problems);
        self.problems.set(problems);
    }

    fn guard_unsaved(self) {
        let handle = window_event_listener_untyped("beforeunload", move |event| {
            if untrack(|| self.changed() && self.base.with(|base| !base.resource_version.is_empty())) {
                event.prevent_default();
            }
        });
        on_cleanup(move || handle.remove());
    }

    fn save(self) {
        let base = self.base.get_untracked();
        let despite = untrack(|| self.verdict()) == Verdict::Doubtful;
        if despite && !self.sure() {
            return;
        }
        let yaml = self.text.get_untracked();
        let address = address();
        self.saving.set(true);
        self.failure.set(None);
        spawn_local(async move {
            let outcome = save(&base, yaml, despite).await;
            self.saving.try_set(false);
            match outcome {
                Outcome::Saved(source) if base.resource_version.is_empty() => {
                    address.go(&page_of(&source.object), Step::Replace);
                }
                Outcome::Saved(source) => self.accept(source),
                Outcome::Conflict(conflict) => self.mode.set(Mode::Conflicting(conflict)),
                Outcome::Invalid(problems, failure) => {
                    self.mode.set(Mode::Editing);
                    self.show(problems);
                    self.failure.set(Some(Failure {
                        message: t().invalid.to_owned(),
                        ..failure
                    }));
                }
                Outcome::Failed(failure) => self.failure.set(Some(failure)),
            }
        });
    }

    /// Asks once more: the API server would take it, but it will not do what it says.
    fn sure(self) -> bool {
        let messages = self.problems.with_untracked(|problems| {
            let errors = problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error);
            errors
                .map(|problem| format!("· {}", problem.message))
                .collect::<Vec<_>>()
                .join("\n")
        });
        window()
            .confirm_with_message(&(t().save_despite)(&messages))
            .unwrap_or(false)
    }

    fn accept(self, source: ObjectSource) {
        self.editor.replace(&source.yaml);
        self.text.set(source.yaml.clone());
        self.base.set(source.clone());
        self.saved.set(Some(source));
        self.mode.set(Mode::Editing);
    }

    /// After a conflict: their version is the base; ours is kept on top, or dropped.
    fn settle(self, keep_mine: bool) {
        let Mode::Conflicting(conflict) = self.mode.get_untracked() else {
            return;
        };
        if keep_mine {
            self.base.set(conflict.current);
            self.mode.set(Mode::Reviewing);
        } else {
            self.editor.replace(&conflict.current.yaml);
            self.text.set(conflict.current.yaml.clone());
            self.base.set(conflict.current);
            self.mode.set(Mode::Editing);
        }
    }

    fn delete(self) {
        let base = self.base.get_untracked();
        let shown = format!(
            "{} {}/{}",
            base.object.kind, base.object.namespace, base.object.name
        );
        let sure = window()
            .confirm_with_message(&(t().delete_question)(&shown))
            .unwrap_or(false);
        if !sure {
            return;
        }
        let address = address();
        spawn_local(async move {
            let path = format!(
                "{}?resourceVersion={}",
                path_of(&base.object),
                base.resource_version
            );
            match api::delete(&path).await {
                Ok(()) => {
                    self.text.set(self.base.get_untracked().yaml);
                    address.go("/config", Step::New);
                }
                Err(failure) => self.failure.set(Some(failure)),
            }
        });
    }
}

fn head(session: Session) -> impl IntoView {
    let who = expect_context::<Who>();
    let name = move || session.base.with(|base| base.object.clone());
    let exists = move || session.base.with(|base| !base.resource_version.is_empty());
    let title = move || {
        if exists() {
            name().name
        } else {
            t().new_object.to_owned()
        }
    };
    let state = move || {
        if session.saving.get() {
            view! { <span class="chip info">{sized_icon("loader-circle", "icon small spin")}{t().saving}</span> }.into_any()
        } else if session.changed() && exists() {
            view! { <span class="chip warn">{t().unsaved}</span> }.into_any()
        } else if session.saved.with(Option::is_some) {
            view! { <span class="chip ok">{sized_icon("check", "icon small")}{t().saved}</span> }.into_any()
        } else {
            ().into_any()
        }
    };
    let refusal = move || {
        (!who.may_edit()).then(|| {
            if who
                .0
                .with(|who| who.as_ref().is_some_and(|who| !who.user.is_empty()))
            {
                t().may_not_edit
            } else {
                t().anonymous
            }
        })
    };
    view! {
        <div class="page-head">
            <div class="crumbs">
                <a href="/config">{t().config}</a>
                {sized_icon("chevron-right", "icon small")}
                <span>{move || name().kind}</span>
                {move || exists().then(|| sized_icon("chevron-right", "icon small"))}
            </div>
            <h1>{title}</h1>
            {move || exists().then(|| view! { <span class="chip">{name().namespace}</span> })}
            {state}
            <div class="spacer"></div>
            {move || refusal().map(|why| view! { <span class="soft">{why}</span> })}
            {move || match session.mode.get() {
                Mode::Editing => view! {
                    <Show when=exists>
                        <a class="button" href=move || history_of(&name())>{icon("history")}{t().changes}</a>
                        <button class="button danger" disabled=move || !who.may_edit() on:click=move |_| session.delete()>{icon("trash-2")}{t().delete}</button>
                    </Show>
                    <button
                        class="button primary"
                        data-review=""
                        disabled=move || !who.may_edit() || !session.changed() || session.verdict() == Verdict::Refused
                        title=move || if session.changed() { "" } else { t().unchanged }
                        on:click=move |_| session.mode.set(Mode::Reviewing)
                    >
                        {icon("git-compare")}{t().review}
                    </button>
                }.into_any(),
                Mode::Reviewing => view! {
                    <button class="button" on:click=move |_| session.mode.set(Mode::Editing)>{icon("arrow-left")}{t().back_to_edit}</button>
                    <button class="button primary" data-save="" disabled=move || session.saving.get() on:click=move |_| session.save()>
                        {icon("save")}{move || if session.verdict() == Verdict::Doubtful { t().save_anyway } else { t().save }}
                    </button>
                }.into_any(),
                Mode::Conflicting(_) => ().into_any(),
            }}
        </div>
    }
}

/// The changes of one object.
fn history_of(name: &ObjectName) -> String {
    format!(
        "/history?kind={}&namespace={}&name={}",
        name.kind, name.namespace, name.name
    )
}

fn side(session: Session) -> impl IntoView {
    let reveal = Callback::new(move |line: u32| session.editor.reveal(line));
    let saved = Signal::derive(move || session.saved.get());
    view! {
        <aside class="side" aria-label=t().problems>
            <section data-problems="" aria-live="polite">
                <h2>{t().problems}</h2>
                {move || {
                    let problems = session.problems.get();
                    if problems.is_empty() && session.checking.get() {
                        view! { <span class="health unknown">{sized_icon("loader-circle", "icon spin")}{t().checking}</span> }.into_any()
                    } else if problems.is_empty() {
                        view! { <span class="health ok">{icon("circle-check")}{t().no_problems}</span><span class="kind">{t().checked}</span> }.into_any()
                    } else {
                        view! { <ul>{problems.into_iter().map(|problem| problem_row(problem, reveal)).collect_view()}</ul> }.into_any()
                    }
                }}
            </section>
            <Show when=move || saved.with(Option::is_some)>
                <Effects saved/>
            </Show>
        </aside>
    }
}

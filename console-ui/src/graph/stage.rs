//! The picture: canvas below, nodes above, pan and zoom by pointer, wheel and keyboard.

use std::time::Duration;

use leptos::ev::{KeyboardEvent, PointerEvent, WheelEvent};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::ResizeObserver;

use super::cards::{CardEvents, Cards};
use super::choice::{Choice, Selection};
use super::dots::Dots;
use super::paint::{Painter, Palette, Picture};
use super::scene::{Line, Scene};
use super::viewport::{DOTS_FROM, Viewport};
use crate::address::{Step, address};
use crate::parts::{icon, sized_icon};
use crate::text::t;
use crate::theme::theme;
use crate::time::time;

/// A pointer that moved less than this has clicked.
const CLICK_SLACK: f64 = 4.0;
/// How near to an edge the pointer must be, in screen pixels.
const EDGE_REACH: f64 = 9.0;
const PAN_STEP: f64 = 60.0;
const ZOOM_STEP: f64 = 1.25;
/// Longest step of the dots: after a hidden tab they go on, not leap.
const FRAME_MOST: f64 = 0.1;
/// The URL follows the view when it has rested.
const REST: Duration = Duration::from_millis(400);

/// Stage state that no view reads.
struct Backstage {
    painter: Option<Painter>,
    palette: Palette,
    dots: Dots,
    last_frame: f64,
    dirty: bool,
}

/// Signals of the stage.
#[derive(Clone, Copy)]
struct Stage {
    scene: Memo<Scene>,
    choice: Choice,
    select: Callback<Option<Selection>>,
    viewport: RwSignal<Viewport>,
    live: Memo<bool>,
    hovered: RwSignal<Option<(String, String)>>,
    size: RwSignal<(f64, f64)>,
    drag: RwSignal<Option<Drag>>,
    /// The reader chose the view: it is not fitted any more.
    touched: RwSignal<bool>,
    backstage: StoredValue<Backstage, LocalStorage>,
}

/// An observer with the closure that it calls; it must not outlive it.
struct Watch {
    observer: ResizeObserver,
    _measure: Closure<dyn FnMut()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.observer.disconnect();
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Drag {
    from: (f64, f64),
    last: (f64, f64),
    moved: bool,
}

/// The picture of a scene.
#[component]
pub fn GraphStage(scene: Memo<Scene>, choice: Choice, select: Callback<Option<Selection>>) -> impl IntoView {
    let given = address().read("at").as_deref().and_then(Viewport::from_text);
    let stage = Stage {
        scene,
        choice,
        select,
        viewport: RwSignal::new(given.unwrap_or_default()),
        live: time().live,
        hovered: RwSignal::new(None),
        size: RwSignal::new((0.0, 0.0)),
        drag: RwSignal::new(None),
        touched: RwSignal::new(given.is_some()),
        backstage: StoredValue::new_local(Backstage {
            painter: None,
            palette: Palette::default(),
            dots: Dots::default(),
            last_frame: 0.0,
            dirty: true,
        }),
    };
    let (host, canvas) = (NodeRef::<html::Div>::new(), NodeRef::<html::Canvas>::new());
    stage.follow_size(host);
    stage.follow_changes(canvas);
    stage.follow_address();
    frame(stage);

    let related = Memo::new(move |_| stage.related());
    let events = CardEvents {
        select: Callback::new(move |id| select.run(Some(Selection::Node(id)))),
        key: Callback::new(move |(id, event): (String, KeyboardEvent)| stage.card_key(&id, &event)),
        focus: Callback::new(move |id: String| stage.reveal(&id)),
    };
    view! {
        <div
            class="stage"
            class:moving=move || stage.drag.get().is_some_and(|drag| drag.moved)
            class:over-edge=move || stage.hovered.with(Option::is_some)
            node_ref=host
            tabindex="0"
            role="group"
            aria-label=t().canvas_help
            on:pointerdown=move |event| stage.press(&event)
            on:pointermove=move |event| stage.point(&event)
            on:pointerup=move |event| stage.release(&event)
            on:pointercancel=move |_| stage.drag.set(None)
            on:pointerleave=move |_| stage.hovered.set(None)
            on:wheel=move |event| stage.wheel(&event)
            on:keydown=move |event| stage.key(&event)
        >
            <canvas node_ref=canvas aria-hidden="true"></canvas>
            <Cards scene viewport=stage.viewport selection=choice.selection related events/>
            {legend()}
            {controls(stage)}
        </div>
    }
}

impl Stage {
    fn follow_size(self, host: NodeRef<html::Div>) {
        let observer: StoredValue<Option<Watch>, LocalStorage> = StoredValue::new_local(None);
        Effect::new(move |_| {
            let Some(element) = host.get() else { return };
            let measured = element.clone();
            let measure = Closure::new(move || {
                self.size.set((
                    f64::from(measured.client_width()),
                    f64::from(measured.client_height()),
                ));
            });
            if let Ok(watcher) = ResizeObserver::new(measure.as_ref().unchecked_ref()) {
                watcher.observe(&element);
                observer.set_value(Some(Watch {
                    observer: watcher,
                    _measure: measure,
                }));
            }
        });
        Effect::new(move |_| {
            let (width, height) = self.size.get();
            self.backstage.update_value(|backstage| {
                if let Some(painter) = &mut backstage.painter {
                    painter.resize(width, height);
                }
                backstage.dirty = true;
            });
            let picture = self.scene.with(Scene::bounds);
            if !self.touched.get() {
                self.viewport.set(Viewport::fit_part(picture, (width, height)));
            }
        });
    }

    fn follow_changes(self, canvas: NodeRef<html::Canvas>) {
        Effect::new(move |_| {
            if let Some(canvas) = canvas.get() {
                let (width, height) = self.size.get_untracked();
                let mut painter = Painter::new(canvas);
                if let Some(painter) = &mut painter {
                    painter.resize(width, height);
                }
                self.backstage
                    .update_value(|backstage| backstage.painter = painter);
            }
        });
        Effect::new(move |_| {
            theme().changes.track();
            self.backstage.update_value(|backstage| {
                backstage.palette = Palette::read();
                backstage.dirty = true;
            });
        });
        Effect::new(move |_| {
            self.scene.track();
            self.viewport.track();
            self.hovered.track();
            self.choice.selection.track();
            self.choice.label.track();
            self.backstage.update_value(|backstage| backstage.dirty = true);
        });
        // Another scope is another picture: it is fitted again.
        Effect::new(move |before: Option<String>| {
            let scope = format!("{}{:?}", self.choice.scope(), self.choice.isolation.get());
            if before.is_some_and(|before| before != scope) {
                self.touched.set(false);
            }
            scope
        });
    }

    fn follow_address(self) {
        let address = address();
        let timer: StoredValue<Option<TimeoutHandle>> = StoredValue::new(None);
        Effect::new(move |_| {
            let (view, touched) = (self.viewport.get(), self.touched.get());
            if let Some(timer) = timer.get_value() {
                timer.clear();
            }
            let write = move || {
                let text = touched.then(|| view.to_text());
                if address.read("at") != text {
                    address.write(&[("at", text)], Step::Replace);
                }
            };
            timer.set_value(set_timeout_with_handle(move || untrack(write), REST).ok());
        });
        on_cleanup(move || {
            if let Some(timer) = timer.try_get_value().flatten() {
                timer.clear();
            }
        });
    }

    /// Ids that stay bright while something is selected.
    fn related(self) -> Option<Vec<String>> {
        let selection = self.choice.selection.get()?;
        self.scene.with(|scene| match selection {
            Selection::Edge(source, target) => scene.line(&source, &target).map(|_| vec![source, target]),
            Selection::Node(id) => {
                scene.card(&id)?;
                let mut ids = vec![id.clone()];
                for line in &scene.lines {
                    if line.source == id {
                        ids.push(line.target.clone());
                    } else if line.target == id {
                        ids.push(line.source.clone());
                    }
                }
                Some(ids)
            }
        })
    }

    fn draw(self, backstage: &mut Backstage) {
        let Some(painter) = &backstage.painter else { return };
        let selection = self.choice.selection.get_untracked();
        let selected = match &selection {
            Some(Selection::Edge(source, target)) => Some((source.clone(), target.clone())),
            _ => None,
        };
        self.scene.with_untracked(|scene| {
            let known = match &selection {
                Some(Selection::Node(id)) => scene.card(id).is_some(),
                Some(Selection::Edge(source, target)) => scene.line(source, target).is_some(),
                None => false,
            };
            let related = |line: &Line| match &selection {
                Some(Selection::Node(id)) if known => line.source == *id || line.target == *id,
                Some(Selection::Edge(source, target)) if known => line.joins(source, target),
                _ => true,
            };
            self.hovered.with_untracked(|hovered| {
                painter.draw(&Picture {
                    scene,
                    dots: &backstage.dots,
                    viewport: self.viewport.get_untracked(),
                    label: self.choice.label.get_untracked(),
                    hovered: hovered.as_ref(),
                    related: &related,
                    selected: selected.as_ref(),
                    palette: &backstage.palette,
                });
            });
        });
    }

    fn press(self, event: &PointerEvent) {
        if event.button() == 0 {
            let at = (f64::from(event.client_x()), f64::from(event.client_y()));
            self.drag.set(Some(Drag {
                from: at,
                last: at,
                moved: false,
            }));
        }
    }

    fn point(self, event: &PointerEvent) {
        let at = (f64::from(event.client_x()), f64::from(event.client_y()));
        if let Some(mut drag) = self.drag.get_untracked() {
            if event.buttons() == 0 {
                self.drag.set(None);
            } else if drag.moved || (at.0 - drag.from.0).hypot(at.1 - drag.from.1) > CLICK_SLACK {
                self.touched.set(true);
                self.viewport
                    .update(|view| *view = view.moved(at.0 - drag.last.0, at.1 - drag.last.1));
                drag.last = at;
                drag.moved = true;
                self.drag.set(Some(drag));
            }
            return;
        }
        let on_canvas = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::HtmlCanvasElement>().ok())
            .is_some();
        let view = self.viewport.get_untracked();
        let (x, y) = local(event.current_target().as_ref(), at);
        let found = on_canvas
            .then(|| {
                self.scene.with_untracked(|scene| {
                    let line = scene.line_at(view.picture(x, y), EDGE_REACH / view.zoom)?;
                    Some((line.source.clone(), line.target.clone()))
                })
            })
            .flatten();
        if self.hovered.with_untracked(|hovered| *hovered != found) {
            self.hovered.set(found);
        }
    }

    fn release(self, event: &PointerEvent) {
        let moved = self.drag.get_untracked().is_none_or(|drag| drag.moved);
        self.drag.set(None);
        let on_canvas = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::HtmlCanvasElement>().ok())
            .is_some();
        if !moved && on_canvas {
            let edge = self.hovered.get_untracked();
            self.select
                .run(edge.map(|(source, target)| Selection::Edge(source, target)));
        }
    }

    fn wheel(self, event: &WheelEvent) {
        event.prevent_default();
        let at = (f64::from(event.client_x()), f64::from(event.client_y()));
        let (x, y) = local(event.current_target().as_ref(), at);
        let factor = (-event.delta_y() * if event.ctrl_key() { 0.01 } else { 0.0016 }).exp();
        self.touched.set(true);
        self.viewport.update(|view| *view = view.scaled(factor, x, y));
    }

    fn zoom(self, factor: f64) {
        let (width, height) = self.size.get_untracked();
        self.touched.set(true);
        self.viewport
            .update(|view| *view = view.scaled(factor, width / 2.0, height / 2.0));
    }

    fn fit(self) {
        self.touched.set(false);
        self.viewport.set(Viewport::fit_part(
            self.scene.with_untracked(Scene::bounds),
            self.size.get_untracked(),
        ));
    }

    fn pan(self, dx: f64, dy: f64) {
        self.touched.set(true);
        self.viewport.update(|view| *view = view.moved(dx, dy));
    }

    fn key(self, event: &KeyboardEvent) {
        match event.key().as_str() {
            "ArrowLeft" => self.pan(PAN_STEP, 0.0),
            "ArrowRight" => self.pan(-PAN_STEP, 0.0),
            "ArrowUp" => self.pan(0.0, PAN_STEP),
            "ArrowDown" => self.pan(0.0, -PAN_STEP),
            "+" | "=" => self.zoom(ZOOM_STEP),
            "-" => self.zoom(1.0 / ZOOM_STEP),
            "0" => self.fit(),
            "Escape" => self.select.run(None),
            _ => return,
        }
        event.prevent_default();
    }

    fn card_key(self, id: &str, event: &KeyboardEvent) {
        let next = self.scene.with_untracked(|scene| {
            let card = match event.key().as_str() {
                "ArrowRight" => scene.neighbour(id, true),
                "ArrowLeft" => scene.neighbour(id, false),
                "ArrowDown" => scene.beside(id, true),
                "ArrowUp" => scene.beside(id, false),
                _ => return None,
            };
            Some(card.map(|card| card.id.clone()))
        });
        match (next, event.key().as_str()) {
            (Some(next), _) => {
                if let Some(id) = next {
                    focus_card(&id);
                }
            }
            (None, "Enter" | " ") => self.select.run(Some(Selection::Node(id.to_owned()))),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }

    fn reveal(self, id: &str) {
        let Some((middle, size)) = self.scene.with_untracked(|scene| {
            scene
                .card(id)
                .map(|card| ((card.x, card.y), (card.width, card.height)))
        }) else {
            return;
        };
        let view = self.viewport.get_untracked();
        let revealed = view.revealing(middle, size, self.size.get_untracked());
        if revealed != view {
            self.touched.set(true);
            self.viewport.set(revealed);
        }
    }
}

/// One frame, then the next, while the stage lives.
fn frame(stage: Stage) {
    let drawn = stage.backstage.try_update_value(|backstage| {
        let now = web_sys::window()
            .and_then(|window| window.performance())
            .map_or(0.0, |performance| performance.now() / 1000.0);
        let step = (now - backstage.last_frame).clamp(0.0, FRAME_MOST);
        backstage.last_frame = now;
        let still = !stage.live.get_untracked()
            || reduced_motion()
            || stage.viewport.with_untracked(|view| view.zoom < DOTS_FROM);
        if !still {
            stage
                .scene
                .with_untracked(|scene| backstage.dots.advance(&scene.lines, scene.seconds, step));
        }
        if backstage.dirty || !still {
            backstage.dirty = false;
            stage.draw(backstage);
        }
    });
    if drawn.is_some() {
        request_animation_frame(move || frame(stage));
    }
}

fn reduced_motion() -> bool {
    thread_local! {
        static QUERY: Option<web_sys::MediaQueryList> = web_sys::window()
            .and_then(|window| window.match_media("(prefers-reduced-motion: reduce)").ok().flatten());
    }
    QUERY.with(|query| query.as_ref().is_some_and(web_sys::MediaQueryList::matches))
}

/// Client coordinates to those of an element.
fn local(element: Option<&web_sys::EventTarget>, at: (f64, f64)) -> (f64, f64) {
    let element = element.and_then(|target| target.dyn_ref::<web_sys::Element>());
    element.map_or(at, |element| {
        let frame = element.get_bounding_client_rect();
        (at.0 - frame.left(), at.1 - frame.top())
    })
}

fn focus_card(id: &str) {
    let cards = document().query_selector_all(".node").ok();
    let Some(cards) = cards else { return };
    for at in 0..cards.length() {
        let Some(card) = cards
            .get(at)
            .and_then(|node| node.dyn_into::<web_sys::SvgElement>().ok())
        else {
            continue;
        };
        if card.get_attribute("data-id").as_deref() == Some(id) {
            if card.focus().is_err() {
                leptos::logging::warn!("cannot focus {id}");
            }
            return;
        }
    }
}

fn controls(stage: Stage) -> impl IntoView {
    let button = |name: &'static str, label: &'static str, act: fn(Stage)| {
        view! {
            <button class="button quiet square" aria-label=label title=label on:click=move |_| act(stage) on:pointerdown=|event| event.stop_propagation()>
                {icon(name)}
            </button>
        }
    };
    view! {
        <div class="controls" role="group">
            {button("plus", t().zoom_in, |stage| stage.zoom(ZOOM_STEP))}
            {button("minus", t().zoom_out, |stage| stage.zoom(1.0 / ZOOM_STEP))}
            {button("maximize", t().fit, Stage::fit)}
        </div>
    }
}

fn legend() -> impl IntoView {
    use crate::health::Health;
    use crate::text::graph::words;
    let healths = [Health::Ok, Health::Warn, Health::Fail, Health::Unknown];
    let rows = healths.map(|health| {
        view! {
            <dt class=format!("health {}", health.class())>{sized_icon(health.icon(), "icon small")}</dt>
            <dd>{health.word()}</dd>
        }
    });
    view! {
        <details class="legend" on:pointerdown=|event| event.stop_propagation() on:keydown=|event| event.stop_propagation()>
            <summary>{sized_icon("circle-help", "icon small")}{t().legend}</summary>
            <dl>
                {rows.into_iter().collect_view()}
                <dt><svg class="sample" viewBox="0 0 28 14" aria-hidden="true"><path class="dashed" d="M0 7H28"></path></svg></dt>
                <dd>{words().legend_tcp}</dd>
                <dt>"⚠"</dt>
                <dd>{words().legend_gap}</dd>
                <dt>{sized_icon("lock", "icon small")}</dt>
                <dd>{t().legend_mtls}</dd>
                <dt class="health ok"><svg class="icon small" aria-hidden="true"><circle cx="7" cy="7" r="3.2" fill="currentColor" stroke="none"></circle></svg></dt>
                <dd>{t().legend_dots}</dd>
                <dt class="health fail"><svg class="icon small" aria-hidden="true"><path d="M7 2 12 7 7 12 2 7Z" fill="currentColor" stroke="none"></path></svg></dt>
                <dd>{t().legend_errors}</dd>
            </dl>
        </details>
    }
}

//! The canvas: boxes, edges, labels, moving dots. Measured: at 2,000 nodes it still pans at 60 frames a second,
//! where an element per edge does not.

use mesh_api::layout::NamespaceBox;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

use super::change::Turn;
use super::choice::Label;
use super::dots::Dots;
use super::far;
use super::scene::{Line, Scene};
use super::viewport::{CARDS_FROM, DOTS_FROM, LABELS_FROM, Viewport};
use crate::format;
use crate::health::Health;

const DIMMED: f64 = 0.16;
const FULL_TURN: f64 = std::f64::consts::TAU;
const GRID: f64 = 24.0;
const LABEL_HEIGHT: f64 = 18.0;
const LOCK_WIDTH: f64 = 14.0;

/// Colours of the theme in force.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Palette {
    ok: String,
    warn: String,
    fail: String,
    idle: String,
    more: String,
    fewer: String,
    /// Of namespaces' boxes.
    pub frame: String,
    /// Of their border, and of labels' and nodes'.
    pub frame_line: String,
    /// Of quiet text.
    pub frame_text: String,
    /// Of labels' ground.
    pub label: String,
    /// Of labels' text.
    pub label_text: String,
    accent: String,
    grid: String,
    /// Of the page.
    pub ground: String,
    /// Of nodes.
    pub card: String,
    /// Of names.
    pub text: String,
}

impl Palette {
    /// Asks the style sheet.
    pub fn read() -> Self {
        let style = web_sys::window().and_then(|window| {
            window
                .get_computed_style(&window.document()?.document_element()?)
                .ok()
                .flatten()
        });
        let colour = |name: &str| {
            style
                .as_ref()
                .and_then(|style| style.get_property_value(name).ok())
                .unwrap_or_default()
        };
        Self {
            ok: colour("--paint-ok"),
            warn: colour("--paint-warn"),
            fail: colour("--paint-fail"),
            idle: colour("--paint-idle"),
            frame: colour("--paint-box"),
            frame_line: colour("--paint-box-line"),
            frame_text: colour("--paint-box-text"),
            label: colour("--paint-label"),
            label_text: colour("--paint-label-text"),
            accent: colour("--paint-accent"),
            grid: colour("--paint-grid"),
            more: colour("--paint-more"),
            fewer: colour("--paint-fewer"),
            ground: colour("--paint-ground"),
            card: colour("--paint-card"),
            text: colour("--paint-text"),
        }
    }

    /// Of an edge: its change when two times are compared, else its health; TCP has none.
    pub fn of_line(&self, line: &Line) -> &str {
        match line.change.as_ref().map(|change| change.turn) {
            Some(Turn::New) => &self.accent,
            Some(Turn::Gone | Turn::Same) => &self.idle,
            Some(Turn::Worse) => &self.fail,
            Some(Turn::Better) => &self.ok,
            Some(Turn::More) => &self.more,
            Some(Turn::Fewer) => &self.fewer,
            None if line.tcp && line.errors == 0 => &self.accent,
            None => self.of(line.health()),
        }
    }

    /// Of a verdict.
    pub fn of(&self, health: Health) -> &str {
        match health {
            Health::Unknown => &self.idle,
            Health::Ok => &self.ok,
            Health::Warn => &self.warn,
            Health::Fail => &self.fail,
        }
    }
}

/// What is to be drawn.
pub struct Picture<'a> {
    /// Nodes and edges.
    pub scene: &'a Scene,
    /// Moving dots.
    pub dots: &'a Dots,
    /// Pan and zoom.
    pub viewport: Viewport,
    /// What stands on edges.
    pub label: Label,
    /// Edge under the pointer.
    pub hovered: Option<&'a (String, String)>,
    /// Whether an edge is related to the selection; all are when nothing is selected.
    pub related: &'a dyn Fn(&Line) -> bool,
    /// Edge in the panel.
    pub selected: Option<&'a (String, String)>,
    /// Colours.
    pub palette: &'a Palette,
}

/// A canvas and its size in CSS pixels.
pub struct Painter {
    context: CanvasRenderingContext2d,
    canvas: HtmlCanvasElement,
    size: (f64, f64),
    density: f64,
}

impl Painter {
    /// Takes a canvas.
    pub fn new(canvas: HtmlCanvasElement) -> Option<Self> {
        let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        Some(Self {
            context,
            canvas,
            size: (0.0, 0.0),
            density: 1.0,
        })
    }

    /// Follows the window.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "screens are small and positive"
    )]
    pub fn resize(&mut self, width: f64, height: f64) {
        self.density = web_sys::window()
            .map_or(1.0, |window| window.device_pixel_ratio())
            .clamp(1.0, 3.0);
        self.size = (width, height);
        self.canvas.set_width((width * self.density).round() as u32);
        self.canvas.set_height((height * self.density).round() as u32);
    }

    /// Draws everything.
    pub fn draw(&self, picture: &Picture<'_>) {
        let context = &self.context;
        let view = picture.viewport;
        reset(context, self.density, 0.0, 0.0);
        context.clear_rect(0.0, 0.0, self.size.0, self.size.1);
        self.grid(picture);
        let scale = self.density * view.zoom;
        reset(context, scale, view.x * self.density, view.y * self.density);
        for frame in &picture.scene.boxes {
            self.frame(frame, picture);
        }
        let area = far::shown(view, self.size);
        let seen: Vec<&Line> = picture
            .scene
            .lines
            .iter()
            .filter(|line| far::sees(area, line))
            .collect();
        if view.zoom < CARDS_FROM {
            self.draw_far(picture, area, &seen);
            return;
        }
        for line in &seen {
            self.line(line, picture);
        }
        if view.zoom >= DOTS_FROM {
            for line in &seen {
                self.dots(line, picture);
            }
        }
        if view.zoom >= LABELS_FROM {
            for line in &seen {
                self.label(line, picture);
            }
        }
        context.set_global_alpha(1.0);
    }

    fn draw_far(&self, picture: &Picture<'_>, area: (f64, f64, f64, f64), seen: &[&Line]) {
        far::draw_lines(&self.context, picture, seen);
        let marked = |line: &Line| {
            let joins = |pair: Option<&(String, String)>| {
                pair.is_some_and(|(source, target)| line.joins(source, target))
            };
            line.found || joins(picture.hovered) || joins(picture.selected)
        };
        for line in seen.iter().filter(|line| marked(line)) {
            self.line(line, picture);
        }
        self.context.set_global_alpha(1.0);
        if picture.viewport.zoom >= DOTS_FROM {
            for line in seen {
                self.dots(line, picture);
            }
            self.context.set_global_alpha(1.0);
        }
        far::draw_cards(&self.context, picture, area);
        reset(&self.context, self.density, 0.0, 0.0);
        far::draw_names(&self.context, picture, self.size);
    }

    /// A quiet ground that shows pan and zoom.
    fn grid(&self, picture: &Picture<'_>) {
        let view = picture.viewport;
        let mut step = GRID * view.zoom;
        while step < GRID * 0.7 {
            step *= 2.0;
        }
        self.context.set_fill_style_str(&picture.palette.grid);
        let mut x = view.x.rem_euclid(step);
        while x < self.size.0 {
            let mut y = view.y.rem_euclid(step);
            while y < self.size.1 {
                self.context.fill_rect(x, y, 1.5, 1.5);
                y += step;
            }
            x += step;
        }
    }

    fn frame(&self, frame: &NamespaceBox, picture: &Picture<'_>) {
        let context = &self.context;
        context.begin_path();
        rounded(context, frame.x, frame.y, frame.width, frame.height, 12.0);
        context.set_fill_style_str(&picture.palette.frame);
        context.fill();
        context.set_stroke_style_str(&picture.palette.frame_line);
        context.set_line_width(1.0);
        context.stroke();
        if picture.viewport.zoom < CARDS_FROM {
            return;
        }
        context.set_font("600 11px Inter, sans-serif");
        context.set_text_align("left");
        context.set_text_baseline("middle");
        context.set_fill_style_str(&picture.palette.frame_text);
        write(context, &frame.namespace, frame.x + 16.0, frame.y + 19.0);
    }

    fn line(&self, line: &Line, picture: &Picture<'_>) {
        let context = &self.context;
        let key =
            |pair: Option<&(String, String)>| pair.is_some_and(|(source, target)| line.joins(source, target));
        let (hovered, selected) = (key(picture.hovered), key(picture.selected));
        let related = (picture.related)(line);
        let health = line.health();
        let width = width_of(line, picture.scene.seconds);
        context.set_global_alpha(if related || hovered { 1.0 } else { DIMMED });
        if hovered || selected || line.found {
            context.set_stroke_style_str(&picture.palette.accent);
            context.set_line_width(width + 6.0);
            context.set_global_alpha(0.28);
            self.trace(line, 0.0);
            context.stroke();
            context.set_global_alpha(1.0);
        }
        let colour = picture.palette.of_line(line);
        context.set_stroke_style_str(colour);
        context.set_line_width(width);
        context.set_line_cap("round");
        context.set_global_alpha(context.global_alpha() * if health == Health::Ok { 0.62 } else { 0.85 });
        self.dash(
            if line.tcp
                || line
                    .change
                    .as_ref()
                    .is_some_and(|change| change.turn == Turn::Gone)
            {
                &[7.0, 6.0]
            } else {
                &[]
            },
        );
        self.trace(line, 7.0);
        context.stroke();
        self.dash(&[]);
        context.set_global_alpha(if related || hovered { 1.0 } else { DIMMED });
        self.arrow(line, colour, width);
    }

    fn dash(&self, lengths: &[f64]) {
        let list: js_sys::Array = lengths.iter().map(|length| JsValue::from_f64(*length)).collect();
        if self.context.set_line_dash(&list).is_err() {
            leptos::logging::warn!("the canvas draws no dashes");
        }
    }

    /// The line, without its last pixels: the arrow stands there.
    fn trace(&self, line: &Line, short_of_end: f64) {
        let context = &self.context;
        context.begin_path();
        let until = line.curve.length() - short_of_end;
        let mut way = 0.0;
        let mut last: Option<(f64, f64)> = None;
        for point in line.curve.points() {
            if let Some(before) = last {
                way += (before.0 - point.0).hypot(before.1 - point.1);
                if way > until {
                    break;
                }
                context.line_to(point.0, point.1);
            } else {
                context.move_to(point.0, point.1);
            }
            last = Some(*point);
        }
        let end = line.curve.at(until.max(0.0));
        context.line_to(end.0, end.1);
    }

    fn arrow(&self, line: &Line, colour: &str, width: f64) {
        let (length, reach) = (line.curve.length(), 8.0 + width);
        let (tip, back) = (line.curve.at(length), line.curve.at((length - reach).max(0.0)));
        let angle = (tip.1 - back.1).atan2(tip.0 - back.0);
        let half = 3.6 + width * 0.6;
        let (sin, cos) = angle.sin_cos();
        let context = &self.context;
        context.begin_path();
        context.move_to(tip.0, tip.1);
        context.line_to(tip.0 - reach * cos - half * sin, tip.1 - reach * sin + half * cos);
        context.line_to(tip.0 - reach * cos + half * sin, tip.1 - reach * sin - half * cos);
        context.close_path();
        context.set_fill_style_str(colour);
        context.fill();
    }

    fn dots(&self, line: &Line, picture: &Picture<'_>) {
        let context = &self.context;
        context.set_global_alpha(if (picture.related)(line) { 1.0 } else { DIMMED });
        let end = line.curve.length() - 8.0;
        context.set_fill_style_str(if line.tcp {
            &picture.palette.accent
        } else {
            picture.palette.of(line.health().min(Health::Ok))
        });
        let dots = picture.dots.of(line);
        for dot in dots.iter().filter(|dot| !dot.error && dot.way < end) {
            let (x, y) = line.curve.at(dot.way);
            context.begin_path();
            if context.arc(x, y, 3.2, 0.0, FULL_TURN).is_ok() {
                context.fill();
            }
        }
        context.set_fill_style_str(&picture.palette.fail);
        for dot in dots.iter().filter(|dot| dot.error && dot.way < end) {
            let (x, y) = line.curve.at(dot.way);
            context.begin_path();
            context.move_to(x, y - 5.0);
            context.line_to(x + 5.0, y);
            context.line_to(x, y + 5.0);
            context.line_to(x - 5.0, y);
            context.close_path();
            context.fill();
        }
    }

    fn label(&self, line: &Line, picture: &Picture<'_>) {
        let mut text = label(line, picture.scene.seconds, picture.label);
        if line.gap {
            text.push_str(" ⚠");
        }
        if text.is_empty() && !line.mutual_tls {
            return;
        }
        let context = &self.context;
        context.set_global_alpha(if (picture.related)(line) { 1.0 } else { DIMMED });
        context.set_font("500 11px Inter, sans-serif");
        let text_width = context.measure_text(&text).map_or(0.0, |metrics| metrics.width());
        let lock = if line.mutual_tls { LOCK_WIDTH } else { 0.0 };
        let width = text_width + lock + 12.0
            - if text.is_empty() && line.mutual_tls {
                2.0
            } else {
                0.0
            };
        let (x, y) = line.curve.at(line.curve.length() / 2.0);
        let left = x - width / 2.0;
        context.begin_path();
        rounded(
            context,
            left,
            y - LABEL_HEIGHT / 2.0,
            width,
            LABEL_HEIGHT,
            LABEL_HEIGHT / 2.0,
        );
        context.set_fill_style_str(&picture.palette.label);
        context.fill();
        context.set_stroke_style_str(&picture.palette.frame_line);
        context.set_line_width(1.0);
        context.stroke();
        if line.mutual_tls {
            self.lock(left + 6.0, y, &picture.palette.frame_text);
        }
        context.set_text_align("left");
        context.set_text_baseline("middle");
        let colour = match line.health() {
            Health::Ok | Health::Unknown => &picture.palette.label_text,
            other => picture.palette.of(other),
        };
        context.set_fill_style_str(colour);
        write(context, &text, left + 6.0 + lock, y + 0.5);
    }

    fn lock(&self, x: f64, y: f64, colour: &str) {
        let context = &self.context;
        context.begin_path();
        rounded(context, x, y - 1.0, 8.0, 6.0, 1.2);
        context.set_fill_style_str(colour);
        context.fill();
        context.begin_path();
        context.move_to(x + 2.0, y - 1.0);
        context.line_to(x + 2.0, y - 2.4);
        if context
            .arc(x + 4.0, y - 2.6, 2.0, std::f64::consts::PI, FULL_TURN)
            .is_ok()
        {
            context.line_to(x + 6.0, y - 1.0);
        }
        context.set_stroke_style_str(colour);
        context.set_line_width(1.2);
        context.stroke();
    }
}

/// What stands on an edge.
pub fn label(line: &Line, seconds: f64, label: Label) -> String {
    if let Some(change) = &line.change {
        return change.label(line, seconds, label);
    }
    match label {
        Label::Rate if line.tcp => {
            format!(
                "{}/s",
                format::byte_size(format::number(line.bytes) / seconds.max(1.0))
            )
        }
        Label::Rate => format!("{}/s", format::rate(line.requests, seconds)),
        Label::Errors => format::percent(line.errors, line.requests),
        Label::P95 => format::millis(line.p95_ms),
        Label::None => String::new(),
    }
}

/// Wider with traffic, by its order of magnitude.
pub fn width_of(line: &Line, seconds: f64) -> f64 {
    let rate = if seconds > 0.0 {
        format::number(line.requests) / seconds
    } else {
        0.0
    };
    1.6 + (1.0 + rate).log10().clamp(0.0, 3.5) * 0.8
}

fn reset(context: &CanvasRenderingContext2d, scale: f64, x: f64, y: f64) {
    if context.set_transform(scale, 0.0, 0.0, scale, x, y).is_err() {
        leptos::logging::warn!("the canvas refuses its transform");
    }
}

fn rounded(context: &CanvasRenderingContext2d, x: f64, y: f64, width: f64, height: f64, radius: f64) {
    if context.round_rect_with_f64(x, y, width, height, radius).is_err() {
        context.rect(x, y, width, height);
    }
}

/// Text, its middle on the line.
pub fn write(context: &CanvasRenderingContext2d, text: &str, x: f64, y: f64) {
    if context.fill_text(text, x, y).is_err() {
        leptos::logging::warn!("the canvas cannot write `{text}`");
    }
}

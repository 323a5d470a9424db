//! The picture from far away: where names on cards would be too small to read, they are written at reading size, the
//! busiest first, as many as have room. What is placed where is pure; drawing it is for the canvas.

use web_sys::CanvasRenderingContext2d;

use super::paint::{Picture, write};
use super::scene::{Card, Line, Scene};
use super::viewport::Viewport;
use crate::format;
use crate::health::Health;

/// Screen pixels.
const FONT: &str = "600 11px Inter, sans-serif";
/// Of a letter, on average.
const LETTER: f64 = 6.3;
const NAME_HEIGHT: f64 = 14.0;
/// Longer names are cut.
const NAME_LIMIT: usize = 22;
const STROKE: f64 = 1.2;
/// Every so many pieces of a curve are one from here.
const COARSE: usize = 6;
const ALPHA: f64 = 0.45;

/// A rectangle: left, top, right, bottom.
type Area = (f64, f64, f64, f64);

fn meet(a: Area, b: Area) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

/// The part of the picture that the window shows, in the picture's own measure.
pub fn shown(view: Viewport, window: (f64, f64)) -> Area {
    let (left, top) = view.picture(0.0, 0.0);
    let (right, bottom) = view.picture(window.0, window.1);
    (left, top, right, bottom)
}

/// Whether a line may be seen.
pub fn sees(area: Area, line: &Line) -> bool {
    meet(area, line.curve.bounds())
}

/// A text at its place on the screen: the middle of its left edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    /// Left.
    pub x: f64,
    /// Middle.
    pub y: f64,
    /// Width with room at both ends.
    pub width: f64,
    /// What is written.
    pub text: String,
    /// Verdict of the card; none for a namespace.
    pub health: Option<Health>,
}

/// Names that have room: namespaces, then cards by their requests.
pub fn names(scene: &Scene, view: Viewport, window: (f64, f64)) -> Vec<Name> {
    let screen: Area = (0.0, 0.0, window.0, window.1);
    let mut taken = Taken::default();
    let mut placed = Vec::new();
    for frame in &scene.boxes {
        let (left, top) = on_screen(view, frame.x, frame.y);
        let letters = letters_in(frame.width * view.zoom - 8.0);
        let text = format::shorten(&frame.namespace, letters.clamp(3, NAME_LIMIT));
        let name = named(text, left + 2.0, top + 9.0, None);
        if meet(screen, area(&name)) && taken.take(area(&name)) {
            placed.push(name);
        }
    }
    let mut cards: Vec<&Card> = scene.cards.iter().collect();
    cards.sort_by_key(|card| std::cmp::Reverse((card.found, card.errors > 0, card.requests)));
    for card in cards {
        let (x, y) = on_screen(view, card.x, card.y);
        let mut text = format::shorten(&card.title, NAME_LIMIT);
        // Told apart without colour.
        match card.health() {
            Health::Warn => text.push_str(" ▲"),
            Health::Fail => text.push_str(" ⬣"),
            Health::Ok | Health::Unknown => {}
        }
        let mut name = named(text, x, y, Some(card.health()));
        name.x -= name.width / 2.0;
        if meet(screen, area(&name)) && taken.take(area(&name)) {
            placed.push(name);
        }
    }
    placed
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "screens are small and positive"
)]
fn letters_in(width: f64) -> usize {
    (width / LETTER).max(0.0) as usize
}

fn named(text: String, x: f64, y: f64, health: Option<Health>) -> Name {
    let letters = u32::try_from(text.chars().count()).unwrap_or_default();
    Name {
        x,
        y,
        width: f64::from(letters) * LETTER + 6.0,
        text,
        health,
    }
}

fn area(name: &Name) -> Area {
    let half = NAME_HEIGHT / 2.0;
    (name.x, name.y - half, name.x + name.width, name.y + half)
}

fn on_screen(view: Viewport, x: f64, y: f64) -> (f64, f64) {
    (x * view.zoom + view.x, y * view.zoom + view.y)
}

/// Places on the screen that hold a name, by rows of a name's height, so that few have to be compared.
#[derive(Default)]
struct Taken(std::collections::HashMap<i64, Vec<Area>>);

impl Taken {
    /// Takes a place, unless another name stands there.
    fn take(&mut self, area: Area) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "rows of a screen")]
        let row = |y: f64| (y / NAME_HEIGHT).floor() as i64;
        let rows = row(area.1)..=row(area.3);
        let free = rows.clone().all(|row| {
            self.0
                .get(&row)
                .is_none_or(|areas| areas.iter().all(|other| !meet(area, *other)))
        });
        if free {
            for row in rows {
                self.0.entry(row).or_default().push(area);
            }
        }
        free
    }
}

/// All lines, one path for each colour: straight, without arrows.
pub fn draw_lines(context: &CanvasRenderingContext2d, picture: &Picture<'_>, seen: &[&Line]) {
    let mut colours: Vec<(&str, bool, Vec<&Line>)> = Vec::new();
    for line in seen {
        let key = (picture.palette.of_line(line), (picture.related)(line));
        match colours
            .iter_mut()
            .find(|(colour, related, _)| (*colour, *related) == key)
        {
            Some((_, _, lines)) => lines.push(line),
            None => colours.push((key.0, key.1, vec![line])),
        }
    }
    context.set_line_width(STROKE / picture.viewport.zoom);
    context.set_line_cap("butt");
    for (colour, related, lines) in colours {
        context.set_global_alpha(if related { ALPHA } else { ALPHA / 4.0 });
        context.set_stroke_style_str(colour);
        context.begin_path();
        for line in lines {
            let points = line.curve.points();
            let Some(first) = points.first() else { continue };
            context.move_to(first.0, first.1);
            for point in points.iter().skip(COARSE).step_by(COARSE).chain(points.last()) {
                context.line_to(point.0, point.1);
            }
        }
        context.stroke();
    }
    context.set_global_alpha(1.0);
}

/// Cards as plain plates; in the picture's own measure.
pub fn draw_cards(context: &CanvasRenderingContext2d, picture: &Picture<'_>, seen: Area) {
    let near = |card: &&Card| {
        let (width, height) = (card.width / 2.0, card.height / 2.0);
        meet(
            seen,
            (card.x - width, card.y - height, card.x + width, card.y + height),
        )
    };
    let plate = |card: &Card| (card.x - card.width / 2.0, card.y - card.height / 2.0);
    for health in [Health::Unknown, Health::Ok, Health::Warn, Health::Fail] {
        let cards: Vec<&Card> = picture
            .scene
            .cards
            .iter()
            .filter(near)
            .filter(|card| card.health() == health)
            .collect();
        context.set_fill_style_str(&picture.palette.card);
        for card in &cards {
            let (x, y) = plate(card);
            context.fill_rect(x, y, card.width, card.height);
        }
        context.set_fill_style_str(picture.palette.of(health));
        for card in &cards {
            let (x, y) = plate(card);
            context.fill_rect(x, y, 14.0, card.height);
        }
    }
}

/// Names; in screen pixels.
pub fn draw_names(context: &CanvasRenderingContext2d, picture: &Picture<'_>, window: (f64, f64)) {
    context.set_font(FONT);
    context.set_text_align("left");
    context.set_text_baseline("middle");
    for name in names(picture.scene, picture.viewport, window) {
        let ground = if name.health.is_some() {
            &picture.palette.label
        } else {
            &picture.palette.frame
        };
        context.set_fill_style_str(ground);
        context.fill_rect(name.x, name.y - NAME_HEIGHT / 2.0, name.width, NAME_HEIGHT);
        let colour = match name.health {
            None => &picture.palette.frame_text,
            Some(_) => &picture.palette.text,
        };
        context.set_fill_style_str(colour);
        write(context, &name.text, name.x + 3.0, name.y + 0.5);
    }
}

#[cfg(test)]
mod tests {
    use mesh_api::graph::NodeKind;

    use super::*;

    fn card(title: &str, x: f64, requests: u64, errors: u64) -> Card {
        Card {
            id: format!("default/{title}"),
            x,
            y: 100.0,
            width: 180.0,
            height: 50.0,
            title: title.to_owned(),
            version: String::new(),
            namespace: "default".into(),
            app: title.to_owned(),
            kind: NodeKind::Service,
            idle: false,
            found: false,
            requests,
            errors,
        }
    }

    #[track_caller]
    fn check(cards: Vec<Card>, zoom: f64, expected: &[&str]) {
        let scene = Scene {
            cards,
            ..Scene::default()
        };
        let view = Viewport { x: 0.0, y: 0.0, zoom };
        let written: Vec<String> = names(&scene, view, (800.0, 600.0))
            .into_iter()
            .map(|name| name.text)
            .collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn the_busiest_has_its_name_where_there_is_room_for_one() {
        check(vec![card("a", 400.0, 5, 0), card("b", 410.0, 9, 0)], 0.2, &["b"]);
        check(
            vec![card("a", 400.0, 5, 0), card("b", 800.0, 9, 0)],
            0.2,
            &["b", "a"],
        );
    }

    #[test]
    fn errors_go_before_traffic_and_have_a_shape() {
        check(
            vec![card("a", 400.0, 100, 50), card("b", 410.0, 900, 0)],
            0.2,
            &["a ⬣"],
        );
    }

    #[test]
    fn what_is_not_in_the_window_has_no_name() {
        check(vec![card("a", 9000.0, 5, 0)], 0.2, &[]);
    }
}

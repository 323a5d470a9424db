//! Pan and zoom. Pure.

/// Which part of the picture the window shows: screen = picture × zoom + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Offset in screen pixels.
    pub x: f64,
    /// Offset in screen pixels.
    pub y: f64,
    /// Scale.
    pub zoom: f64,
}

impl Default for Viewport {
    fn default() -> Self {
        Self {
            x: 0.0,
            y: 0.0,
            zoom: 1.0,
        }
    }
}

/// Below this zoom, labels are unreadable and left out.
pub const LABELS_FROM: f64 = 0.5;
/// Below this zoom, dots are noise.
pub const DOTS_FROM: f64 = 0.3;
/// Below this zoom, names on cards are unreadable and stand beside them.
pub const CARDS_FROM: f64 = 0.5;
const ZOOM_LEAST: f64 = 0.02;
const ZOOM_MOST: f64 = 3.0;
/// Free room round a fitted picture.
const FIT_MARGIN: f64 = 24.0;
/// A small picture is not blown up further than this.
const FIT_ZOOM_MOST: f64 = 1.25;

impl Viewport {
    /// The whole picture in the middle of the window.
    pub fn fit(picture: (f64, f64), window: (f64, f64)) -> Self {
        if picture.0 <= 0.0 || picture.1 <= 0.0 || window.0 <= 0.0 || window.1 <= 0.0 {
            return Self::default();
        }
        let room = |side: f64| (side - 2.0 * FIT_MARGIN).max(1.0);
        let zoom = (room(window.0) / picture.0)
            .min(room(window.1) / picture.1)
            .clamp(ZOOM_LEAST, FIT_ZOOM_MOST);
        Self {
            x: (window.0 - picture.0 * zoom) / 2.0,
            y: (window.1 - picture.1 * zoom) / 2.0,
            zoom,
        }
    }

    /// A part of the picture (left, top, width, height) in the middle of the window.
    pub fn fit_part(part: (f64, f64, f64, f64), window: (f64, f64)) -> Self {
        let view = Self::fit((part.2, part.3), window);
        view.moved(-part.0 * view.zoom, -part.1 * view.zoom)
    }

    /// Scaled by a factor; what is under `(x, y)` on the screen stays there.
    #[must_use]
    pub fn scaled(self, factor: f64, x: f64, y: f64) -> Self {
        let zoom = (self.zoom * factor).clamp(ZOOM_LEAST, ZOOM_MOST);
        let scale = zoom / self.zoom;
        Self {
            x: x - (x - self.x) * scale,
            y: y - (y - self.y) * scale,
            zoom,
        }
    }

    /// Moved on the screen.
    #[must_use]
    pub fn moved(self, dx: f64, dy: f64) -> Self {
        Self {
            x: self.x + dx,
            y: self.y + dy,
            ..self
        }
    }

    /// Screen to picture.
    pub fn picture(self, x: f64, y: f64) -> (f64, f64) {
        ((x - self.x) / self.zoom, (y - self.y) / self.zoom)
    }

    /// Brings a rectangle (middle, size) into the window, if it is not.
    #[must_use]
    pub fn revealing(self, middle: (f64, f64), size: (f64, f64), window: (f64, f64)) -> Self {
        let shift = |offset: f64, middle: f64, size: f64, window: f64| {
            let (low, high) = (
                (middle - size / 2.0) * self.zoom + offset,
                (middle + size / 2.0) * self.zoom + offset,
            );
            if low < FIT_MARGIN {
                FIT_MARGIN - low
            } else if high > window - FIT_MARGIN {
                window - FIT_MARGIN - high
            } else {
                0.0
            }
        };
        self.moved(
            shift(self.x, middle.0, size.0, window.0),
            shift(self.y, middle.1, size.1, window.1),
        )
    }

    /// Value of an SVG `transform`.
    pub fn transform(self) -> String {
        format!("translate({:.2} {:.2}) scale({:.4})", self.x, self.y, self.zoom)
    }

    /// Short form for the URL.
    pub fn to_text(self) -> String {
        format!("{:.0}_{:.0}_{:.3}", self.x, self.y, self.zoom)
    }

    /// From the URL.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('_').map(str::parse::<f64>);
        let (x, y, zoom) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let sound = x.is_finite() && y.is_finite() && (ZOOM_LEAST..=ZOOM_MOST).contains(&zoom);
        sound.then_some(Self { x, y, zoom })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_picture_fits_and_is_centred() {
        let view = Viewport::fit((1000.0, 400.0), (600.0, 800.0));
        assert!((view.zoom - 0.552).abs() < 1e-9);
        let (left, right) = (view.x, 600.0 - (view.x + 1000.0 * view.zoom));
        assert!((left - right).abs() < 1e-9 && left >= FIT_MARGIN);
        assert!((Viewport::fit((10.0, 10.0), (600.0, 800.0)).zoom - FIT_ZOOM_MOST).abs() < 1e-9);
    }

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let view = Viewport {
            x: 10.0,
            y: 20.0,
            zoom: 1.0,
        };
        let before = view.picture(300.0, 200.0);
        let after = view.scaled(1.7, 300.0, 200.0).picture(300.0, 200.0);
        assert!((before.0 - after.0).abs() < 1e-9 && (before.1 - after.1).abs() < 1e-9);
        assert!((view.scaled(1e6, 0.0, 0.0).zoom - ZOOM_MOST).abs() < 1e-9);
    }

    #[test]
    fn the_url_keeps_it() {
        let view = Viewport {
            x: 12.0,
            y: -7.0,
            zoom: 0.75,
        };
        assert_eq!(Viewport::from_text(&view.to_text()).unwrap(), view);
        for text in ["", "1_2", "1_2_x", "1_2_0", "NaN_1_1"] {
            assert_eq!(Viewport::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_node_off_screen_is_brought_in() {
        let view = Viewport::default().revealing((900.0, 100.0), (100.0, 50.0), (600.0, 400.0));
        assert!(view.x < 0.0 && (view.y - 0.0).abs() < 1e-9);
    }
}

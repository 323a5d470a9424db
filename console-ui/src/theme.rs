//! Light, dark, or as the system.

use leptos::prelude::*;

use crate::text::t;

const KEY: &str = "sightline-theme";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// As the system.
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// The theme, provided by the shell.
#[derive(Clone, Copy)]
pub struct Theme {
    /// What was chosen.
    pub choice: RwSignal<Choice>,
    /// Moves when colours may have changed.
    pub changes: RwSignal<u32>,
}

/// The theme.
pub fn theme() -> Theme {
    expect_context::<Theme>()
}

impl Theme {
    /// Reads the last choice; follows this one.
    pub fn new() -> Self {
        let stored = storage().and_then(|storage| storage.get_item(KEY).ok().flatten());
        let choice = match stored.as_deref() {
            Some("light") => Choice::Light,
            Some("dark") => Choice::Dark,
            _ => Choice::System,
        };
        let theme = Self {
            choice: RwSignal::new(choice),
            changes: RwSignal::new(0),
        };
        Effect::new(move |_| {
            let name = match theme.choice.get() {
                Choice::System => "",
                Choice::Light => "light",
                Choice::Dark => "dark",
            };
            let root = document().document_element();
            let set = root.map(|root| {
                root.set_attribute("data-theme", name).is_ok()
                    && storage().is_some_and(|storage| storage.set_item(KEY, name).is_ok())
            });
            if set != Some(true) {
                leptos::logging::warn!("the theme is not remembered");
            }
            theme.changes.update(|times| *times += 1);
        });
        follow_system(theme);
        theme
    }

    /// System, light, dark, and round again.
    pub fn next(self) {
        self.choice.update(|choice| {
            *choice = match choice {
                Choice::System => Choice::Light,
                Choice::Light => Choice::Dark,
                Choice::Dark => Choice::System,
            };
        });
    }
}

impl Choice {
    /// Icon and words.
    pub fn face(self) -> (&'static str, &'static str) {
        match self {
            Self::System => ("monitor", t().theme_system),
            Self::Light => ("sun", t().theme_light),
            Self::Dark => ("moon", t().theme_dark),
        }
    }
}

/// The browser's store of this origin.
pub fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

/// The system's own switch, for the page's whole life.
fn follow_system(theme: Theme) {
    use wasm_bindgen::JsCast;
    use wasm_bindgen::closure::Closure;
    let query = web_sys::window()
        .and_then(|window| window.match_media("(prefers-color-scheme: dark)").ok().flatten());
    let changed = Closure::<dyn FnMut()>::new(move || theme.changes.update(|times| *times += 1));
    if query.is_some_and(|query| {
        query
            .add_event_listener_with_callback("change", changed.as_ref().unchecked_ref())
            .is_ok()
    }) {
        changed.forget();
    }
}

//! Every word on the screen, one catalogue per language.
//!
//! Words that several pages use are in [`Catalogue`]; a page with many words of its own has a module here with a
//! type `Words` and a function `words()`, and one file per language: `text/AREA.rs`, `text/en/AREA.rs`,
//! `text/zh/AREA.rs`. The compiler names what a language lacks.

pub mod explain;
pub mod graph;
pub mod grid;
pub mod help;
pub mod history;
pub mod inventory;
pub mod meshes;
pub mod overview;
pub mod requests;
pub mod traces;

mod en;
mod zh;

use std::cell::Cell;

use leptos::prelude::*;

/// A language that the console speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

thread_local! {
    static SPOKEN: Cell<Language> = const { Cell::new(Language::English) };
}

const KEY: &str = "sightline-language";

impl Language {
    /// From the URL (`?lang=zh`), else the last choice, else the browser's own.
    pub fn detect() -> Self {
        let window = web_sys::window();
        let query = window
            .as_ref()
            .and_then(|window| window.location().search().ok())
            .unwrap_or_default();
        let asked = query
            .trim_start_matches('?')
            .split('&')
            .find_map(|pair| pair.strip_prefix("lang="))
            .map(str::to_owned);
        let stored = || crate::theme::storage()?.get_item(KEY).ok()?;
        let own = || window.as_ref()?.navigator().language();
        Self::named(&asked.or_else(stored).or_else(own).unwrap_or_default())
    }

    /// By a BCP 47 tag; what is not spoken is English.
    pub fn named(tag: &str) -> Self {
        if tag.to_ascii_lowercase().starts_with("zh") {
            Self::Chinese
        } else {
            Self::English
        }
    }

    /// BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// In itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The next one of all.
    pub fn next(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// Speaks it from now on; what stands on the screen must be drawn again.
    pub fn speak(self) {
        SPOKEN.with(|spoken| spoken.set(self));
        let set = document()
            .document_element()
            .is_some_and(|root| root.set_attribute("lang", self.tag()).is_ok());
        if !set {
            leptos::logging::warn!("the page's language is not set");
        }
    }

    /// For the next visit.
    pub fn remember(self) {
        let stored = crate::theme::storage().is_some_and(|storage| storage.set_item(KEY, self.tag()).is_ok());
        if !stored {
            leptos::logging::warn!("the language is not remembered");
        }
    }
}

/// The words of the language in use.
pub fn pick<T>(english: &'static T, chinese: &'static T) -> &'static T {
    match SPOKEN.with(Cell::get) {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

/// The shared words.
pub fn t() -> &'static Catalogue {
    pick(&en::EN, &zh::ZH)
}

/// All words. Functions take what stands inside a sentence, so that word order is the language's own.
pub struct Catalogue {
    pub skip: &'static str,
    pub pages: &'static str,
    pub graph: &'static str,
    pub config: &'static str,
    pub mesh: &'static str,
    pub theme_light: &'static str,
    pub theme_dark: &'static str,
    pub theme_system: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub token: &'static str,
    pub token_hint: &'static str,
    pub cancel: &'static str,
    pub close: &'static str,
    pub retry: &'static str,
    pub not_found: &'static str,
    pub not_found_hint: &'static str,
    pub part_missing: &'static str,
    pub part_missing_hint: &'static str,

    pub healthy: &'static str,
    pub degraded: &'static str,
    pub failing: &'static str,
    pub idle: &'static str,

    pub view_workload: &'static str,
    pub view_versioned: &'static str,
    pub view_app: &'static str,
    pub view_service: &'static str,
    pub graph_type: &'static str,
    pub namespaces: &'static str,
    pub all_namespaces: &'static str,
    pub last: fn(&str) -> String,
    pub labels: &'static str,
    pub label_rate: &'static str,
    pub label_errors: &'static str,
    pub label_p95: &'static str,
    pub label_none: &'static str,
    pub picture: &'static str,
    pub table: &'static str,
    pub live: &'static str,
    pub pause: &'static str,
    pub as_of: fn(&str) -> String,
    pub as_of_title: fn(&str) -> String,
    pub waiting: &'static str,
    pub lost: &'static str,
    pub lost_detail: &'static str,
    pub recording_lost: &'static str,
    pub zoom_in: &'static str,
    pub zoom_out: &'static str,
    pub fit: &'static str,
    pub legend: &'static str,
    pub legend_dots: &'static str,
    pub legend_mtls: &'static str,
    pub legend_errors: &'static str,
    pub canvas_help: &'static str,
    pub no_traffic: &'static str,
    pub no_traffic_hint: &'static str,
    pub graph_failed: &'static str,
    pub outside: &'static str,
    pub outside_hint: &'static str,
    pub local_answers: &'static str,
    pub local_answers_hint: &'static str,
    pub kind_workload: &'static str,
    pub kind_gateway: &'static str,
    pub kind_app: &'static str,
    pub kind_service: &'static str,

    pub source: &'static str,
    pub target: &'static str,
    pub service: &'static str,
    pub protocol: &'static str,
    pub requests: &'static str,
    pub rate: &'static str,
    pub rps: &'static str,
    pub errors: &'static str,
    pub client_errors: &'static str,
    pub attempts: &'static str,
    pub p50: &'static str,
    pub p95: &'static str,
    pub p99: &'static str,
    pub mtls: &'static str,
    pub health: &'static str,
    pub inbound: &'static str,
    pub outbound: &'static str,
    pub codes: &'static str,
    pub flags: &'static str,
    pub no_flags: &'static str,
    pub routes: &'static str,
    pub default_route: &'static str,
    pub over_time: &'static str,
    pub gap: &'static str,
    pub no_answer: &'static str,
    pub edge_label: fn(&str, &str) -> String,
    pub nothing: &'static str,
    pub of_window: fn(&str) -> String,
    pub bytes: &'static str,

    pub objects: &'static str,
    pub kind: &'static str,
    pub name: &'static str,
    pub namespace: &'static str,
    pub what: &'static str,
    pub problems: &'static str,
    pub live_on: &'static str,
    pub age: &'static str,
    pub filter: &'static str,
    pub all_kinds: &'static str,
    pub only_problems: &'static str,
    pub new_object: &'static str,
    pub no_objects: &'static str,
    pub no_objects_hint: &'static str,
    pub no_matches: &'static str,
    pub no_matches_hint: &'static str,
    pub no_problems: &'static str,
    pub proxies_of: fn(u32, u32) -> String,
    pub concerns_none: &'static str,
    pub refused_by: fn(&str) -> String,
    pub line: fn(u32) -> String,
    pub checking: &'static str,
    pub checked: &'static str,
    pub review: &'static str,
    pub back_to_edit: &'static str,
    pub save: &'static str,
    pub saving: &'static str,
    pub saved: &'static str,
    pub unchanged: &'static str,
    pub delete: &'static str,
    pub delete_question: fn(&str) -> String,
    pub may_not_edit: &'static str,
    pub anonymous: &'static str,
    pub conflict: &'static str,
    pub conflict_hint: &'static str,
    pub take_theirs: &'static str,
    pub rebase: &'static str,
    pub yours_against_theirs: &'static str,
    pub invalid: &'static str,
    pub effect: &'static str,
    pub live_everywhere: &'static str,
    pub unsaved: &'static str,
    pub editor: &'static str,

    pub proxies: &'static str,
    pub proxy: &'static str,
    pub state: &'static str,
    pub version: &'static str,
    pub revision: &'static str,
    pub last_seen: &'static str,
    pub last_flush: &'static str,
    pub certificate: &'static str,
    pub synced: &'static str,
    pub stale: &'static str,
    pub refused: &'static str,
    pub disconnected: &'static str,
    pub control_plane: &'static str,
    pub history: &'static str,
    pub in_sync: &'static str,
    pub gaps: &'static str,
    pub expires_in: fn(&str) -> String,
    pub ago: fn(&str) -> String,
    pub of_limit: fn(&str) -> String,
    pub no_proxies: &'static str,
    pub no_proxies_hint: &'static str,

    pub save_anyway: &'static str,
    pub save_despite: fn(&str) -> String,

    pub overview: &'static str,
    pub requests_page: &'static str,
    pub traces: &'static str,
    pub services: &'static str,
    pub workloads: &'static str,
    pub apps: &'static str,
    pub changes: &'static str,
    pub explain: &'static str,
    pub gallery: &'static str,
    pub search_or_jump: &'static str,
    pub help: &'static str,
    pub language: &'static str,
    pub copied: &'static str,
    pub copy: &'static str,
    pub copy_promql: &'static str,
    pub copy_link: &'static str,
    pub show_all: &'static str,
    pub loading: &'static str,
    pub details: &'static str,
    pub sign_in_to_see: &'static str,
    pub sign_in_to_see_hint: &'static str,
    pub forbidden: &'static str,

    /// Second, minute, hour, day, short.
    pub units: [&'static str; 4],
    pub time: &'static str,
    pub earlier: &'static str,
    pub later: &'static str,
    pub widen: &'static str,
    pub custom: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub apply: &'static str,
    pub wrong_range: &'static str,
    pub minutes: fn(u32) -> String,
    pub hours: fn(u32) -> String,
    pub days: fn(u32) -> String,
    pub seconds: fn(u32) -> String,
    pub paused: &'static str,
    pub drag_hint: &'static str,
    pub per_second: &'static str,
    pub no_data: &'static str,
    pub change_of: fn(&str, &str) -> String,
    pub heat_map: &'static str,
}

//! The console's pages.
//!
//! `app` is the shell; `graph`, `config` and `mesh` are its pages. What can be decided without a browser is in pure
//! modules with their own tests: `format`, `health`, `graph/{scene,curve,dots,viewport,choice}`.

#![allow(
    unreachable_pub,
    reason = "a program: `pub` says what a module offers to the others"
)]

mod address;
mod api;
mod app;
mod chart;
mod clock;
mod config;
mod explain;
mod format;
mod gallery;
mod graph;
mod grid;
mod health;
mod help;
mod history;
mod inventory;
mod load;
mod mesh;
mod overview;
mod palette;
mod parts;
mod requests;
mod text;
mod theme;
mod time;
mod traces;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(app::App);
    // The picture that stood there until now.
    if let Some(boot) = leptos::prelude::document().get_element_by_id("boot") {
        boot.remove();
    }
}

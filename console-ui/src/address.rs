//! The URL holds all state: what is on the screen can be sent to a colleague.

use std::rc::Rc;

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate, use_query_map};
use leptos_router::params::ParamsMap;

type Go = Rc<dyn Fn(&str, NavigateOptions)>;

/// The page's address.
#[derive(Clone, Copy)]
pub struct Address {
    query: Memo<ParamsMap>,
    path: Memo<String>,
    go: StoredValue<Go, LocalStorage>,
}

/// Whether Back returns to the state before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new entry of the history.
    New,
    /// Over the present one.
    Replace,
}

impl Address {
    /// To be called below the router.
    pub fn new() -> Self {
        let navigate = use_navigate();
        Self {
            query: use_query_map(),
            path: use_location().pathname,
            go: StoredValue::new_local(Rc::new(move |to: &str, options| navigate(to, options))),
        }
    }

    /// A parameter; tracked.
    pub fn read(self, name: &str) -> Option<String> {
        self.query
            .with(|query| query.get(name))
            .filter(|value| !value.is_empty())
    }

    /// Changes parameters; `None` removes one.
    pub fn write(self, changes: &[(&str, Option<String>)], step: Step) {
        let mut query = self.query.get_untracked();
        for (name, value) in changes {
            query.remove(name);
            if let Some(value) = value {
                query.insert((*name).to_owned(), value.clone());
            }
        }
        let to = format!("{}{}", self.path.get_untracked(), query.to_query_string());
        self.go(&to, step);
    }

    /// A link to this page with changed parameters; tracked. `None` removes one.
    pub fn with(self, changes: &[(&str, Option<String>)]) -> String {
        let mut query = self.query.get();
        for (name, value) in changes {
            query.remove(name);
            if let Some(value) = value {
                query.insert((*name).to_owned(), value.clone());
            }
        }
        format!("{}{}", self.path.get(), query.to_query_string())
    }

    /// The path; tracked.
    pub fn path(self) -> String {
        self.path.get()
    }

    /// Another page.
    pub fn go(self, to: &str, step: Step) {
        let options = NavigateOptions {
            replace: step == Step::Replace,
            scroll: false,
            resolve: false,
            ..NavigateOptions::default()
        };
        self.go.with_value(|go| go(to, options));
    }
}

/// The address, provided by the shell.
pub fn address() -> Address {
    expect_context::<Address>()
}

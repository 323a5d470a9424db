//! The JavaScript editor: fetched when first needed, closed with its view.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::config::Problem;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = sightlineIslands, js_name = openEditor, catch)]
    async fn open_editor(host: &web_sys::Element, text: &str, options: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_namespace = sightlineIslands, js_name = openDiff, catch)]
    async fn open_diff(host: &web_sys::Element, before: &str, after: &str) -> Result<JsValue, JsValue>;

    type Handle;
    #[wasm_bindgen(method)]
    fn replace(this: &Handle, text: &str);
    #[wasm_bindgen(method)]
    fn problems(this: &Handle, list: &JsValue);
    #[wasm_bindgen(method)]
    fn reveal(this: &Handle, line: u32);
    #[wasm_bindgen(method)]
    fn close(this: &Handle);
}

/// An open editor with what it calls back.
struct Open {
    handle: Handle,
    _on_change: Closure<dyn FnMut(String)>,
    _on_save: Closure<dyn FnMut()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// The editor of a page, once it is open.
#[derive(Clone, Copy)]
pub struct Editor {
    open: StoredValue<Option<Open>, LocalStorage>,
    /// Whether it is open.
    pub ready: RwSignal<bool>,
}

impl Editor {
    /// Opens in `host` as soon as that stands.
    pub fn new(
        host: NodeRef<html::Div>,
        text: RwSignal<String>,
        label: &'static str,
        on_save: Callback<()>,
    ) -> Self {
        let editor = Self {
            open: StoredValue::new_local(None),
            ready: RwSignal::new(false),
        };
        Effect::new(move |_| {
            let Some(host) = host.get() else { return };
            let on_change = Closure::new(move |changed: String| text.set(changed));
            let save = Closure::new(move || on_save.run(()));
            let options = js_sys::Object::new();
            let set =
                |name: &str, value: &JsValue| js_sys::Reflect::set(&options, &name.into(), value).is_ok();
            if !(set("label", &label.into())
                && set("readOnly", &false.into())
                && set("onChange", on_change.as_ref())
                && set("onSave", save.as_ref()))
            {
                return;
            }
            spawn_local(async move {
                let begun = text.get_untracked();
                match open_editor(&host, &begun, &options).await {
                    Ok(handle) => {
                        let open = Open {
                            handle: handle.unchecked_into(),
                            _on_change: on_change,
                            _on_save: save,
                        };
                        // The page may be gone by now; then this drops, and closes.
                        if editor.open.try_set_value(Some(open)).is_none() {
                            editor.ready.try_set(true);
                        }
                    }
                    Err(error) => leptos::logging::error!("the editor does not open: {error:?}"),
                }
            });
        });
        editor
    }

    /// Other text; what was typed is gone.
    pub fn replace(self, text: &str) {
        self.with(|handle| handle.replace(text));
    }

    /// Underlines problems at their lines.
    pub fn problems(self, problems: &[Problem]) {
        let list = serde_json::to_string(problems)
            .ok()
            .and_then(|text| js_sys::JSON::parse(&text).ok());
        if let Some(list) = list {
            self.with(|handle| handle.problems(&list));
        }
    }

    /// Brings a line into view.
    pub fn reveal(self, line: u32) {
        self.with(|handle| handle.reveal(line));
    }

    fn with(self, act: impl FnOnce(&Handle)) {
        self.open.with_value(|open| {
            if let Some(open) = open {
                act(&open.handle);
            }
        });
    }
}

/// Two texts compared.
#[component]
pub fn Diff(before: String, after: String) -> impl IntoView {
    let host = NodeRef::<html::Div>::new();
    let open: StoredValue<Option<DiffView>, LocalStorage> = StoredValue::new_local(None);
    Effect::new(move |_| {
        let Some(host) = host.get() else { return };
        let (before, after) = (before.clone(), after.clone());
        spawn_local(async move {
            match open_diff(&host, &before, &after).await {
                Ok(handle) => drop(open.try_set_value(Some(DiffView(handle.unchecked_into())))),
                Err(error) => leptos::logging::error!("the difference is not shown: {error:?}"),
            }
        });
    });
    view! { <div class="editor-host" data-diff="" node_ref=host></div> }
}

struct DiffView(Handle);

impl Drop for DiffView {
    fn drop(&mut self) {
        self.0.close();
    }
}

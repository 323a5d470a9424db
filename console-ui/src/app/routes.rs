//! The pages that are not in the first load: each part of the program comes when one of its pages is visited.
//!
//! `cargo xtask ui` cuts the program at the functions of this module. The shell and the overview are what every visit
//! needs; the rest is fetched on the way to a page, or ahead of time when the browser has nothing else to do.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use leptos_router::LazyRoute;

use crate::config::{EditorPage, ListPage, NewPage};
use crate::explain::ExplainPage;
use crate::gallery::GalleryPage;
use crate::graph::GraphPage;
use crate::history::HistoryPage;
use crate::inventory::{
    AppPage, AppsPage, NamespacePage, NamespacesPage, ServicePage, ServicesPage, WorkloadPage, WorkloadsPage,
};
use crate::mesh::{MeshPage, ProxyPage};
use crate::parts::empty;
use crate::requests::RequestsPage;
use crate::text::t;
use crate::traces::{TracePage, TracesPage};

/// The graph.
#[wasm_split(graph, wasm_split_path = leptos::wasm_split, preload(load_graph), fallible)]
fn graph(_page: Graph) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <GraphPage/> }.into_any())
}

/// Requests, what became of them, and traces.
#[wasm_split(records, wasm_split_path = leptos::wasm_split, preload(load_records), fallible)]
fn records(page: Records) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Records::Explain => view! { <ExplainPage/> }.into_any(),
        Records::Requests => view! { <RequestsPage/> }.into_any(),
        Records::Traces => view! { <TracesPage/> }.into_any(),
        Records::Trace => view! { <TracePage/> }.into_any(),
    })
}

/// Services, workloads, applications and namespaces.
#[wasm_split(inventory, wasm_split_path = leptos::wasm_split, preload(load_inventory), fallible)]
fn inventory(page: Inventory) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Inventory::Services => view! { <ServicesPage/> }.into_any(),
        Inventory::Service => view! { <ServicePage/> }.into_any(),
        Inventory::Workloads => view! { <WorkloadsPage/> }.into_any(),
        Inventory::Workload => view! { <WorkloadPage/> }.into_any(),
        Inventory::Apps => view! { <AppsPage/> }.into_any(),
        Inventory::App => view! { <AppPage/> }.into_any(),
        Inventory::Namespaces => view! { <NamespacesPage/> }.into_any(),
        Inventory::Namespace => view! { <NamespacePage/> }.into_any(),
    })
}

/// Objects, their history, and the mesh's own parts.
#[wasm_split(control, wasm_split_path = leptos::wasm_split, preload(load_control), fallible)]
fn control(page: Control) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Control::List => view! { <ListPage/> }.into_any(),
        Control::New => view! { <NewPage/> }.into_any(),
        Control::Editor => view! { <EditorPage/> }.into_any(),
        Control::History => view! { <HistoryPage/> }.into_any(),
        Control::Mesh => view! { <MeshPage/> }.into_any(),
        Control::Proxy => view! { <ProxyPage/> }.into_any(),
        Control::Gallery => view! { <GalleryPage/> }.into_any(),
    })
}

/// Pages of [`graph`].
#[derive(Debug, Clone, Copy)]
enum Graph {
    Graph,
}

/// Pages of [`records`].
#[derive(Debug, Clone, Copy)]
enum Records {
    Explain,
    Requests,
    Traces,
    Trace,
}

/// Pages of [`inventory`].
#[derive(Debug, Clone, Copy)]
enum Inventory {
    Services,
    Service,
    Workloads,
    Workload,
    Apps,
    App,
    Namespaces,
    Namespace,
}

/// Pages of [`control`].
#[derive(Debug, Clone, Copy)]
enum Control {
    List,
    New,
    Editor,
    History,
    Mesh,
    Proxy,
    Gallery,
}

/// Routes whose page is in a part of the program.
macro_rules! routes {
    ($($route:ident: $part:ident, $load:ident, $page:expr;)*) => {$(
        /// The route of a page.
        pub struct $route;

        impl LazyRoute for $route {
            fn data() -> Self {
                Self
            }

            async fn view(_this: Self) -> AnyView {
                $part($page).await.unwrap_or_else(|_| absent().into_any())
            }

            async fn preload() {
                quietly($load().await);
            }
        }
    )*};
}

routes! {
    GraphRoute: graph, load_graph, Graph::Graph;
    ExplainRoute: records, load_records, Records::Explain;
    RequestsRoute: records, load_records, Records::Requests;
    TracesRoute: records, load_records, Records::Traces;
    TraceRoute: records, load_records, Records::Trace;
    ServicesRoute: inventory, load_inventory, Inventory::Services;
    ServiceRoute: inventory, load_inventory, Inventory::Service;
    WorkloadsRoute: inventory, load_inventory, Inventory::Workloads;
    WorkloadRoute: inventory, load_inventory, Inventory::Workload;
    AppsRoute: inventory, load_inventory, Inventory::Apps;
    AppRoute: inventory, load_inventory, Inventory::App;
    NamespacesRoute: inventory, load_inventory, Inventory::Namespaces;
    NamespaceRoute: inventory, load_inventory, Inventory::Namespace;
    ListRoute: control, load_control, Control::List;
    NewRoute: control, load_control, Control::New;
    EditorRoute: control, load_control, Control::Editor;
    HistoryRoute: control, load_control, Control::History;
    MeshRoute: control, load_control, Control::Mesh;
    ProxyRoute: control, load_control, Control::Proxy;
    GalleryRoute: control, load_control, Control::Gallery;
}

/// The page's part of the program did not come.
fn absent() -> impl IntoView {
    view! {
        <div role="alert">
            {empty("unplug", t().part_missing.to_owned(), t().part_missing_hint.to_owned())}
        </div>
    }
}

/// Fetches the parts that are still missing, one after the other, once the browser has nothing else to do.
pub fn fetch_ahead() {
    request_idle_callback(|| {
        spawn_local(async {
            quietly(load_graph().await);
            quietly(load_records().await);
            quietly(load_inventory().await);
            quietly(load_control().await);
        });
    });
}

/// What fails ahead of time is tried again when its page is visited, and told there.
fn quietly(loaded: Result<(), SplitLoaderError>) {
    if let Err(failure) = loaded {
        leptos::logging::warn!("{failure}");
    }
}

//! One request: every recorded fact.

use leptos::prelude::*;
use mesh_api::requests::KeptRequest;
use mesh_api::traces::Links;

use super::curl::curl;
use super::rows::{code_class, code_text, id as id_of, reason_word, reporter_word, time_of};
use crate::explain::Question;
use crate::format;
use crate::load::{load, signed_in_known, skeleton_rows};
use crate::parts::{copy, icon, sized_icon};
use crate::text::requests::words;
use crate::text::t;
use crate::time::time;
use crate::traces::{Target, links_out};

/// The drawer of the request `trace/span`.
#[component]
pub fn Drawer(id: String, requests: Memo<Vec<KeptRequest>>, close: Callback<()>) -> impl IntoView {
    let listed =
        requests.with_untracked(|requests| requests.iter().find(|request| id_of(request) == id).cloned());
    let known = listed.is_some();
    // Without the list (a link from elsewhere) it is asked for.
    let asked = load::<KeptRequest>(move || {
        (!known && signed_in_known()).then(|| format!("/api/requests/{}", safe(&id)))
    });
    if let Some(request) = listed {
        asked.value.set(Some(request));
    }
    let links = load::<Links>(|| Some("/api/links".to_owned()));
    let escape = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Escape" && !event.default_prevented() {
            close.run(());
        }
    });
    on_cleanup(move || escape.remove());
    let content = move || asked.value.get().map(|request| facts(&request, links.value));
    view! {
        <aside class="panel drawer" aria-label=words().request data-drawer="">
            <header>
                <div class="title-row">
                    <h2>{move || asked.value.get().map(|request| title(&request))}</h2>
                    <button class="button quiet square" aria-label=t().close title=t().close on:click=move |_| close.run(())>{icon("x")}</button>
                </div>
                {move || asked.value.get().map(|request| head(&request))}
            </header>
            {asked.view(words().request, || skeleton_rows(8), move || view! { {content} })}
        </aside>
    }
}

/// Ids in a path: only what ids are made of.
fn safe(id: &str) -> String {
    id.chars()
        .filter(|c| c.is_ascii_hexdigit() || *c == '/')
        .collect()
}

fn title(request: &KeptRequest) -> String {
    if request.method.is_empty() {
        return request.service.clone();
    }
    format!("{} {}", request.method, request.path)
}

fn head(request: &KeptRequest) -> impl IntoView + use<> {
    let reason = match request.reason.as_str() {
        "error" => "chip fail",
        "slow" => "chip warn",
        _ => "chip",
    };
    view! {
        <div class="ends">
            <span class=format!("chip {}", code_class(request))>{code_text(request)}</span>
            <span class=reason title=words().reason>{reason_word(&request.reason).to_owned()}</span>
            <span class="kind">{format::millis(Some(request.duration_ms))}" · "{time_of(request)}</span>
        </div>
    }
}

fn facts(request: &KeptRequest, links: RwSignal<Option<Links>>) -> impl IntoView + use<> {
    view! {
        {actions(request, links)}
        {decision(request)}
        {ends(request)}
        {sizes(request)}
        {headers(request)}
    }
}

fn actions(request: &KeptRequest, links: RwSignal<Option<Links>>) -> impl IntoView + use<> {
    let trace = format!("/traces/{}?span={}", safe(&request.trace), safe(&request.span));
    let same = format!("/requests?trace={}", safe(&request.trace));
    let command = curl(request);
    let is_http = !request.method.is_empty();
    let target = Target::trace(&request.trace);
    let explain = Question::of(request)
        .map(|question| view! { <a class="button" data-explain="" href=question.page()>{icon("route")}{t().explain}</a> });
    let time = time();
    view! {
        <section class="acts">
            <a class="button primary" data-trace="" href=move || time.link(&trace)>{icon("waypoints")}{words().open_trace}</a>
            <a class="button" href=move || time.link(&same)>{words().same_trace}</a>
            {explain}
            {is_http.then(|| copy(words().copy_curl, Callback::new(move |()| command.clone())))}
            {move || links.get().map(|links| links_out(&links, &target))}
        </section>
    }
}

/// What decided.
fn decision(request: &KeptRequest) -> impl IntoView + use<> {
    let w = words();
    let rule = (!request.virtual_service.is_empty()).then(|| {
        let object = format!("/config/VirtualService/{}", request.virtual_service);
        view! {
            <dt>{w.virtual_service}</dt><dd><a href=object data-object="">{request.virtual_service.clone()}</a></dd>
            {fact(w.route, &request.route)}
            {fact(w.match_name, &request.match_name)}
            {revision(request)}
        }
    });
    let default = request.virtual_service.is_empty().then(|| {
        view! { <dt>{w.rule}</dt><dd>{t().default_route}</dd> }
    });
    let flags = (!matches!(request.flags.as_str(), "" | "-")).then(|| {
        view! { <dt>{w.flags}</dt><dd><span class="chip warn mono">{request.flags.clone()}</span></dd> }
    });
    view! {
        <section>
            <h3>{w.decided_by}</h3>
            <dl class="facts">
                {rule}
                {default}
                {fact(t().service, &request.service)}
                {mono(w.cluster, &request.upstream_cluster)}
                {mono(w.upstream, &request.upstream_host)}
                {flags}
                {fact(w.details, &request.details)}
                {fact(t().attempts, &request.attempts.to_string())}
            </dl>
        </section>
    }
}

/// The object as it was then.
fn revision(request: &KeptRequest) -> impl IntoView + use<> {
    let revision = request.revision.clone();
    let (namespace, name) = request
        .virtual_service
        .split_once('/')
        .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        .unwrap_or_default();
    (!revision.is_empty()).then(move || {
        let link = format!(
            "/history?kind=VirtualService&namespace={}&name={}",
            super::percent_encode(&namespace),
            super::percent_encode(&name)
        );
        view! { <dt>{t().revision}</dt><dd><a class="mono" href=link>{revision}</a></dd> }
    })
}

/// From where, to where, as whom.
fn ends(request: &KeptRequest) -> impl IntoView + use<> {
    let w = words();
    let time = time();
    let end = move |id: &str, version: &str| {
        let text = if version.is_empty() || version == "unknown" {
            id.to_owned()
        } else {
            format!("{id} · {version}")
        };
        if id.contains('/') {
            let path = format!("/workloads/{id}");
            view! { <a href=move || time.link(&path)>{text}</a> }.into_any()
        } else {
            view! { <span>{t().outside}</span> }.into_any()
        }
    };
    let lock = if request.mutual_tls {
        view! { <span class="chip ok">{sized_icon("lock", "icon small")}{t().mtls}</span> }.into_any()
    } else {
        view! { <span class="chip">{sized_icon("lock-open", "icon small")}{w.plain}</span> }.into_any()
    };
    view! {
        <section>
            <h3>{w.ends}</h3>
            <dl class="facts">
                <dt>{t().source}</dt><dd>{end(&request.source, "")}</dd>
                {mono(w.principal, &request.source_principal)}
                {mono(w.downstream, &request.downstream_remote)}
                <dt>{t().target}</dt><dd>{end(&request.destination, &request.destination_version)}</dd>
                <dt>{w.security}</dt><dd>{lock}</dd>
                <dt>{w.reporter}</dt><dd>{reporter_word(&request.reporter).to_owned()}</dd>
                {mono(t().proxy, &request.proxy)}
            </dl>
        </section>
    }
}

fn sizes(request: &KeptRequest) -> impl IntoView + use<> {
    let w = words();
    let bytes = format!(
        "{} / {}",
        format::bytes(request.request_bytes),
        format::bytes(request.response_bytes)
    );
    view! {
        <section>
            <h3>{w.request}</h3>
            <dl class="facts">
                {fact(w.started, &request.started)}
                {fact(w.duration, &format::millis(Some(request.duration_ms)))}
                {fact(t().protocol, &format!("{} · {}", request.protocol, request.http_version))}
                {fact(w.authority, &request.authority)}
                {mono(w.path, &request.path)}
                {fact(w.user_agent, &request.user_agent)}
                {fact(t().bytes, &bytes)}
                {mono(w.request_id, &request.request_id)}
                {mono(w.trace, &request.trace)}
                {mono(w.span, &request.span)}
            </dl>
        </section>
    }
}

fn headers(request: &KeptRequest) -> impl IntoView + use<> {
    let headers = request.headers.clone();
    (!headers.is_empty()).then(|| {
        let rows = headers
            .into_iter()
            .map(|(name, value)| view! { <dt class="mono">{name}</dt><dd class="mono">{value}</dd> });
        view! { <section><h3>{words().headers}</h3><dl class="facts">{rows.collect_view()}</dl></section> }
    })
}

fn fact(name: &'static str, value: &str) -> impl IntoView + use<> {
    (!value.is_empty()).then(|| view! { <dt>{name}</dt><dd>{value.to_owned()}</dd> })
}

fn mono(name: &'static str, value: &str) -> impl IntoView + use<> {
    (!value.is_empty()).then(|| view! { <dt>{name}</dt><dd class="mono">{value.to_owned()}</dd> })
}

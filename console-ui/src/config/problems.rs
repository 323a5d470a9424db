//! Problems as rows that lead to their line.

use leptos::prelude::*;
use mesh_api::config::{Problem, Severity};

use crate::parts::icon;
use crate::text::t;

/// Icon of a severity.
pub fn severity_icon(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "octagon-alert",
        Severity::Warning => "triangle-alert",
        Severity::Info => "info",
    }
}

/// Style class of a severity: that of the health it stands for.
pub fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "fail",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

/// Class and icon of a severity.
pub fn severity_face(severity: Severity) -> (&'static str, &'static str) {
    (severity_class(severity), severity_icon(severity))
}

fn row_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "problem error",
        Severity::Warning => "problem warning",
        Severity::Info => "problem info",
    }
}

/// One problem; a click reveals its line.
pub fn problem_row(problem: Problem, reveal: Callback<u32>) -> impl IntoView {
    let line = problem.line;
    let place = match line {
        Some(line) if problem.field.is_empty() => (t().line)(line),
        Some(line) => format!("{} · {}", (t().line)(line), problem.field),
        None => problem.field.clone(),
    };
    view! {
        <li>
            <button class=row_class(problem.severity) data-line=line.map(|line| line.to_string()) on:click=move |_| reveal.run(line.unwrap_or(1))>
                {icon(severity_icon(problem.severity))}
                <span class="body">
                    <span>{problem.message}</span>
                    <span class="remedy">{problem.remedy}</span>
                    <span class="where">{place}" "<span class="mono">{problem.code}</span></span>
                </span>
            </button>
        </li>
    }
}

/// How many of the worst kind, for a table cell.
pub fn problem_chip(problems: &[Problem]) -> AnyView {
    let Some(worst) = problems.iter().map(|problem| problem.severity).max() else {
        return view! { <span class="health ok">{icon("circle-check")}</span><span class="visually-hidden">{t().no_problems}</span> }.into_any();
    };
    let class = format!("health {}", severity_class(worst));
    let title = problems
        .iter()
        .map(|problem| problem.message.clone())
        .collect::<Vec<_>>()
        .join("\n");
    view! { <span class=class title=title>{icon(severity_icon(worst))}{problems.len().to_string()}</span> }
        .into_any()
}

//! `sightline explain`: what becomes of a request, and why.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use mesh_api::explain::{Candidate, Decision, Explanation, Hop};

use super::output::{self, Rows};
use super::{Format, Running, block_on};
use crate::failure::{Code, Failure, Tried};

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  Which version of reviews does a request of productpage reach, and why:
    sightline explain --from productpage-v1 GET http://reviews:9080/
  The same for a user whom a rule names:
    sightline explain --from productpage-v1 GET http://reviews:9080/ -H 'end-user: jason'
  What the gateway does with a request from outside:
    sightline explain GET http://shop.example.com/productpage
  Every candidate of every decision:
    sightline explain --from productpage-v1 http://reviews:9080/ --all
  For programs:
    sightline explain --from productpage-v1 http://reviews:9080/ -o json";

/// Flags of `sightline explain`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// METHOD URL, or URL alone for a GET.
    #[arg(value_names = ["METHOD", "URL"], num_args = 1..=2, required = true)]
    request: Vec<String>,
    /// Workload that sends it (NAME or NAMESPACE/NAME); without it, it comes from outside the mesh.
    #[arg(long, value_name = "WORKLOAD")]
    from: Option<String>,
    /// Gateway where it enters (NAME or NAMESPACE/NAME).
    #[arg(long, value_name = "WORKLOAD", conflicts_with = "from")]
    gateway: Option<String>,
    /// Port of the service or server, if it is not that of the URL.
    #[arg(long)]
    port: Option<u16>,
    /// Header, 'NAME: VALUE'.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Show every candidate of every decision.
    #[arg(long)]
    all: bool,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Prints the explanation.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let path = question(options)?;
    let running = Running::find(options.data.as_deref())?;
    block_on(async {
        let value: serde_json::Value = running.query()?.get(&path).await?;
        let explanation: Explanation = serde_json::from_value(value.clone()).tried_as(Code::Bug, || {
            "the control plane answers in another shape".to_owned()
        })?;
        output::print(options.output, &value, || text(&explanation, options.all))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The path of the query.
fn question(options: &Options) -> Result<String, Failure> {
    let bad = |reason: String| Failure::new(Code::Configuration, reason);
    let (method, url) = match options.request.as_slice() {
        [url] => ("GET", url.as_str()),
        [method, url, ..] => (method.as_str(), url.as_str()),
        [] => return Err(bad("give a URL, for example http://reviews:9080/".into())),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !matches!(scheme, "http" | "https") {
        return Err(bad(format!("{url}: must begin with http:// or https://")));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    if host.is_empty() {
        return Err(bad(format!("{url}: has no host")));
    }
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        path => path.split('#').next().unwrap_or(path).to_owned(),
    };
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("host", host),
        ("method", method),
        ("path", &target),
        ("scheme", scheme),
    ] {
        parameters.append_pair(name, value);
    }
    for (name, value) in [("from", &options.from), ("gateway", &options.gateway)] {
        if let Some(value) = value {
            parameters.append_pair(name, value);
        }
    }
    if let Some(port) = options.port {
        parameters.append_pair("port", &port.to_string());
    }
    for header in &options.headers {
        if !header.contains(':') {
            return Err(bad(format!("-H {header:?}: must be 'NAME: VALUE'")));
        }
        parameters.append_pair("header", header);
    }
    Ok(format!("/api/explain?{}", parameters.finish()))
}

fn text(explanation: &Explanation, all: bool) -> String {
    let request = &explanation.request;
    let mut out = String::new();
    let from = match request.from.as_str() {
        "" => "outside the mesh",
        from => from,
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{} {}://{}{} from {from}",
        request.method, request.scheme, request.authority, request.path
    );
    for hop in &explanation.hops {
        let _ = writeln!(out, "\n{} ({})\n{}", hop.workload, hop.side, decisions(hop, all));
    }
    for note in &explanation.notes {
        let _ = writeln!(out, "\nnote: {note}");
    }
    let outcome = &explanation.outcome;
    let _ = write!(out, "\n=> {}", outcome.summary);
    if outcome.flags != "-" {
        let _ = write!(out, " (flags {}, {})", outcome.flags, outcome.details);
    }
    out.push('\n');
    for chance in &outcome.chance {
        let _ = writeln!(out, "   by chance: {chance}");
    }
    out
}

fn decisions(hop: &Hop, all: bool) -> String {
    let mut rows = Rows::new(&["DECISION", "RESULT", "WHY", "OBJECT"]);
    for decision in &hop.decisions {
        let winner = decision.candidates.iter().find(|candidate| candidate.won);
        let object = winner.map(place).unwrap_or_default();
        rows.push(vec![
            decision.step.clone(),
            decision.result.clone(),
            why(decision),
            object,
        ]);
        for candidate in decision.candidates.iter().filter(|c| all || shown(decision, c)) {
            let mark = if candidate.won { "+" } else { "-" };
            rows.push(vec![
                String::new(),
                format!("{mark} {}", candidate.name),
                candidate.reason.clone(),
                place(candidate),
            ]);
        }
    }
    rows.text()
}

/// Losers are shown where rules compete; listeners and virtual hosts are many and lose by name.
fn shown(decision: &Decision, _: &Candidate) -> bool {
    decision.candidates.len() > 1
        && matches!(
            decision.step.as_str(),
            "route" | "authorization" | "dryRun" | "destination" | "endpoint"
        )
}

fn why(decision: &Decision) -> String {
    let end = if decision.ends { " [ends here]" } else { "" };
    format!("{}{end}", decision.reason)
}

fn place(candidate: &Candidate) -> String {
    let Some(place) = &candidate.object else {
        return String::new();
    };
    let object = &place.object;
    let mut text = format!("{} {}/{}", object.kind, object.namespace, object.name);
    if let Some(line) = place.line {
        let _ = write!(text, ":{line}");
    }
    if !place.field.is_empty() {
        let _ = write!(text, " {}", place.field);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(request: &[&str], headers: &[&str], expected: Option<&str>) {
        let options = Options {
            request: request.iter().map(|&text| text.to_owned()).collect(),
            from: Some("default/web".into()),
            gateway: None,
            port: None,
            headers: headers.iter().map(|&text| text.to_owned()).collect(),
            all: false,
            data: None,
            output: Format::Table,
        };
        let asked = question(&options).ok();
        assert_eq!(asked.as_deref(), expected, "{request:?}");
    }

    #[test]
    fn urls_become_questions() {
        check(
            &["http://reviews:9080/a?b=c"],
            &[],
            Some(
                "/api/explain?host=reviews%3A9080&method=GET&path=%2Fa%3Fb%3Dc&scheme=http&from=default%2Fweb",
            ),
        );
        check(
            &["POST", "reviews"],
            &["x: y"],
            Some(
                "/api/explain?host=reviews&method=POST&path=%2F&scheme=http&from=default%2Fweb&header=x%3A+y",
            ),
        );
        check(&["ftp://reviews/"], &[], None);
        check(&["http:///x"], &[], None);
        check(&["http://a/"], &["odd"], None);
    }
}

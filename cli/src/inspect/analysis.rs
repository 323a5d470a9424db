//! `sightline analyze`: what is wrong with configuration, in files or in a running mesh.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use mesh_crd::{ObjectKey, Problem, Severity, locate, parse_yaml};
use mesh_translate::World;
use serde_json::{Value, json};

use super::output;
use super::{Format, Running, block_on};
use crate::cluster::world;
use crate::failure::{Code, Failure, Tried};

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  Files by themselves:
    sightline analyze services.yaml routes.yaml
  Files as if they were applied to the mesh that runs:
    sightline analyze --live routes.yaml
  What the mesh has now:
    sightline analyze --live
  From standard input; warnings fail, too (exit code 1):
    kustomize build . | sightline analyze --failure-threshold warning -

Codes are Istio's (IST0101) and Kiali's (KIA1106); SL.... are our own.";

/// From which severity on the exit code is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Threshold {
    Info,
    Warning,
    Error,
}

impl Threshold {
    fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

/// Flags of `sightline analyze`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// YAML files; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "live")]
    files: Vec<PathBuf>,
    /// Look at the mesh that runs, with the files as if they were applied.
    #[arg(long)]
    live: bool,
    /// Exit code 1 from this severity on.
    #[arg(long, value_enum, default_value_t = Threshold::Error)]
    failure_threshold: Threshold,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// A problem, and where it is.
#[derive(Debug)]
struct Finding {
    file: Option<String>,
    object: Option<ObjectKey>,
    problem: Problem,
}

/// One YAML document of a file.
#[derive(Debug)]
struct Document {
    file: String,
    /// Lines before it.
    before: u32,
    text: String,
}

impl Document {
    /// Whether it claims to be one of Istio's kinds.
    fn is_istio(&self) -> bool {
        let version = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("apiVersion:"));
        version.is_none_or(|version| version.contains("istio.io/"))
    }
}

/// Prints the problems; exit code 1 if one reaches the threshold.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut documents = Vec::new();
    for file in &options.files {
        documents.extend(read(file)?);
    }
    let world = if options.live {
        let running = Running::find(options.data.as_deref())?;
        block_on(async { world::live(&running.client().await?).await })?
    } else {
        World::default()
    };
    let findings = judge(world, &documents);
    let value: Vec<Value> = findings.iter().map(json_of).collect();
    output::print(options.output, &Value::Array(value), || {
        report(&findings, options.live)
    })?;
    let threshold = options.failure_threshold.severity();
    let reached = findings
        .iter()
        .any(|finding| finding.problem.severity >= threshold);
    Ok(if reached {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn read(file: &PathBuf) -> Result<Vec<Document>, Failure> {
    let what = || format!("cannot read {}", file.display());
    let mut text = String::new();
    let name = if file.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .tried_as(Code::Configuration, what)?;
        "(standard input)".to_owned()
    } else {
        text = std::fs::read_to_string(file).tried_as(Code::Configuration, what)?;
        file.display().to_string()
    };
    Ok(split(&name, &text))
}

/// The documents of a YAML stream that hold anything.
fn split(file: &str, text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut current = String::new();
    let mut before = 0;
    let mut finish = |before: u32, text: String| {
        let holds = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if text.lines().any(holds) {
            documents.push(Document {
                file: file.to_owned(),
                before,
                text,
            });
        }
    };
    for (number, line) in (0..).zip(text.lines()) {
        let separator = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim().is_empty() || rest.starts_with(" #"));
        if separator {
            finish(before, std::mem::take(&mut current));
            before = number + 1;
        } else {
            current.push_str(line);
            current.push('\n');
        }
    }
    finish(before, current);
    documents
}

/// Problems of the documents as if they were applied; without documents, those of the world.
fn judge(mut world: World, documents: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut places: BTreeMap<ObjectKey, &Document> = BTreeMap::new();
    for document in documents {
        let parsed = parse_yaml(&document.text);
        if parsed.problems.iter().any(|problem| problem.field == "kind") && !document.is_istio() {
            // A Deployment, a ServiceAccount: not the mesh's to judge.
            continue;
        }
        for problem in &parsed.problems {
            findings.push(place(document, parsed.key.clone(), problem.clone()));
        }
        if let (Some(key), Some(_)) = (parsed.key.clone(), parsed.object.as_ref()) {
            places.insert(key, document);
            world.apply(parsed);
        }
    }
    let whole = documents.is_empty();
    if whole {
        for (key, problems) in world.parse_problems() {
            findings.extend(problems.iter().map(|problem| Finding {
                file: None,
                object: Some(key.clone()),
                problem: problem.clone(),
            }));
        }
    }
    for (key, problems) in mesh_translate::analyze(&world) {
        for problem in problems {
            let finding = match places.get(&key) {
                Some(document) => place(document, Some(key.clone()), problem),
                None if whole => Finding {
                    file: None,
                    object: Some(key.clone()),
                    problem,
                },
                None => continue,
            };
            let known = findings.iter().any(|other: &Finding| {
                other.object == finding.object
                    && other.problem.code == finding.problem.code
                    && other.problem.field == finding.problem.field
                    && other.problem.message == finding.problem.message
            });
            if !known {
                findings.push(finding);
            }
        }
    }
    findings
}

/// With its line in the file.
fn place(document: &Document, object: Option<ObjectKey>, mut problem: Problem) -> Finding {
    if problem.line.is_none() {
        (problem.line, problem.column) = locate(&document.text, &problem.field);
    }
    problem.line = problem.line.map(|line| line + document.before);
    Finding {
        file: Some(document.file.clone()),
        object,
        problem,
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn json_of(finding: &Finding) -> Value {
    let problem = &finding.problem;
    json!({
        "code": problem.code,
        "severity": word(problem.severity),
        "file": finding.file,
        "line": problem.line,
        "column": problem.column,
        "object": finding.object.as_ref().map(ToString::to_string),
        "field": problem.field,
        "message": problem.message,
        "remedy": problem.remedy,
    })
}

/// As compilers tell: place, severity, code, what is wrong, what to do.
fn report(findings: &[Finding], live: bool) -> String {
    if findings.is_empty() {
        let what = if live { "the mesh" } else { "the files" };
        return format!("no problem found in {what}");
    }
    let mut text = String::new();
    for finding in findings {
        let problem = &finding.problem;
        if let Some(file) = &finding.file {
            text.push_str(file);
            for number in [problem.line, problem.column].into_iter().flatten() {
                text.push_str(&format!(":{number}"));
            }
            text.push_str(": ");
        }
        text.push_str(&format!("{} {}", word(problem.severity), problem.code));
        if let Some(object) = &finding.object {
            text.push_str(&format!(" {object}"));
        }
        if !problem.field.is_empty() {
            text.push_str(&format!(" {}", problem.field));
        }
        text.push_str(&format!(": {}\n", problem.message));
        if !problem.remedy.is_empty() {
            text.push_str(&format!("    {}\n", problem.remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
# a comment alone is no document
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec:
  ports: [{name: http, port: 9080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
        subset: v9
";

    #[test]
    fn problems_are_found_at_their_line_of_the_file() {
        let documents = split("routes.yaml", ROUTES);
        assert_eq!(documents.len(), 2, "{documents:?}");
        let findings = judge(World::default(), &documents);
        let text = report(&findings, false);
        assert!(
            text.contains("IST0101") && text.contains("routes.yaml:1"),
            "{text}"
        );
        let line = findings.iter().find_map(|finding| finding.problem.line);
        assert!(line.is_some_and(|line| (15..=18).contains(&line)), "{text}");
    }

    #[test]
    fn a_typing_mistake_is_named() {
        let broken = ROUTES.replace("  http:", "  htpp:");
        let text = report(&judge(World::default(), &split("routes.yaml", &broken)), false);
        assert!(text.contains("htpp") && text.contains("error"), "{text}");
        let half = report(&judge(World::default(), &split("x.yaml", "kind: [")), false);
        assert!(half.contains("x.yaml"), "{half}");
    }

    #[test]
    fn other_kinds_are_not_judged_but_misspelt_ones_are() {
        let check = |version: &str, kind: &str, expected: bool| {
            let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\n");
            let found = judge(World::default(), &split("x.yaml", &text));
            assert_eq!(!found.is_empty(), expected, "{version} {kind}: {found:?}");
        };
        check("v1", "ServiceAccount", false);
        check("apps/v1", "Deployment", false);
        check("networking.istio.io/v1", "VirtualServise", true);
    }

    #[test]
    fn nothing_wrong_is_said() {
        let good = ROUTES.replace("        subset: v9\n", "");
        let findings = judge(World::default(), &split("routes.yaml", &good));
        assert!(
            findings
                .iter()
                .all(|finding| finding.problem.severity < Severity::Error),
            "{findings:?}"
        );
        assert!(report(&[], true).contains("no problem"));
    }
}

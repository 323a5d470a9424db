//! Runs a plan.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::plan::{Present, Step};

/// Why a program did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is not installed.
    #[error("{program} is not there; install the package {package}, or use an image that has it")]
    Missing {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// The kernel did not let it.
    #[error(
        "{program} is not permitted ({message}); run as root with the capabilities NET_ADMIN and NET_RAW, in the \
         network namespace whose traffic is to be captured"
    )]
    Forbidden {
        /// The program.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// It could not be started.
    #[error("{program}: {error}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// It failed.
    #[error("{step}\nfailed: {message}")]
    Failed {
        /// What was run.
        step: Box<Step>,
        /// What it said.
        message: String,
    },
}

/// Runs every step; ends at the first that fails.
pub fn run(steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        let (ok, _, message) = execute(step)?;
        if ok || step.tolerates.iter().any(|part| message.contains(part)) {
            continue;
        }
        return Err(failure(step, message));
    }
    Ok(())
}

/// What is there.
pub fn present(ipv6: bool) -> Result<Present, Failure> {
    let saved = |program| {
        let step = Step {
            program,
            arguments: Vec::new(),
            input: String::new(),
            tolerates: &[],
        };
        let (ok, output, message) = execute(&step)?;
        if ok {
            Ok(output)
        } else {
            Err(failure(&step, message))
        }
    };
    Ok(Present {
        v4: saved("iptables-save")?,
        v6: if ipv6 {
            saved("ip6tables-save")?
        } else {
            String::new()
        },
    })
}

/// Whether an interface has an IPv6 address that others can reach: else there is nothing to capture.
#[must_use]
pub fn wants_ipv6() -> bool {
    // Scope 00 is global; 10 is the host, 20 the link.
    std::fs::read_to_string("/proc/net/if_inet6")
        .unwrap_or_default()
        .lines()
        .any(|line| line.split_whitespace().nth(3) == Some("00"))
}

fn execute(step: &Step) -> Result<(bool, String, String), Failure> {
    let program = step.program;
    let start = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Missing {
            program,
            package: if program == "ip" { "iproute2" } else { "iptables" },
        },
        _ => Failure::Start { program, error },
    };
    let mut child = Command::new(program)
        .args(&step.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why itself.
        let _ = stdin.write_all(step.input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        text(&output.stderr),
    ))
}

fn failure(step: &Step, message: String) -> Failure {
    let forbidden = ["Permission denied", "Operation not permitted", "you must be root"];
    if forbidden.iter().any(|part| message.contains(part)) {
        Failure::Forbidden {
            program: step.program,
            message,
        }
    } else {
        Failure::Failed {
            step: Box::new(step.clone()),
            message,
        }
    }
}

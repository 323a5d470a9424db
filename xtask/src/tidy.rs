//! `cargo xtask tidy`: rules that neither rustfmt nor clippy knows.

mod edges;
mod files;

use std::process::ExitCode;

use anyhow::Result;

/// Prints what breaks a rule.
pub(crate) fn run() -> Result<ExitCode> {
    let problems = problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} problems", problems.len());
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Everything that breaks a rule, one line each.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = edges::problems()?;
    problems.extend(files::problems()?);
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    #[test]
    fn repository_is_tidy() {
        let problems = super::problems().unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

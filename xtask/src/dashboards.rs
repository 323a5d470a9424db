//! `cargo xtask dashboards`: writes the Grafana dashboards of `dashboards/grafana` from one table of panels.
//!
//! One table, because the same rate, quantile and label words recur in every dashboard, and because a test asks a
//! real Prometheus for each expression.

mod grafana;
mod table;

use anyhow::{Context, Result, bail};

use crate::root;

/// Folder of the written files, in the repository.
const FOLDER: &str = "dashboards/grafana";

/// Writes every dashboard; with `check`, only says which files are not what the table says.
pub(crate) fn run(check: bool) -> Result<()> {
    let folder = root::repository().join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut stale = Vec::new();
    for dashboard in table::dashboards() {
        let path = folder.join(format!("{}.json", dashboard.uid));
        let text = format!("{:#}\n", grafana::render(&dashboard));
        if std::fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{FOLDER}/{}.json: {}", dashboard.uid, dashboard.title);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "not as the table says: {}; run `cargo xtask dashboards`",
        stale.join(", ")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn files_are_what_the_table_says() {
        run(true).unwrap();
    }

    #[test]
    fn names_are_told_apart() {
        let mut uids = BTreeSet::new();
        for dashboard in table::dashboards() {
            assert!(uids.insert(dashboard.uid), "{}", dashboard.uid);
            let mut titles = BTreeSet::new();
            for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
                assert!(
                    titles.insert(panel.title),
                    "{}: {} twice",
                    dashboard.uid,
                    panel.title
                );
                assert!(!panel.queries.is_empty(), "{}: {}", dashboard.uid, panel.title);
            }
        }
    }

    #[test]
    fn every_variable_that_is_used_exists() {
        for dashboard in table::dashboards() {
            let known: BTreeSet<&str> = dashboard.variables.iter().map(|v| v.name).collect();
            for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
                for query in &panel.queries {
                    for used in query.expr.split('$').skip(1) {
                        let name: String = used
                            .chars()
                            .take_while(|c| c.is_alphanumeric() || *c == '_')
                            .collect();
                        assert!(
                            name == "__rate_interval" || name == "__range" || known.contains(name.as_str()),
                            "{}: {}: ${name}",
                            dashboard.uid,
                            panel.title
                        );
                    }
                }
            }
        }
    }
}

//! Plays the recorded cases against our own mesh. Every case of `passing` must pass; the others are reported.
//!
//! `OBSERVED_ONLY=id,id` plays only these. `OBSERVED_ADMISSION=1` only asks admission (needs no binaries).
//! `OBSERVED_WRITE=1` rewrites the list. `OBSERVED_HOLD=1` keeps the last case's world up, to look at it. Needs the mesh's binaries:
//! `cargo build --bin sightline-proxy --bin sightline-controlplane`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mesh_model::address::AddressBase;
use mesh_stories::observed::better::expect_better;
use mesh_stories::observed::case::Case;
use mesh_stories::observed::children::Programs;
use mesh_stories::observed::compare::compare;
use mesh_stories::observed::fixture::{Fixture, Layout};
use mesh_stories::observed::outcome::Outcome;
use mesh_stories::observed::play::{Player, ask_admission};
use mesh_stories::observed::verdict::{Reason, Verdict, read_list, reasons, report, write_list};
use mesh_stories::observed::world::{Plan, Registry, World};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/observed/routing");

/// Whether cases are played between pods with captured traffic: decided by the test's name.
const CAPTURED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"captured");
/// The list of cases that must pass.
const LIST: &str = if CAPTURED { "captured" } else { "passing" };

pub(crate) fn main() {
    let start = Instant::now();
    // Not a `#[test]`: processes end with the thread that started them, so that must be the main thread.
    let listing = std::env::args().any(|argument| argument == "--list");
    if listing {
        println!("{}: test", env!("CARGO_CRATE_NAME"));
        return;
    }
    if CAPTURED && let Err(error) = mesh_stories::pods::enter() {
        eprintln!("captured traffic cannot be tested here: {error:#}");
        std::process::exit(1);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let verdicts = runtime.block_on(run());
    if CAPTURED {
        let _ = std::fs::remove_dir_all(shared_folder());
    }
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(error) => {
            eprintln!("the runner itself failed: {error:#}");
            std::process::exit(1);
        }
    };
    println!("{}", report(&verdicts));
    let list = Path::new(DATA).join(LIST);
    let must: BTreeSet<String> = read_list(&std::fs::read_to_string(&list).unwrap_or_default());
    let passing: BTreeSet<String> = verdicts
        .iter()
        .filter(|verdict| verdict.passes())
        .map(|verdict| verdict.id.clone())
        .collect();
    if std::env::var_os("OBSERVED_WRITE").is_some() {
        let played: BTreeSet<&String> = verdicts.iter().map(|verdict| &verdict.id).collect();
        let others = must.iter().filter(|id| !played.contains(id)).cloned();
        let all: BTreeSet<String> = others.chain(passing.iter().cloned()).collect();
        std::fs::write(&list, write_list(&all)).unwrap();
        println!("{} now lists {} cases", list.display(), all.len());
        return;
    }
    let broken: Vec<String> = verdicts
        .iter()
        .filter(|verdict| must.contains(&verdict.id) && !verdict.passes())
        .map(mesh_stories::observed::verdict::line)
        .collect();
    let listed = verdicts
        .iter()
        .filter(|verdict| must.contains(&verdict.id))
        .count();
    // The line that test runners print: one test per listed case, the others are reported above.
    println!(
        "test result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s",
        if broken.is_empty() { "ok" } else { "FAILED" },
        listed - broken.len(),
        broken.len(),
        verdicts.len() - listed,
        start.elapsed().as_secs_f64()
    );
    if !broken.is_empty() {
        eprintln!(
            "{} listed cases do not pass:\n  {}",
            broken.len(),
            broken.join("\n  ")
        );
        std::process::exit(1);
    }
}

async fn run() -> anyhow::Result<Vec<Verdict>> {
    let start = Instant::now();
    let read = |name: &str| std::fs::read_to_string(Path::new(DATA).join(name));
    let plan = plan(&read("fixture.yaml")?)?;
    let mut cases = Case::read_all(&plan.fixture.places().expand(&read("cases.jsonl")?)?)?;
    let mut must_name: BTreeMap<String, Vec<String>> = serde_json::from_str(&read("rejected-fields.json")?)?;
    expect_better(
        &mut cases,
        &serde_json::from_str(&read("better.json")?)?,
        &mut must_name,
    )?;
    let cases = chosen(cases);
    let registry = Registry::start(&plan).await?;
    let (sending, others): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|case| !case.steps.is_empty());

    let mut verdicts = Vec::new();
    for case in &others {
        let outcome = ask_admission(&registry, case).await;
        verdicts.push(verdict(case, &[], &must_name, outcome));
    }
    println!(
        "{} cases asked of admission after {:.1?}",
        others.len(),
        start.elapsed()
    );
    if std::env::var_os("OBSERVED_ADMISSION").is_some() || sending.is_empty() {
        return Ok(verdicts);
    }

    let mut player = Player::new(World::start(registry, &plan).await?).await?;
    println!("world up after {:.1?}", start.elapsed());
    let mut looks = look(&mut player, &sending, &must_name).await?;
    println!("{} cases played after {:.1?}", sending.len(), start.elapsed());
    // Timings and draws by chance differ on a busy machine: what should pass and did not is looked at once more, as
    // the recordings were. A real difference fails twice.
    let must = read_list(&read(LIST).unwrap_or_default());
    let doubtful: Vec<Case> = sending
        .iter()
        .zip(&looks)
        .filter(|(case, first)| must.contains(&case.id) && !first.passes())
        .map(|(case, _)| case.clone())
        .collect();
    for second in look(&mut player, &doubtful, &must_name).await? {
        println!(
            "second look at {}: {}",
            second.id,
            if second.passes() {
                "passes"
            } else {
                "differs again"
            }
        );
        looks.retain(|first| first.id != second.id);
        looks.push(second);
    }
    if std::env::var_os("OBSERVED_HOLD").is_some() {
        println!(
            "held until interrupted; state and logs are in {}",
            plan.folder.display()
        );
        std::future::pending::<()>().await;
    }
    verdicts.extend(looks);
    Ok(verdicts)
}

/// Plays the cases and compares what came of them, once all log lines are there.
async fn look(
    player: &mut Player,
    cases: &[Case],
    must_name: &BTreeMap<String, Vec<String>>,
) -> anyhow::Result<Vec<Verdict>> {
    let mut played = Vec::new();
    for case in cases {
        played.push(player.play(case).await);
    }
    if played.is_empty() {
        return Ok(Vec::new());
    }
    player.finish().await?;
    player.settle().await;
    Ok(cases
        .iter()
        .zip(played)
        .map(|(case, played)| match played {
            Ok(played) => verdict(case, &played.keys, must_name, Ok(player.outcome(&played))),
            Err(error) => verdict(case, &[], must_name, Err(error)),
        })
        .collect())
}

fn verdict(
    case: &Case,
    keys: &[String],
    must_name: &BTreeMap<String, Vec<String>>,
    outcome: anyhow::Result<Outcome>,
) -> Verdict {
    let none = Vec::new();
    let must_name = must_name.get(&case.id).unwrap_or(&none);
    Verdict {
        id: case.id.clone(),
        sends: case.rejected.is_none() && !case.steps.is_empty(),
        reasons: match outcome {
            Ok(outcome) => reasons(&outcome, compare(case, keys, must_name, &outcome)),
            Err(error) => vec![Reason::Broken(format!("{error:#}"))],
        },
    }
}

fn chosen(mut cases: Vec<Case>) -> Vec<Case> {
    if let Ok(only) = std::env::var("OBSERVED_ONLY") {
        let only: BTreeSet<&str> = only.split(',').map(str::trim).collect();
        cases.retain(|case| only.contains(case.id.as_str()));
    } else if CAPTURED {
        // The others are played among plain processes.
        let list = std::fs::read_to_string(Path::new(DATA).join(LIST)).unwrap_or_default();
        let list = read_list(&list);
        cases.retain(|case| list.contains(&case.id));
    }
    cases
}

/// Where the sidecars' user may enter.
fn shared_folder() -> PathBuf {
    std::env::temp_dir().join(format!("sightline-captured-{}", std::process::id()))
}

fn plan(fixture: &str) -> anyhow::Result<Plan> {
    let base = AddressBase::parse("127.80.0.0/16").map_err(anyhow::Error::msg)?;
    let layout = if CAPTURED {
        Layout::Pods
    } else {
        Layout::Plain(base)
    };
    let folder = if CAPTURED {
        shared_folder()
    } else {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("observed")
    };
    let _ = std::fs::remove_dir_all(&folder);
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs)?;
    let echo = PathBuf::from(env!("CARGO_BIN_EXE_rtecho"));
    let built = echo.parent().map(Path::to_path_buf).unwrap_or_default();
    let (echo, programs) = if CAPTURED {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let bin = folder.join("bin");
        for name in ["rtecho", "sightline-proxy", "sightline-controlplane"] {
            mesh_stories::pods::shared(&built.join(name), &bin)?;
        }
        (bin.join("rtecho"), bin)
    } else {
        (echo, built)
    };
    Ok(Plan {
        fixture: Fixture::read(fixture, layout)?,
        layout,
        dns: None,
        programs: Programs {
            folder: programs,
            echo,
            logs,
        },
        folder,
    })
}

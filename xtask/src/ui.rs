//! `cargo xtask ui [--release]`: builds the console's pages into `console-ui/dist`.
//!
//! cargo (wasm32) → cut into parts → wasm-bindgen as a library → esbuild → brotli and gzip twins. File names carry a
//! hash of their content, so that browsers may keep them for ever; only `index.html` is asked for again.
//!
//! The first load is the shell and the overview. The other pages are in parts of their own, which the browser fetches
//! when one of them is visited, or ahead of time when it is idle.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, bail};

use crate::root;

/// Limit of what a first visit loads (page, style, script, font, and the parts of the program that stand before its
/// page does), brotli-compressed.
const FIRST_VISIT_LIMIT: usize = 450 * 1024;

/// Where `/` leads; it needs no part but the shell's.
const FIRST_PAGE: &str = "overview";

/// Compressing a file below this size saves no packet.
const COMPRESS_FROM: usize = 512;

/// How to build the pages.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Optimise for size (takes a minute more) and hold the first load to its limit.
    #[arg(long)]
    pub(crate) release: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    Dev,
    Release,
}

/// Builds the pages; the working directory does not matter. Says which tool is missing and how to get it, or
/// which step failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let profile = if options.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let root = &root::repository();
    let source = root.join("console-ui");
    let target = target_dir(root).join("ui");

    wasm_target()?;
    npm_packages(&source)?;
    let wasm = compile(root, &target, profile)?;
    let bindings = target.join("bindings");
    recreate(&bindings)?;
    let parts = cut(&wasm, &bindings)?;
    bind(&bindings.join(MAIN), &bindings, profile)?;

    // Built aside and swapped in, so that a failed build leaves the last good pages.
    let staging = target.join("dist");
    recreate(&staging)?;
    let outputs = bundle(&source, &bindings, &staging, profile)?;
    fs::write(staging.join("index.html"), page(&source, &outputs)?)?;
    fs::write(staging.join("assets/NOTICES.txt"), notices(&source)?)?;
    compress(&staging, profile)?;
    let visits = first_visits(&staging, &outputs, &parts)?;
    let dist = source.join("dist");
    recreate(&dist)?;
    copy(&staging, &dist)?;

    let held_to = match profile {
        Profile::Release => format!("limit {} KiB for `{FIRST_PAGE}`", FIRST_VISIT_LIMIT / 1024),
        Profile::Dev => "built for development; `--release` makes it small".to_owned(),
    };
    eprintln!("console-ui/dist: a first visit loads, brotli-compressed ({held_to}):");
    for (page, bytes) in &visits {
        eprintln!("  {page:<10} {:>4} KiB", bytes / 1024);
    }
    let first = visits.get(FIRST_PAGE).copied().unwrap_or_default();
    if profile == Profile::Release && first > FIRST_VISIT_LIMIT {
        bail!(
            "the first load exceeds its limit; look for a large new dependency with `twiggy top` on {}",
            wasm.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn wasm_target() -> Result<()> {
    let sysroot = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .output();
    let present = sysroot.is_ok_and(|out| Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
    if present {
        return Ok(());
    }
    succeed(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))
        .context("the Rust target wasm32-unknown-unknown is missing: install it with rustup, or your distribution's package")
}

fn npm_packages(source: &Path) -> Result<()> {
    let lock = source.join("package-lock.json");
    let installed = source.join("node_modules/.package-lock.json");
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    if let (Some(installed), Some(lock)) = (modified(&installed), modified(&lock))
        && installed >= lock
    {
        return Ok(());
    }
    succeed(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(source),
    )
    .context("npm packages of console-ui (needs Node.js 20 or newer with npm)")
}

fn compile(root: &Path, target: &Path, profile: Profile) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "rustc",
        "--package",
        "console-ui",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    cargo.arg("--target-dir").arg(target).current_dir(root);
    // Views forget their types where components meet: a fraction of the code, and of the time to compile it.
    cargo.env("RUSTFLAGS", "--cfg erase_components");
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            cargo.args(["--profile", "wasm-release"]);
            "wasm-release"
        }
    };
    // With relocations the finished program can still be cut.
    cargo.args(["--", "-C", "link-arg=--emit-relocs"]);
    succeed(&mut cargo)?;
    Ok(target
        .join("wasm32-unknown-unknown")
        .join(folder)
        .join("console-ui.wasm"))
}

/// The part of the program that every visit needs, before wasm-bindgen has seen it.
const MAIN: &str = "main.wasm";

/// The script that fetches the other parts.
const PARTS: &str = "./parts.js";

/// Cuts the program at the functions that are marked so, and names the files that each mark needs.
fn cut(wasm: &Path, out: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let program = fs::read(wasm)?;
    let main = out.join(MAIN);
    let mut options = wasm_split_cli_support::Options::new(&program);
    options.output_dir = out;
    options.main_out_path = &main;
    options.link_name = PARTS;
    options.main_module = "./console_ui.js";
    let cut = wasm_split_cli_support::transform(options)
        .map_err(|report| anyhow!("cutting the program into parts: {report:#}"))?;

    // esbuild gives the parts their hashed names: for it they are imports, not addresses made while running.
    let script = out.join(PARTS);
    let mut text = fs::read_to_string(&script)?;
    let mut imports = String::new();
    for (number, part) in cut.split_modules.iter().enumerate() {
        let file = part.file_name().unwrap_or_default().to_string_lossy();
        let address = format!("new URL(\"./{file}\", import.meta.url)");
        if !text.contains(&address) {
            bail!("{} does not fetch {file}", script.display());
        }
        text = text.replace(&address, &format!("part{number}"));
        imports.push_str(&format!("import part{number} from \"./{file}\";\n"));
    }
    fs::write(&script, imports + &text)?;
    Ok(cut.prefetch_map.into_iter().collect())
}

fn bind(wasm: &Path, out: &Path, profile: Profile) -> Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name("console_ui")
        .typescript(false)
        // Names are for stack traces, and as large as the program.
        .remove_name_section(profile == Profile::Release)
        .remove_producers_section(profile == Profile::Release)
        // The other parts share its table of functions and its stack.
        .keep_lld_exports(true)
        .web(true)?;
    bindgen.generate(out).context("wasm-bindgen")
}

/// By logical name (`app.js`, `console.css`, `console_ui_bg.wasm`, `inter.woff2`): the hashed file under `assets/`.
type Outputs = BTreeMap<String, String>;

fn bundle(source: &Path, bindings: &Path, staging: &Path, profile: Profile) -> Result<Outputs> {
    let meta = staging.with_extension("json");
    let mut esbuild = Command::new("node");
    esbuild
        .arg(source.join("node_modules/esbuild/bin/esbuild"))
        .current_dir(source);
    esbuild.args(["js/app.js", "styles/console.css"]);
    esbuild.args([
        "--bundle",
        "--format=esm",
        "--splitting",
        "--target=es2022",
        "--log-level=warning",
        "--charset=utf8",
        // wasm-bindgen names the script of the parts once for each of them; it is one and the same.
        "--log-override:duplicate-object-key=silent",
    ]);
    esbuild.args([
        "--entry-names=[name]-[hash]",
        "--chunk-names=[name]-[hash]",
        "--asset-names=[name]-[hash]",
    ]);
    esbuild.args([
        "--public-path=/assets",
        "--loader:.wasm=file",
        "--loader:.woff2=file",
        "--legal-comments=linked",
    ]);
    esbuild.arg(format!("--alias:bindings={}", bindings.display()));
    esbuild.arg(format!("--outdir={}", staging.join("assets").display()));
    esbuild.arg(format!("--metafile={}", meta.display()));
    if profile == Profile::Release {
        esbuild.arg("--minify");
    }
    succeed(&mut esbuild)?;

    let mut outputs = Outputs::new();
    for entry in fs::read_dir(staging.join("assets"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(logical) = logical_name(&name) {
            outputs.insert(logical, name);
        }
    }
    Ok(outputs)
}

/// `app-ABCDEFGH.js` -> `app.js`.
fn logical_name(file: &str) -> Option<String> {
    let (stem, extension) = file.split_once('.')?;
    let (name, hash) = stem.rsplit_once('-')?;
    (hash.len() == 8).then(|| format!("{name}.{extension}"))
}

fn page(source: &Path, outputs: &Outputs) -> Result<String> {
    let mut page = fs::read_to_string(source.join("index.html"))?;
    let asset = |name: &str| -> Result<String> {
        outputs
            .get(name)
            .map(|file| format!("/assets/{file}"))
            .with_context(|| format!("esbuild wrote no {name}"))
    };
    page = page.replace("{{script}}", &asset("app.js")?);
    page = page.replace("{{style}}", &asset("console.css")?);
    page = page.replace("{{wasm}}", &asset("console_ui_bg.wasm")?);
    page = page.replace("{{font}}", &asset("inter-latin-wght-normal.woff2")?);
    Ok(page.replace("{{icons}}", &sprite(source)?))
}

/// The icons named in `icons.txt` as one sheet of symbols.
fn sprite(source: &Path) -> Result<String> {
    let mut sheet = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg" hidden>"#);
    for name in fs::read_to_string(source.join("icons.txt"))?.split_whitespace() {
        let path = source.join(format!("node_modules/lucide-static/icons/{name}.svg"));
        let icon = fs::read_to_string(&path)
            .with_context(|| format!("icons.txt names `{name}`, which lucide lacks"))?;
        let shapes = icon
            .find("<svg")
            .and_then(|at| icon[at..].find('>').map(|end| at + end + 1));
        let (Some(start), Some(end)) = (shapes, icon.rfind("</svg>")) else {
            bail!("{} is not an SVG file", path.display());
        };
        let shapes: String = icon[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
        sheet.push_str(&format!(
            r#"<symbol id="i-{name}" viewBox="0 0 24 24">{shapes}</symbol>"#
        ));
    }
    sheet.push_str("</svg>");
    Ok(sheet)
}

/// Licences of everything from npm that is carried in the pages: font, icons, editor.
fn notices(source: &Path) -> Result<String> {
    let modules = source.join("node_modules");
    let lock = fs::read_to_string(modules.join(".package-lock.json"))?;
    let lock: serde_json::Value = serde_json::from_str(&lock).context("node_modules/.package-lock.json")?;
    let packages = lock["packages"]
        .as_object()
        .context("node_modules/.package-lock.json names no packages")?;
    let mut text = String::from("The console's pages contain the work of others, under these licences.\n");
    for (path, package) in packages {
        if package["dev"].as_bool() == Some(true) {
            continue;
        }
        let name = path.trim_start_matches("node_modules/");
        let word = |field: &str| package[field].as_str().unwrap_or("?").to_owned();
        let folder = modules.join(name);
        let licence = fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
                name.is_some_and(|name| name.starts_with("license") || name.starts_with("licence"))
            })
            .with_context(|| format!("{name} ships no licence file"))?;
        text.push_str(&format!(
            "\n{}\n{name} {} ({})\n\n{}\n",
            "=".repeat(80),
            word("version"),
            word("license"),
            fs::read_to_string(licence)?.trim()
        ));
    }
    Ok(text)
}

fn compress(dist: &Path, profile: Profile) -> Result<()> {
    let mut folders = vec![dist.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = fs::read(&path)?;
            // woff2 is brotli inside.
            if content.len() < COMPRESS_FROM || path.extension().is_some_and(|e| e == "woff2") {
                continue;
            }
            fs::write(twin(&path, "br"), brotli_of(&content, profile)?)?;
            let mut gzip =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(effort(profile, 9, 1)));
            gzip.write_all(&content)?;
            fs::write(twin(&path, "gz"), gzip.finish()?)?;
        }
    }
    Ok(())
}

fn brotli_of(content: &[u8], profile: Profile) -> Result<Vec<u8>> {
    let mut compressed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut compressed, 1 << 16, effort(profile, 11, 4), 24);
    writer.write_all(content)?;
    drop(writer);
    Ok(compressed)
}

fn effort(profile: Profile, release: u32, dev: u32) -> u32 {
    match profile {
        Profile::Release => release,
        Profile::Dev => dev,
    }
}

fn twin(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// What the browser fetches before a page of each part stands, by part; the first page needs none.
fn first_visits(
    dist: &Path,
    outputs: &Outputs,
    parts: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, usize>> {
    let size = |name: &str| -> Result<usize> {
        let file = outputs
            .get(name)
            .with_context(|| format!("esbuild wrote no {name}"))?;
        transfer_size(&dist.join("assets").join(file))
    };
    let mut shell = transfer_size(&dist.join("index.html"))?;
    for name in [
        "app.js",
        "console.css",
        "console_ui_bg.wasm",
        "inter-latin-wght-normal.woff2",
    ] {
        shell += size(name)?;
    }
    let mut visits = BTreeMap::from([(FIRST_PAGE.to_owned(), shell)]);
    for (part, files) in parts {
        let mut bytes = shell;
        for file in files {
            bytes += size(&format!("{file}.wasm"))?;
        }
        visits.insert(part.clone(), bytes);
    }
    Ok(visits)
}

fn transfer_size(path: &Path) -> Result<usize> {
    let compressed = twin(path, "br");
    let sent = if compressed.exists() {
        compressed
    } else {
        path.to_path_buf()
    };
    Ok(usize::try_from(fs::metadata(sent)?.len())?)
}

fn recreate(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let destination = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&destination)?;
            copy(&entry.path(), &destination)?;
        } else {
            fs::copy(entry.path(), destination)?;
        }
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::logical_name;

    #[test]
    fn hashed_names_are_told_from_others() {
        for (file, logical) in [
            ("app-ABCDEFGH.js", Some("app.js")),
            ("console_ui_bg-ABCDEFGH.wasm", Some("console_ui_bg.wasm")),
            (
                "inter-latin-wght-normal-ABCDEFGH.woff2",
                Some("inter-latin-wght-normal.woff2"),
            ),
            ("app.js", None),
            ("inter-latin.woff2", None),
        ] {
            assert_eq!(logical_name(file).as_deref(), logical, "{file}");
        }
    }
}

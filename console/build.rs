//! Leaves a page that says how to build the pages where they are not built yet, so that the rest builds without
//! Node.js.

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../console-ui/dist");
    println!("cargo:rerun-if-changed={}", dist.display());
    let page = dist.join("index.html");
    if !page.exists() {
        fs::create_dir_all(&dist)?;
        fs::write(
            page,
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sightline</title>\
             <h1>The pages are not built</h1><p>Run <code>cargo xtask ui</code>, then build and start the console again. \
             The API works: <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></html>\n",
        )?;
    }
    Ok(())
}

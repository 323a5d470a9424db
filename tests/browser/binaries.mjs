// The binaries that tests start.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** Path of a built binary; says how to build it where it is absent. */
export function binary(name) {
  const target = process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, "../../target");
  const folders = [process.env.SIGHTLINE_BINARIES, join(target, "debug"), join(target, "release")];
  const found = folders.filter(Boolean).map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (!found) {
    throw new Error(`no ${name} in ${folders.filter(Boolean).join(", ")}: run \`cargo xtask ui\` and \`cargo build\``);
  }
  return found;
}

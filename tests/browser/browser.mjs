// Chromium for tests: a fresh profile, quiet, and deaf to the network.
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export const SCREENSHOTS = resolve(import.meta.dirname, "../../screenshots");

export async function launch() {
  const executablePath = CANDIDATES.find((path) => path && existsSync(path));
  if (!executablePath) {
    throw new Error("no Chromium: install it (`apt-get install chromium`), or name it in CHROMIUM");
  }
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** A page that notes every error, refused resource and broken policy in `page.faults`. */
export async function open(browser, url, { theme = "light", width = 1440, height = 900, reducedMotion = "no-preference" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    if (message.type() === "error") page.faults.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.goto(url);
  return page;
}

/** What axe finds, short enough to read in a failed test. */
export async function accessibilityProblems(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)} ${node.any.map((check) => check.message).join("; ").slice(0, 200)}`));
}

export async function screenshot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

/** Waits until `probe` gives something true, and gives it back; fails with the last error or `what`. */
export async function until(probe, what, milliseconds = 10_000) {
  const deadline = Date.now() + milliseconds;
  let problem;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
    } catch (error) {
      problem = error;
    }
    if (Date.now() > deadline) throw new Error(`${what} within ${milliseconds} ms${problem ? `: ${problem.message}` : ""}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The graph page's table twin as rows. */
export const tableRows = (page) =>
  page.$$eval("table[data-edges] tbody tr", (rows) =>
    rows.map((row) => ({ source: row.dataset.source, target: row.dataset.target, requests: Number(row.dataset.requests), cells: [...row.cells].map((cell) => cell.textContent.trim()) })));

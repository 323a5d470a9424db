// The program in parts: what a first visit fetches, and what happens when a part does not come.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, until } from "./browser.mjs";
import { startConsole } from "./fixture/console.mjs";

let browser, server;
before(async () => {
  [browser, server] = await Promise.all([launch(), startConsole()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const PART = /\/assets\/(split|chunk)_/;

async function visit(path, ready, route) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const parts = [];
  page.on("request", (request) => {
    if (PART.test(request.url())) parts.push(request.url());
  });
  if (route) await page.route(PART, route);
  await page.goto(server.url + path);
  if (ready) await page.waitForSelector(ready);
  return { page, parts };
}

test("the overview stands without any other part; they come when the browser is idle", async () => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  const { page, parts } = await visit("/overview", "[data-offenders] li", async (route) => {
    await held;
    await route.continue();
  });
  release();
  await until(() => parts.some((url) => url.includes("split_control")), "the last part");
  // What is there is not fetched again.
  const fetched = parts.length;
  await page.click('nav a[href^="/requests"]');
  await page.waitForSelector("[data-grid=requests]");
  await page.click('nav a[href^="/mesh"]');
  await page.waitForSelector("[data-proxies] tbody tr");
  assert.equal(parts.length, fetched);
  await page.context().close();
});

test("every part belongs to this console and keeps its name for ever", async () => {
  const { page, parts } = await visit("/mesh", "[data-proxies] tbody tr");
  assert.ok(parts.length > 0);
  for (const url of parts) {
    assert.ok(url.startsWith(`${server.url}/assets/`), url);
    const { headers } = await fetch(url);
    assert.equal(headers.get("content-type"), "application/wasm");
    assert.match(headers.get("cache-control"), /immutable/);
  }
  await page.context().close();
});

test("a part that does not come is told, and tried again", async () => {
  const { page } = await visit("/overview", "[data-offenders] li", (route) => route.abort());
  await page.click('nav a[href^="/mesh"]');
  await page.waitForSelector("main [role=alert]");
  await page.unroute(PART);
  await page.click('nav a[href^="/config"]');
  await page.waitForSelector("table[data-objects] tbody tr");
  await page.context().close();
});

// The pages on made-up data: what they show, how they behave, who can use them.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { accessibilityProblems, launch, open, screenshot, tableRows, until } from "./browser.mjs";
import { startConsole } from "./fixture/console.mjs";

let browser, server;
before(async () => {
  [browser, server] = await Promise.all([launch(), startConsole()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const PAGES = {
  overview: ["/overview", "[data-offenders] li"],
  "graph-compare": ["/graph?cmp=3600&live=off", "[data-compared]"],
  "graph-find": ["/graph?find=not%20healthy&hide=rat%20%3E%201&idle=1", "[data-found]"],
  history: ["/history?rev=8", "[data-change] .cm-line"],
  gallery: ["/gallery", "[data-gallery] .chart"],
  graph: ["/graph", ".node"],
  "graph-edge": ["/graph?sel=edge:default/productpage-v1~default/reviews-v1", "[data-panel=edge]"],
  "graph-node": ["/graph?type=app&sel=node:default/reviews", "[data-panel=node]"],
  "graph-table": ["/graph?view=table", "table[data-edges] tbody tr"],
  config: ["/config", "table[data-objects] tbody tr"],
  editor: ["/config/VirtualService/default/reviews", ".cm-line"],
  mesh: ["/mesh", "[data-proxies] tbody tr"],
};

async function visit(path, ready, options) {
  const page = await open(browser, server.url + path, options);
  await page.waitForSelector(ready);
  return page;
}

const setText = async (page, change) => {
  const editor = page.locator(".cm-content");
  const text = change((await page.$$eval(".cm-line", (lines) => lines.map((line) => line.textContent))).join("\n"));
  await editor.click();
  await page.keyboard.press("Control+a");
  // Typed in one piece: the editor would indent each new line itself.
  await page.keyboard.insertText(text);
};

for (const theme of ["light", "dark"]) {
  for (const [name, [path, ready]] of Object.entries(PAGES)) {
    test(`${name}, ${theme}: no fault, nothing out of reach`, async () => {
      const page = await visit(path, ready, { theme });
      await page.waitForFunction(() => !document.querySelector(".spin"));
      assert.deepEqual(await accessibilityProblems(page), []);
      assert.deepEqual(page.faults, []);
      await screenshot(page, `page-${name}-${theme}`);
      await page.context().close();
    });
  }
}

describe("graph", () => {
  test("every edge of the API is in the table, with its count", async () => {
    const page = await visit("/graph?view=table&live=off", "table[data-edges] tbody tr");
    const rows = await tableRows(page);
    const { edges } = await (await fetch(`${server.url}/api/graph?type=workload&from=now-60s&to=now`)).json();
    const pairs = (list) => list.map(({ source, target }) => `${source} ${target}`).sort();
    assert.deepEqual(pairs(rows), pairs(edges));
    await page.context().close();
  });

  test("nodes are reached and walked by keyboard", async () => {
    const page = await visit("/graph", ".node");
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("data-id"));
    await page.focus('[data-id="unknown"]');
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(), "istio-system/istio-ingressgateway");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-panel=node]");
    assert.match(page.url(), /sel=node/);
    await page.keyboard.press("ArrowLeft");
    assert.equal(await focused(), "unknown");
    await page.context().close();
  });

  test("an edge is selected by a click on the canvas, Back undoes it", async () => {
    const page = await visit("/graph", ".node");
    const [from, to] = await page.evaluate(() => ["default/productpage-v1", "default/details-v1"].map((id) => {
      const box = document.querySelector(`[data-id="${id}"]`).getBoundingClientRect();
      return { x: box.x, y: box.y + box.height / 2, width: box.width };
    }));
    await page.mouse.move(to.x - 12, to.y);
    await page.mouse.click(to.x - 12, to.y);
    await page.waitForSelector("[data-panel=edge]");
    assert.ok(from.x < to.x);
    await page.goBack();
    await page.waitForSelector("[data-panel=edge]", { state: "detached" });
    await page.context().close();
  });

  test("nothing moves while only numbers change", async () => {
    const page = await visit("/graph", ".node");
    const places = () => page.$$eval(".node", (nodes) => nodes.map((node) => [node.dataset.id, node.getAttribute("transform")]).sort());
    const rate = () => page.textContent('[data-id="unknown"] .sub');
    const [first, number] = [await places(), await rate()];
    await until(async () => (await rate()) !== number, "the numbers move");
    assert.deepEqual(await places(), first);
    await page.context().close();
  });

  test("wheel and keys zoom and pan, the URL keeps it", async () => {
    const page = await visit("/graph", ".node");
    const transform = () => page.getAttribute("svg.nodes > g", "transform");
    const fitted = await until(transform, "a view");
    await page.mouse.move(500, 400);
    await page.mouse.wheel(0, -300);
    await until(async () => (await transform()) !== fitted, "zoomed");
    await until(() => /at=/.test(page.url()), "the URL follows");
    const zoomed = await transform();
    await page.focus(".stage");
    await page.keyboard.press("ArrowLeft");
    await until(async () => (await transform()) !== zoomed, "panned");
    await page.keyboard.press("0");
    await until(async () => (await transform()) === fitted, "fitted again");
    await page.context().close();
  });

  test("a lost stream shows a banner", async () => {
    const page = await open(browser, `${server.url}/mesh`);
    await page.route("**/api/graph/stream*", (route) => route.abort());
    await page.click('nav a[href="/graph"]');
    await page.waitForSelector(".banner:not(.info)");
    await page.unroute("**/api/graph/stream*");
    await page.waitForSelector(".banner:not(.info)", { state: "detached", timeout: 10_000 });
    await page.context().close();
  });
});

describe("config", () => {
  test("a problem stands at its line while typing", async () => {
    const page = await visit("/config/VirtualService/default/reviews", ".cm-line");
    await setText(page, (text) => text.replace("subset: v1", "subset: v7"));
    const problem = await page.waitForSelector("[data-problems] [data-line]");
    const line = Number(await problem.getAttribute("data-line"));
    const text = await page.$$eval(".cm-line", (lines) => lines.map((line) => line.textContent));
    assert.match(text[line - 1], /subset: v7/);
    await page.waitForSelector(".cm-lintRange-error");
    await screenshot(page, "page-editor-problem-light");
    // What breaks the schema the API server would refuse too.
    await setText(page, (text) => text.replace("subset: v7", "subset: v1\n      retry: 3"));
    await page.waitForSelector("[data-problems] .problem.error");
    await until(() => page.isDisabled("[data-review]"), "no review of a wrong field");
    await page.context().close();
  });

  test("an unknown subset is saved after a question, as kubectl would", async () => {
    const page = await visit("/config/VirtualService/default/ratings", ".cm-line");
    await setText(page, (text) => text.replace("subset: v9", "subset: v8"));
    // The old text's problem stands there until the new text has been judged.
    await page.waitForSelector('[data-problems] .problem.error:has-text("v8")');
    await page.click("[data-review]:enabled");
    const questions = [];
    page.on("dialog", (dialog) => {
      questions.push(dialog.message());
      return questions.length > 1 ? dialog.accept() : dialog.dismiss();
    });
    await page.click("[data-save]");
    await until(() => questions.length === 1, "a question");
    assert.match(questions[0], /v8/);
    await page.click("[data-save]");
    await page.waitForSelector("[data-effect]");
    await page.context().close();
  });

  test("review, save, live on every proxy; a stale save is refused with a difference", async () => {
    const [first, second] = [await visit("/config/VirtualService/default/reviews", ".cm-line"), await visit("/config/VirtualService/default/reviews", ".cm-line")];
    const half = (version, weight) => (text) => text.replace(/( +)weight: 100/, `$1weight: ${weight}\n    - destination:\n        host: reviews\n        subset: ${version}\n      weight: ${100 - weight}`);
    await setText(first, half("v3", 50));
    await first.click("[data-review]:enabled");
    await first.waitForSelector(".cm-changedLine");
    await screenshot(first, "page-editor-review-light");
    await first.click("[data-save]");
    await first.waitForSelector('[data-share="100"]');
    await screenshot(first, "page-editor-saved-light");

    await setText(second, half("v2", 90));
    await second.click("[data-review]:enabled");
    await second.click("[data-save]");
    await second.waitForSelector("[data-conflict]");
    const diff = await second.textContent(".diff-text");
    assert.match(diff, /^-.*weight: 50/m);
    assert.match(diff, /^\+.*weight: 90/m);
    assert.deepEqual(await accessibilityProblems(second), []);
    await screenshot(second, "page-editor-conflict-light");
    await second.click(".review .button:not(.primary)");
    await until(async () => /weight: 50/.test(await second.textContent(".cm-content")), "their version");
    for (const page of [first, second]) await page.context().close();
  });

  test("the graph follows", async () => {
    const page = await visit("/graph", '[data-id="default/reviews-v3"]');
    await page.waitForSelector('[data-id="default/ratings-v1"]');
    for (const theme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.waitForTimeout(1500);
      await screenshot(page, `page-graph-split-${theme}`);
    }
    await page.context().close();
  });

  test("a new object is created and deleted", async () => {
    const page = await visit("/config/new", ".cm-line");
    await page.click("[data-review]:enabled");
    await page.click("[data-save]");
    await page.waitForURL("**/config/VirtualService/default/my-service");
    page.on("dialog", (dialog) => dialog.accept());
    await page.click(".button.danger");
    await page.waitForURL(/\/config$/);
    await page.context().close();
  });
});

test("a signed-out reader may look but not change", async () => {
  const page = await visit("/config", "table[data-objects] tbody tr");
  await page.click("[aria-label='Sign out']");
  await page.waitForSelector("text=Sign in");
  await page.click("table[data-objects] tbody a");
  await page.waitForSelector(".cm-line");
  assert.ok(await page.isDisabled("[data-review]"));
  await page.context().close();
});

test("the first paint comes before the program", async () => {
  const page = await visit("/graph", ".node");
  const paint = await page.evaluate(() => performance.getEntriesByType("paint").find((entry) => entry.name === "first-contentful-paint").startTime);
  console.log(`first contentful paint after ${paint.toFixed(0)} ms`);
  assert.ok(paint > 0);
  await page.context().close();
});

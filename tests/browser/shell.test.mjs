// What all pages share, and the graph's tools: time, keys, palette, language, find and hide, playback, comparison,
// export, the history of the configuration.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { accessibilityProblems, launch, open, until } from "./browser.mjs";
import { startConsole } from "./fixture/console.mjs";

let browser, server;
before(async () => {
  [browser, server] = await Promise.all([launch(), startConsole()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function visit(path, ready, options) {
  const page = await open(browser, server.url + path, options);
  await page.waitForSelector(ready);
  return page;
}

const parameter = (page, name) => new URL(page.url()).searchParams.get(name);

describe("time", () => {
  test("a drag over a chart is the time of every page, Back undoes it", async () => {
    const page = await visit("/overview", "[data-chart] .curve");
    const box = await page.locator("[data-chart] .area").first().boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
    await page.mouse.up();
    await until(() => /^\d+$/.test(parameter(page, "from") ?? ""), "an absolute time");
    const length = parameter(page, "to") - parameter(page, "from");
    assert.ok(length > 60_000 && length < 130_000, `${length} ms`);
    assert.match(await page.getAttribute('nav a[href^="/graph"]', "href"), /from=\d+/);
    await page.goBack();
    await until(() => !parameter(page, "from"), "the time before");
    await page.context().close();
  });

  test("presets, arrows, zoom out, pause", async () => {
    const page = await visit("/overview", ".timebar");
    await page.click(".timebar .chooser summary");
    await page.click("[data-preset='3600']");
    await until(() => parameter(page, "from") === "now-1h", "an hour");
    await page.click(".timebar [title^='Zoom out']");
    await until(() => parameter(page, "from") === "now-2h", "two hours");
    await page.click(".timebar [title='Earlier']");
    await until(() => /^\d+$/.test(parameter(page, "to") ?? ""), "earlier");
    assert.equal(await page.textContent("[data-asof]").then((text) => text.trim()), "Paused");
    await page.click(".timebar [data-live]");
    await until(() => parameter(page, "from") === "now-2h", "live again");
    await page.context().close();
  });

  test("a wrong custom range says so", async () => {
    const page = await visit("/overview", ".timebar");
    await page.click(".timebar .chooser summary");
    await page.fill(".custom input >> nth=0", "2026-01-02T00:00:00");
    await page.fill(".custom input >> nth=1", "2026-01-01T00:00:00");
    await page.click(".custom [type=submit]");
    assert.match(await page.textContent(".custom [role=alert]"), /before the end/);
    await page.context().close();
  });
});

describe("keys and palette", () => {
  test("g and a letter lead to a page, ? lists all keys", async () => {
    const page = await visit("/overview", "[data-offenders]");
    await page.keyboard.press("g");
    await page.keyboard.press("g");
    await page.waitForURL("**/graph");
    await page.waitForSelector(".node");
    assert.equal(await page.title(), "Graph · Sightline");
    await page.keyboard.press("?");
    await page.waitForSelector("dialog.help[open]");
    assert.deepEqual(await accessibilityProblems(page), []);
    assert.equal((await fetch(`${server.url}/assets/NOTICES.txt`)).status, 200);
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog.help[open]", { state: "detached" });
    await page.context().close();
  });

  test("the palette finds objects, pages and actions", async () => {
    const page = await visit("/overview", "[data-offenders]");
    await page.keyboard.press("Control+k");
    await page.waitForSelector("dialog.palette[open]");
    await page.waitForFunction(() => document.querySelectorAll("#palette-list li").length > 18);
    assert.deepEqual(await accessibilityProblems(page), []);
    await page.keyboard.type("shop");
    await page.waitForFunction(() => /shop/.test(document.querySelector("#palette-list li")?.textContent ?? ""));
    await page.keyboard.press("Enter");
    await page.waitForURL("**/config/**/shop*");
    // The editor comes in a part of its own; until it is there, what is typed belongs to the page that loads.
    await page.waitForSelector(".cm-line");
    await page.keyboard.press("Control+k");
    await page.waitForSelector("dialog.palette[open]");
    await page.keyboard.type("chan");
    await page.waitForFunction(() => /Changes/.test(document.querySelector("#palette-list li")?.textContent ?? ""));
    await page.keyboard.press("Enter");
    await page.waitForURL("**/history");
    await page.context().close();
  });

  test("the language is switched and remembered", async () => {
    const page = await visit("/graph?lang=en", ".node");
    await page.click("[data-language]");
    await page.waitForFunction(() => document.documentElement.lang === "zh-CN");
    await page.waitForSelector(".node");
    assert.match(await page.textContent("nav"), /拓扑图/);
    assert.match(await page.title(), /拓扑图/);
    await page.goto(`${server.url}/overview`);
    await page.waitForSelector("[data-offenders]");
    assert.match(await page.textContent("nav"), /概览/);
    assert.deepEqual(await accessibilityProblems(page), []);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
});

describe("graph tools", () => {
  test("find marks, hide removes, a mistake is named", async () => {
    const page = await visit("/graph", ".node");
    await page.fill("[data-condition=find]", "name ~ details");
    await page.waitForSelector('.node.found[data-id="default/details-v1"]');
    await page.fill("[data-condition=hide]", "name ~ details");
    await page.waitForSelector('[data-id="default/details-v1"]', { state: "detached" });
    await page.fill("[data-condition=hide]", "healty");
    await page.waitForFunction(() => /Did you mean “healthy”/.test(document.querySelector("#hide-problem")?.textContent ?? ""));
    await page.waitForSelector('[data-id="default/details-v1"]');
    await page.fill("[data-condition=hide]", "rate >= 0");
    await page.waitForFunction(() => /Everything is hidden/.test(document.body.textContent));
    await page.context().close();
  });

  test("isolate shows callers only, the chip brings all back", async () => {
    const page = await visit("/graph?sel=node:default/productpage-v1", "[data-isolate=up]");
    await page.click("[data-isolate=up]");
    await page.waitForSelector('[data-id="default/details-v1"]', { state: "detached" });
    assert.ok(await page.isVisible('[data-id="unknown"]'));
    await page.click("[data-isolated] .chip-close");
    await page.waitForSelector('[data-id="default/details-v1"]');
    await page.context().close();
  });

  test("idle nodes appear where asked for", async () => {
    const page = await visit("/graph", ".node");
    assert.equal(await page.$('[data-id="default/catalog-v1"]'), null);
    await page.click(".tools .button:has-text('Idle nodes')");
    await page.waitForSelector('.node.idle[data-id="default/catalog-v1"]');
    await page.context().close();
  });

  test("playback moves through frames, and leaves", async () => {
    const page = await visit("/graph?from=now-30m", ".node");
    await page.click(".tools .button:has-text('Playback')");
    await page.waitForSelector("[data-playback]");
    const first = parameter(page, "moment");
    await page.focus("[data-playback] input");
    await page.keyboard.press("ArrowLeft");
    await until(() => Number(parameter(page, "moment")) < Number(first), "an earlier frame");
    await page.keyboard.press("Home");
    const asked = page.waitForRequest((request) => request.url().includes("/api/graph?"));
    await page.click("[data-playback] button >> nth=0");
    assert.match((await asked).url(), /from=2\d{3}-.*to=2\d{3}-/);
    await page.click("[data-playback] button:has-text('Leave')");
    await page.waitForSelector("[data-playback]", { state: "detached" });
    await page.context().close();
  });

  test("two times are compared", async () => {
    const page = await visit("/graph", ".node");
    await page.selectOption("[data-compare]", "3600");
    await page.waitForSelector("[data-compared]");
    assert.equal(parameter(page, "cmp"), "3600");
    await page.context().close();
  });

  test("every export is a file that says what the picture says", async () => {
    const page = await visit("/graph?live=off", ".node");
    for (const [kind, expected] of [["svg", /<svg[^]*productpage-v1/], ["json", /"default\/productpage-v1"/], ["dot", /digraph mesh[^]*"default\/productpage-v1"/], ["mmd", /^flowchart LR[^]*productpage-v1/], ["png", /PNG/]]) {
      await page.click(".tools .menu summary");
      const [file] = await Promise.all([page.waitForEvent("download"), page.click(`[data-export=${kind}]`)]);
      assert.match(file.suggestedFilename(), new RegExp(`^mesh-.*\\.${kind}$`));
      assert.match((await readFile(await file.path())).toString("latin1"), expected, kind);
    }
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test("an edge, its codes and its routes lead to the requests behind them", async () => {
    const page = await visit("/graph?sel=edge:default/productpage-v1~default/reviews-v1", "[data-panel=edge] [data-requests]");
    const link = async (selector) => Object.fromEntries(new URL(await page.getAttribute(selector, "href"), server.url).searchParams);
    assert.deepEqual(await link("[data-requests]"), { source: "default/productpage-v1", destination: "default/reviews-v1" });
    assert.equal((await link("[data-codes] a.count")).code, "200");
    assert.deepEqual(await link("[data-routes] a.count"), { source: "default/productpage-v1", destination: "default/reviews-v1", virtualService: "default/reviews", route: "all" });
    await page.goto(`${server.url}/graph?sel=edge:default/ratings-v1~default/mysql-v1`);
    await page.waitForSelector("[data-tcp]");
    await page.waitForSelector("[data-gap]");
    await page.context().close();
  });
});

describe("history", () => {
  test("a change is compared with the one before, and reverted in one click", async () => {
    const page = await visit("/history?kind=VirtualService&namespace=default&name=reviews", "[data-revisions] a.change");
    await page.click("[data-revisions] li:nth-child(2) a.change");
    await page.waitForSelector("[data-change] .cm-changedLine");
    assert.match(await page.textContent(".change-view .page-head"), /grace/);
    await page.click("[data-revert]:enabled");
    await page.waitForFunction(() => /is back at this version/.test(document.querySelector(".change-view")?.textContent ?? ""));
    await page.waitForFunction(() => document.querySelectorAll("[data-revisions] a.change").length === 4);
    assert.match(await page.textContent("[data-revisions] li:first-child"), /admin/);
    await page.context().close();
    // The mark stands on charts.
    const charts = await visit("/overview", "[data-chart] .mark");
    assert.match(await charts.getAttribute("[data-chart] .mark >> nth=0", "title"), /VirtualService default\/reviews/);
    await charts.context().close();
  });
});

test("kept requests need a user, also on this machine", async () => {
  for (const path of ["/api/requests?from=now-5m", "/api/traces?from=now-5m", "/api/requests/facets", "/api/requests/stream"]) {
    assert.equal((await fetch(server.url + path)).status, 401, path);
  }
  assert.equal((await fetch(`${server.url}/api/overview`)).status, 200);
});

test("200 % zoom and a narrow window keep everything in reach", async () => {
  const page = await visit("/overview", "[data-offenders]", { width: 720, height: 450 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${overflow} px too wide`);
  assert.deepEqual(await accessibilityProblems(page), []);
  await page.context().close();
});

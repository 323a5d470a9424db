// Requests, traces, lists, details and the mesh page on made-up data.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { accessibilityProblems, launch, open, screenshot, until } from "./browser.mjs";
import { startConsole } from "./fixture/console.mjs";

let browser, server;
before(async () => {
  [browser, server] = await Promise.all([launch(), startConsole()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const TRACE = "/traces/00000000000000000000000000abc003";
const PAGES = {
  requests: ["/requests?window=900", "[data-grid=requests] tbody tr"],
  "requests-drawer": ["/requests?window=900&sel=00000000000000000000000000abc000/0000000000001003", "[data-drawer] [data-object]"],
  explain: ["/explain?source=default/productpage-v1&host=reviews&port=9080&headers=end-user:%20jason", "[data-explained]"],
  "explain-refused": ["/explain?source=default/productpage-v1&host=reviews&method=DELETE", "[data-outcome=refuse]"],
  "explain-empty": ["/explain", "[data-explain-form]"],
  traces: ["/traces?window=900", "[data-grid=traces] tbody tr"],
  trace: [TRACE, "[data-waterfall] [data-span]"],
  "trace-span": [`${TRACE}?span=0000000000001016`, "[data-span-panel]"],
  services: ["/services", "[data-grid=services] tbody tr"],
  workloads: ["/workloads", "[data-grid=workloads] tbody tr"],
  apps: ["/apps", "[data-grid=apps] tbody tr"],
  namespaces: ["/namespaces", "[data-grid=namespaces] tbody tr"],
  namespace: ["/namespaces/default", "[data-grid=workloads] tbody tr"],
  service: ["/services/default/reviews", "[data-mini-graph] a"],
  "service-traffic": ["/services/default/reviews?tab=traffic", "[data-grid=callers] tbody tr"],
  "service-routes": ["/services/default/reviews?tab=routes", "[data-never]"],
  "workload-metrics": ["/workloads/default/reviews-v3?tab=metrics", "[data-charts] .curve"],
  "workload-proxy": ["/workloads/default/reviews-v3?tab=proxy", "[data-grid=clusters] tbody tr"],
  "workload-config": ["/workloads/default/reviews-v3?tab=config", "[data-grid=objects] tbody tr"],
  "app-requests": ["/apps/default/reviews?tab=requests&window=900", "[data-grid=requests] tbody tr"],
  mesh: ["/mesh", "[data-grid=proxies] tbody tr"],
};

async function visit(path, ready, options) {
  const page = await open(browser, server.url + path, options);
  await page.waitForSelector(ready);
  return page;
}

for (const theme of ["light", "dark"]) {
  for (const [name, [path, ready]] of Object.entries(PAGES)) {
    test(`${name}, ${theme}: no fault, nothing out of reach`, async () => {
      const page = await visit(path, ready, { theme });
      assert.deepEqual(await accessibilityProblems(page), []);
      assert.deepEqual(page.faults, []);
      assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
      await screenshot(page, `page-${name}-${theme}`);
      await page.context().close();
    });
  }
}

describe("explain", () => {
  test("from a kept request to the line of the rule that decided it", async () => {
    const page = await visit("/requests?window=900&sel=00000000000000000000000000abc000/0000000000001003", "[data-drawer] [data-explain]");
    await page.click("[data-drawer] [data-explain]");
    await page.waitForSelector("[data-explained]");
    assert.equal(await page.inputValue("[name=host]"), "reviews:9080");
    assert.equal(await page.inputValue("[name=source]"), "default/productpage-v1");
    assert.match(await page.inputValue("[name=headers]"), /^x-user: /);
    const winner = page.locator('[data-step=route] [data-won=true]');
    assert.match(await winner.textContent(), /all.*it has no conditions/);
    assert.match(await page.textContent('[data-step=route] [data-won=false]'), /header end-user is absent/);
    await winner.locator("[data-object]").click();
    await page.waitForSelector(".cm-line");
    await page.waitForURL(/config\/VirtualService\/default\/reviews\?line=19/);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test("another question is a step that Back undoes", async () => {
    const page = await visit("/explain?source=default/productpage-v1&host=reviews", "[data-explained]");
    await page.fill("[name=headers]", "end-user: jason");
    await page.selectOption("[name=method]", "POST");
    await page.click("button[data-explain]");
    await page.waitForSelector('[data-step=route] [data-won=true]:has-text("jason")');
    await page.goBack();
    await page.waitForSelector('[data-step=route] [data-won=true]:has-text("all")');
    assert.equal(await page.inputValue("[name=headers]"), "");
    await page.context().close();
  });
});

describe("requests", () => {
  const total = (page) => page.textContent(".found strong");

  test("a facet filters, leaves out, and the URL and Back keep it", async () => {
    const page = await visit("/requests?window=900", "[data-grid=requests] tbody tr");
    const all = await until(() => total(page), "a total");
    await page.click('[data-facet=code] .value[title="503"]');
    await page.waitForURL(/code=503/);
    await until(async () => (await total(page)) !== all, "fewer requests");
    const codes = async () => page.$$eval("[data-grid=requests] tbody tr td:nth-child(2)", (cells) => [...new Set(cells.map((cell) => cell.textContent))]);
    await until(async () => String(await codes()) === "503", "only 503");
    const fewer = await total(page);
    await page.goBack();
    // On a slow machine the oldest have left the window meanwhile: more than the 503, if not all of before.
    await until(async () => (await total(page)) !== fewer && (await codes()).length > 1, "all again");
    await page.hover('[data-facet=code] li:has([title="200"])');
    await page.click('[data-facet=code] li:has([title="200"]) .exclude');
    await until(async () => !(await codes()).includes("200") && (await codes()).length > 1, "all but 200");
    await page.context().close();
  });

  test("the brush of the heat map chooses time and duration", async () => {
    const page = await visit("/requests?window=900", "[data-heat] .cell");
    const box = await page.locator("[data-heat] .area").boundingBox();
    await page.mouse.move(box.x + box.width * 0.4, box.y + box.height * 0.1);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.5, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL(/minMs=/);
    const query = new URL(page.url()).searchParams;
    assert.ok(Number(query.get("from")) > 1e12 && Number(query.get("to")) > Number(query.get("from")) && query.get("maxMs"));
    await page.context().close();
  });

  test("hostile text is text, in the table, the drawer, and the file", async () => {
    const page = await visit("/requests?window=900&text=onerror", "[data-grid=requests] tbody tr");
    assert.match(await page.textContent("[data-grid=requests] tbody"), /<img src=x onerror/);
    await page.click("[data-grid=requests] tbody tr .row-link");
    await page.waitForSelector("[data-drawer] .facts");
    assert.match(await page.textContent("[data-drawer]"), /<img src=x onerror/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("[data-csv]")]);
    assert.equal(download.suggestedFilename(), "requests.csv");
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
    assert.equal(await page.locator("main img").count(), 0);
    await page.context().close();
  });

  test("a long list is drawn in part, goes on, and is walked by key", async () => {
    const page = await visit("/requests?window=1700", "[data-grid=requests] tbody tr");
    const drawn = await page.locator("[data-grid=requests] tbody tr").count();
    assert.ok(drawn < 100, `${drawn} rows drawn`);
    const rows = () => page.getAttribute("[data-grid=requests]", "aria-rowcount").then(Number);
    const first = await rows();
    await page.evaluate(() => { const wrap = document.querySelector("[data-grid=requests]").parentElement; wrap.scrollTop = wrap.scrollHeight; });
    await until(async () => (await rows()) > first, "the next page");
    await page.evaluate(() => { document.querySelector("[data-grid=requests]").parentElement.scrollTop = 0; });
    await until(async () => {
      await page.keyboard.press("j");
      return page.evaluate(() => document.activeElement?.classList.contains("row-link"));
    }, "a row has the focus");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-drawer]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("[data-drawer]", { state: "detached" });
    await page.context().close();
  });

  test("the tail grows, waits while paused, and goes on", async () => {
    const page = await visit("/requests?tail=on", "[data-grid=requests] tbody tr");
    const rows = () => page.getAttribute("[data-grid=requests]", "aria-rowcount").then(Number);
    await until(async () => (await rows()) > 4, "requests arrive");
    await page.click("[data-pause]");
    const held = await rows();
    await until(async () => /\d/.test(await page.textContent("[data-pause]")), "unseen ones are counted");
    assert.equal(await rows(), held);
    await page.click("[data-pause]");
    await until(async () => (await rows()) > held, "all are shown");
    await page.context().close();
  });

  test("a request leads to its trace, and the trace to other tools", async () => {
    const page = await visit("/requests?window=900&trace=00000000000000000000000000abc003", "[data-grid=requests] tbody tr");
    await page.click("[data-grid=requests] tbody tr .row-link");
    await page.click("[data-drawer] [data-trace]");
    await page.waitForSelector("[data-waterfall] [data-span]");
    assert.match(page.url(), /\/traces\/0+abc003\?span=/);
    assert.equal(await page.getAttribute("[data-out=Jaeger]", "href"), "http://127.0.0.1:16686/trace/00000000000000000000000000abc003");
    await page.waitForSelector("[data-kept]");
    await page.context().close();
  });
});

describe("traces", () => {
  test("a brush chooses, a dot opens", async () => {
    const page = await visit("/traces?window=900", "[data-scatter] .trace-dot");
    const box = await page.locator("[data-scatter] .area").boundingBox();
    await page.mouse.move(box.x + box.width * 0.2, box.y + 4);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 4, box.y + box.height * 0.5, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL(/minMs=/);
    await page.goBack();
    await page.click("[data-scatter] .trace-dot >> nth=0", { force: true });
    await page.waitForURL(/\/traces\/0+abc/);
    await page.context().close();
  });

  test("clocks that differ and a missing root are told, no bar is negative", async () => {
    const page = await visit(TRACE, "[data-skew]");
    const widths = await page.$$eval(".fall-bar", (bars) => bars.map((bar) => bar.getBoundingClientRect().width));
    assert.ok(widths.length === 9 && widths.every((width) => width > 0), String(widths));
    await page.goto(`${server.url}/traces/00000000000000000000000000abc007`);
    await page.waitForSelector("[data-rootless]");
    await page.context().close();
  });

  test("the tree is walked, closed and searched by key", async () => {
    const page = await visit(TRACE, "[data-waterfall] [data-span]");
    const rows = page.locator("[data-waterfall] [data-span]");
    await page.focus("[data-waterfall] .fall-link >> nth=0");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    await until(async () => (await rows.count()) === 3, "closed");
    await page.keyboard.press("ArrowRight");
    await until(async () => (await rows.count()) === 9, "open again");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-span-panel]");
    await page.fill("main input[type=search]", "ratings");
    await until(async () => (await page.locator(".fall-row.found").count()) === 2, "two are found");
    await page.keyboard.press("Enter");
    await until(async () => /span=/.test(page.url()), "the first is open");
    await page.context().close();
  });

  test("the strip zooms", async () => {
    const page = await visit(TRACE, "[data-minimap] svg");
    const box = await page.locator("[data-minimap] .strip").boundingBox();
    await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + 20, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL(/zoom=/);
    await page.click("[data-minimap] .whole");
    await until(() => !/zoom=/.test(page.url()), "the whole trace");
    await page.context().close();
  });
});

describe("lists and details", () => {
  test("sorted, filtered, with other columns; a row is a link", async () => {
    const page = await visit("/workloads", "[data-grid=workloads] tbody tr");
    await page.click("[data-column=name]");
    await page.waitForURL(/sort=name/);
    const names = () => page.$$eval("[data-grid=workloads] tbody .row-link", (links) => links.map((link) => link.textContent));
    await until(async () => { const list = await names(); return String(list) === String([...list].sort()); }, "in order");
    await page.fill("main input[type=search]", "reviews v2");
    await until(async () => String(await names()) === "reviews-v2", "one left");
    await page.click(".chooser.columns summary");
    await page.click(".chooser.columns .check:has-text('p99')");
    await page.waitForSelector("[data-column=p99]");
    await page.keyboard.press("Escape");
    await page.click("[data-grid=workloads] tbody .row-link");
    await page.waitForURL(/\/workloads\/default\/reviews-v2/);
    await page.context().close();
  });

  test("a rule that never matched is told, a cluster's JSON is shown", async () => {
    const page = await visit("/services/default/reviews?tab=routes", "[data-never]");
    assert.match(await page.textContent("[data-grid=routes]"), /never matched/);
    await page.goto(`${server.url}/workloads/default/reviews-v3?tab=proxy`);
    await page.waitForSelector("[data-grid=clusters] tbody tr");
    await page.click("[data-grid=clusters] tbody .row-link >> nth=0");
    await until(async () => /LEAST_REQUEST/.test(await page.textContent(".json-panel")), "its JSON");
    await page.context().close();
  });

  test("in Chinese", async () => {
    const page = await visit("/requests?window=900&lang=zh", "[data-grid=requests] tbody tr");
    assert.match(await page.textContent(".found strong"), /条保留的请求/);
    await page.context().close();
  });
});

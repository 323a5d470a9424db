// Journeys through a real mesh with real collectors: take a change back, and follow a request into its trace.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessibilityProblems, launch, open, tableRows, until } from "./browser.mjs";
import { startCollectors } from "./collectors.mjs";
import { startDemo } from "./demo.mjs";

const EDITOR = "/config/VirtualService/default/reviews";
const GATEWAY = "istio-system/istio-ingressgateway";
// Its last span, the question for the others' spans, the export.
const ARRIVES = 30_000;
const SHIFTS = 15_000;

let browser, collectors, demo;
before(async () => {
  [browser, collectors] = await Promise.all([launch(), startCollectors()]);
  demo = await startDemo(["--otlp-endpoint", collectors.jaeger.endpoint, "--zipkin-endpoint", collectors.zipkin.endpoint]);
});
after(async () => {
  await browser?.close();
  await demo?.stop();
  await collectors?.stop();
});

const visit = async (path, ready, options) => {
  const page = await open(browser, demo.url + path, options);
  await page.waitForSelector(ready, { timeout: 30_000 });
  return page;
};

/** Which version of the reviews one reader is shown. */
async function versionShown() {
  const response = await fetch(`${demo.gateway}/productpage`, { headers: { host: "shop.example.com" } });
  return (await response.text()).match(/reviews served by version (v\d)/)?.[1];
}

const allFrom = async (version, times = 12) => {
  for (let at = 0; at < times; at += 1) if ((await versionShown()) !== version) return false;
  return true;
};

test("an edit is taken back from the history, and the traffic returns", async () => {
  const page = await visit(EDITOR, ".cm-line");
  const text = (await page.$$eval(".cm-line", (lines) => lines.map((line) => line.textContent))).join("\n");
  await page.click(".cm-content");
  await page.keyboard.press("Control+a");
  let at = 0;
  await page.keyboard.insertText(text.replace(/weight: \d+/g, () => `weight: ${[0, 100][at++]}`));
  await page.click("[data-review]:enabled");
  await page.waitForSelector("[data-diff] .cm-line");
  await page.click("[data-save]");
  await until(() => allFrom("v3"), "every reader is shown v3", SHIFTS);
  // The browser's own editing command gives what replaces a selection the style of what was there, as an attribute,
  // which the policy refuses. The editor does without it, so only what comes after counts.
  page.faults.length = 0;

  await page.goto(`${demo.url}/history?kind=VirtualService&namespace=default&name=reviews`);
  await page.waitForSelector("[data-revisions] li:nth-child(2)");
  assert.match(await page.textContent("[data-revisions] li:nth-child(1)"), /changed/);
  await page.click("[data-revisions] li:nth-child(2) a");
  await page.waitForSelector("[data-change] .cm-line");
  await page.click("[data-revert]:enabled");
  await page.waitForSelector(".banner.info[role=status]");
  await until(() => allFrom("v1"), "every reader is shown v1 again", SHIFTS);
  await until(async () => (await page.$$("[data-revisions] li")).length >= 3, "the history tells of it", SHIFTS);

  await page.goto(`${demo.url}/graph?view=table&window=60`);
  await page.waitForSelector("table[data-edges] tbody tr");
  const requests = async (target) => (await tableRows(page)).find((row) => row.target === target)?.requests ?? 0;
  const before = await requests("default/reviews-v1");
  await until(async () => (await requests("default/reviews-v1")) > before, "v1 counts again", SHIFTS);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a request found in Requests opens its trace, which Jaeger and Zipkin have whole", async () => {
  const page = await visit(`/requests?source=${encodeURIComponent(GATEWAY)}&code=200&window=600`, "[data-grid=requests] tbody tr a");
  await page.click("[data-grid=requests] tbody tr a");
  await page.waitForSelector("[data-drawer] [data-trace]");
  await page.click("[data-drawer] [data-trace]");
  await page.waitForURL(/\/traces\/[0-9a-f]{32}/);
  const [, trace] = page.url().match(/\/traces\/([0-9a-f]{32})/);
  const shown = async () => {
    await page.reload();
    await page.waitForSelector("[data-waterfall] [data-span]");
    return page.$$eval("[data-waterfall] [data-span]", (rows) => rows.map((row) => row.dataset.span).sort());
  };
  let known;
  await until(async () => {
    known = { here: await shown(), jaeger: (await collectors.jaeger.spanIds(trace)).sort(), zipkin: (await collectors.zipkin.spanIds(trace)).sort() };
    // Gateway; productpage in, and out at least twice; details in; reviews in.
    return known.here.length >= 6 && String(known.here) === String(known.jaeger) && String(known.here) === String(known.zipkin);
  }, `trace ${trace} is whole everywhere`, ARRIVES).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(known)}`));
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

const PAGES = {
  overview: ["/overview", "[data-offenders]"],
  services: ["/services", "[data-grid=services] tbody tr"],
  service: ["/services/default/reviews", "[data-mini-graph] a"],
  "service-metrics": ["/services/default/reviews?tab=metrics", "[data-charts] .curve"],
  "service-traffic": ["/services/default/reviews?tab=traffic", "[data-grid=callers] tbody tr"],
  "service-routes": ["/services/default/reviews?tab=routes", "main"],
  workloads: ["/workloads", "[data-grid=workloads] tbody tr"],
  "workload-proxy": ["/workloads/default/productpage-v1?tab=proxy", "[data-grid=clusters] tbody tr"],
  "workload-config": ["/workloads/default/reviews-v1?tab=config", "[data-grid=objects] tbody tr"],
  apps: ["/apps", "[data-grid=apps] tbody tr"],
  namespaces: ["/namespaces", "[data-grid=namespaces] tbody tr"],
  namespace: ["/namespaces/default", "[data-grid=workloads] tbody tr"],
  requests: ["/requests?window=600", "[data-grid=requests] tbody tr"],
  traces: ["/traces?window=600", "[data-grid=traces] tbody tr"],
  history: ["/history", "[data-revisions] li"],
  config: ["/config", "table[data-objects] tbody tr"],
};

for (const theme of ["light", "dark"]) {
  test(`with real data every page is within everyone's reach, ${theme}`, async () => {
    for (const [name, [path, ready]] of Object.entries(PAGES)) {
      const page = await visit(path, ready, { theme });
      await page.waitForFunction(() => !document.querySelector(".spin, .skeleton"));
      assert.deepEqual(await accessibilityProblems(page), [], name);
      assert.deepEqual(page.faults, [], name);
      await page.context().close();
    }
  });
}

// `node figures.mjs`: the console's figures in a headless Chromium, as one JSON object. `cargo xtask bench --part console`
// runs it; SIGHTLINE_BINARIES has the binaries.
import { launch, open, screenshot, until } from "./browser.mjs";
import { startDemo } from "./demo.mjs";
import { startConsole } from "./fixture/console.mjs";

const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
};

/** From input to the next paint, as the browser itself tells (Event Timing); what is faster than it reports is 8 ms. */
async function watchInteractions(page) {
  await page.addInitScript(() => {
    globalThis.interactions = new Map();
    new PerformanceObserver((list) => {
      for (const { interactionId, duration } of list.getEntries()) {
        if (interactionId) globalThis.interactions.set(interactionId, Math.max(duration, globalThis.interactions.get(interactionId) ?? 0));
      }
    }).observe({ type: "event", durationThreshold: 16, buffered: true });
  });
}

/** What people do, on every page: each step is one interaction and what it must bring. */
const STEPS = [
  ["/graph", ".node", [['[data-id="default/productpage-v1"]', "[data-panel=node]"], ['[data-id="default/reviews-v1"]', "[data-panel=node]"]]],
  ["/overview", "[data-chart] .curve", [[".timebar .chooser summary", "[data-preset]"], ["[data-preset='3600']", "[data-chart] .curve"]]],
  ["/services", "[data-grid=services] tbody tr", [["[data-grid=services] thead button >> nth=1", "[data-grid=services] tbody tr"], ["[data-grid=services] tbody tr a >> nth=0", "h1"]]],
  ["/requests?window=600", "[data-grid=requests] tbody tr", [["[data-facet=code] .value >> nth=0", ".chip.removable"], ["[data-grid=requests] tbody tr a >> nth=0", "[data-drawer]"]]],
  ["/traces?window=600", "[data-grid=traces] tbody tr", [["[data-grid=traces] tbody tr a >> nth=0", "[data-waterfall] [data-span]"]]],
  ["/config", "table[data-objects] tbody tr", [["table[data-objects] tbody tr a >> nth=0", ".cm-line"]]],
  ["/mesh", "[data-grid=proxies] tbody tr", [["[data-grid=proxies] thead button >> nth=1", "[data-grid=proxies] tbody tr"]]],
];
const NAVIGATION = ["/graph", "/requests", "/services", "/workloads", "/apps", "/namespaces", "/traces", "/config", "/history", "/mesh", "/overview"];

async function interactions(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await watchInteractions(page);
  const durations = [];
  let count = 0;
  const act = async (selector, ready) => {
    await page.click(selector, { timeout: 15_000 });
    count += 1;
    await page.waitForSelector(ready, { timeout: 15_000 });
  };
  const collect = async () => {
    await page.waitForTimeout(200);
    durations.push(...(await page.evaluate(() => { const all = [...globalThis.interactions.values()]; globalThis.interactions.clear(); return all; })));
  };
  for (let round = 0; round < 3; round += 1) {
    for (const [path, ready, steps] of STEPS) {
      await page.goto(url + path);
      await page.waitForSelector(ready, { timeout: 30_000 });
      for (const [selector, brings] of steps) await act(selector, brings);
      await collect();
    }
    for (const path of NAVIGATION) await act(`nav a[href^="${path}"]`, `nav a[href^="${path}"][aria-current=page]`);
    await page.keyboard.press("Control+k");
    await page.keyboard.type("reviews");
    count += 8;
    await collect();
  }
  while (durations.length < count) durations.push(8);
  await context.close();
  return { count, p50: quantile(durations, 0.5), p95: quantile(durations, 0.95), worst: quantile(durations, 1) };
}

/** Intervals between frames while the picture is panned and zoomed by its keys and the wheel. */
async function frames(page, act) {
  await page.evaluate(() => {
    globalThis.frames = [];
    const note = (at) => { globalThis.frames.push(at); globalThis.noting = requestAnimationFrame(note); };
    globalThis.noting = requestAnimationFrame(note);
  });
  await act();
  const times = await page.evaluate(() => { cancelAnimationFrame(globalThis.noting); return globalThis.frames; });
  const gaps = times.slice(1).map((at, n) => at - times[n]);
  const seconds = (times.at(-1) - times[0]) / 1000;
  return { fps: gaps.length / seconds, p95: quantile(gaps, 0.95) };
}

async function drag(page, times) {
  const { x, y, width, height } = await page.locator(".stage").boundingBox();
  const [cx, cy] = [x + width / 2, y + height / 2];
  await page.mouse.move(cx, cy);
  await page.mouse.down();
  for (let n = 1; n <= times; n += 1) {
    await page.mouse.move(cx + 150 * Math.sin(n / 9), cy + 90 * Math.sin(n / 6));
  }
  await page.mouse.up();
}

async function graph(browser, services, edges) {
  const server = await startConsole({ services, edges });
  try {
    const began = performance.now();
    const page = await open(browser, `${server.url}/graph?live=off`);
    await until(async () => (await page.$$(".node")).length === services, "every node", 120_000);
    const shown = performance.now() - began;
    await page.waitForTimeout(500);
    await screenshot(page, `figure-graph-${services}`);
    const fit = await page.getAttribute("svg.nodes > g", "transform");
    const far = await frames(page, () => drag(page, 120));
    await page.locator(".stage").hover();
    for (let n = 0; n < 14; n += 1) await page.mouse.wheel(0, -240);
    const near = await frames(page, () => drag(page, 120));
    await page.context().close();
    return { services, edges, shown, zoom: Number(fit.match(/scale\(([\d.]+)/)?.[1]), far, near };
  } finally {
    await server.stop();
  }
}

const browser = await launch();
const figures = {};
try {
  const demo = await startDemo();
  try {
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    figures.interactions = await interactions(browser, demo.url);
  } finally {
    await demo.stop();
  }
  figures.graphs = [await graph(browser, 300, 600), await graph(browser, 2000, 6000)];
} finally {
  await browser.close();
}
console.log(JSON.stringify(figures));

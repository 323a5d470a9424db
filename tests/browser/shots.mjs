// `node shots.mjs URL PREFIX`: screenshots of every page in both themes.
import { launch, open, screenshot } from "./browser.mjs";
const [url, prefix = ""] = process.argv.slice(2);
const browser = await launch();
const pages = { graph: "/graph", "graph-edge": "/graph?sel=edge:default/productpage-v1~default/reviews-v1", "graph-node": "/graph?type=app&sel=node:default/reviews", "graph-versioned": "/graph?type=versionedApp&label=p95", "graph-service": "/graph?type=service&label=errors", "graph-table": "/graph?view=table", config: "/config", editor: "/config/VirtualService/default/reviews", mesh: "/mesh" };
const only = process.env.ONLY?.split(",");
for (const theme of ["light", "dark"]) {
  for (const [name, path] of Object.entries(pages)) {
    if (only && !only.includes(name)) continue;
    const page = await open(browser, url + path, { theme });
    await page.waitForTimeout(2500);
    await screenshot(page, `${prefix}${name}-${theme}`);
    if (page.faults.length) console.log(name, theme, page.faults);
    await page.context().close();
  }
}
await browser.close();

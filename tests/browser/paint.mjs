// node paint.mjs URL [TIMES]: median milliseconds to the first contentful paint, each time in a fresh browser.
import { launch, open, until } from "./browser.mjs";

const [url, times = "5"] = process.argv.slice(2);
const paints = [];
for (let i = 0; i < Number(times); i++) {
  const browser = await launch();
  const page = await open(browser, url);
  const first = () => performance.getEntriesByType("paint").find((entry) => entry.name === "first-contentful-paint")?.startTime;
  paints.push(await until(() => page.evaluate(first), "a first paint"));
  await browser.close();
}
paints.sort((a, b) => a - b);
console.log(paints[Math.floor(paints.length / 2)].toFixed(0));

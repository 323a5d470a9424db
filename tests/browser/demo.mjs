// A real demo: the one that the environment names, or one of its own on other ports.
//
// SIGHTLINE_CONSOLE_URL, SIGHTLINE_GATEWAY_URL and SIGHTLINE_DATA (the data folder) name a running demo that is
// fresh: its sample configuration untouched, its history as old as its processes. Otherwise SIGHTLINE_BINARIES (or
// the target folder) has the binaries to start one.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "./binaries.mjs";

const READY_WITHIN = 60_000;
const COUNTERS_WITHIN = 10_000;

/** `flags` are the demo's own; with them it is always a new one. */
export async function startDemo(flags = []) {
  const { SIGHTLINE_CONSOLE_URL: url, SIGHTLINE_GATEWAY_URL: gateway, SIGHTLINE_DATA: data } = process.env;
  if (url && gateway && data && !flags.length) {
    return { url, gateway, data, stop: async () => {} };
  }
  const folder = mkdtempSync(join(tmpdir(), "sightline-browser-"));
  const port = (offset) => `127.0.0.1:${24_000 + offset}`;
  const child = spawn(binary("sightline"), [
    "demo", "--data", folder, "--rps", "20", "--address-base", "127.77.0.0/16",
    "--gateway-address", port(80), "--console-address", port(1), "--api-address", port(2),
    "--discovery-address", port(12), "--query-address", port(19), "--metrics-address", port(14), ...flags,
  ], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const stop = async () => {
    const ended = new Promise((resolve) => (child.exitCode === null ? child.on("exit", resolve) : resolve()));
    child.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const ready = new Promise((resolve, reject) => {
    const listen = (chunk) => {
      output += chunk;
      const found = output.match(/^ready gateway=(\S+) console=(\S+)/m);
      if (found) resolve(found);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("exit", (code) => reject(new Error(`the demo ended with ${code}:\n${output}`)));
    setTimeout(() => reject(new Error(`the demo is not ready within ${READY_WITHIN} ms:\n${output}`)), READY_WITHIN).unref();
  });
  try {
    const [, gatewayUrl, consoleUrl] = await ready;
    return { url: consoleUrl, gateway: gatewayUrl, data: folder, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Where each process serves its counters, by its name: the applications and the load generator. */
export async function counterAddresses(data, names) {
  const file = join(data, "status.json");
  const deadline = Date.now() + COUNTERS_WITHIN;
  for (;;) {
    const { addresses = [] } = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    const counters = addresses.filter(([name]) => name.startsWith("counters ")).map(([name, url]) => [name.slice("counters ".length), url]);
    const found = Object.fromEntries(counters);
    const missing = names.filter((name) => !found[name]);
    if (!missing.length) return found;
    if (Date.now() > deadline) throw new Error(`${file} has no counters of ${missing.join(", ")}: does the demo run?`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Sum of a counter over its series. */
export async function counter(address, name) {
  const text = await (await fetch(address)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  if (!lines.length) throw new Error(`${address} has no ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

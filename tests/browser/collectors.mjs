// Real collectors of traces, made by tests/collectors/build.sh: Jaeger from its Go module, Zipkin from Maven Central.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";

const folder = process.env.SIGHTLINE_COLLECTORS ?? join(homedir(), ".cache/sightline/collectors");
// A Java server starts slowly on a busy machine.
const START = 180_000;

function program(name) {
  const file = join(folder, "bin", name);
  if (!existsSync(file)) throw new Error(`${file} is missing; run tests/collectors/build.sh (needs Go and Maven)`);
  return file;
}

const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

async function start(command, args, env, query, ready) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: "ignore" });
  const ended = new Promise((resolve) => { child.on("exit", resolve); child.on("error", resolve); });
  const stop = async () => {
    child.kill();
    await ended;
  };
  try {
    await until(async () => (await fetch(query + ready)).ok, `${command} answers`, START);
  } catch (error) {
    await stop();
    throw error;
  }
  return { query, stop };
}

async function jaeger() {
  const [spans, query] = [await freePort(), await freePort()];
  const others = ["admin.http", "collector.grpc-server", "collector.http-server", "collector.otlp.http", "query.grpc-server"];
  const args = [`--collector.otlp.grpc.host-port=127.0.0.1:${spans}`, `--query.http-server.host-port=127.0.0.1:${query}`];
  for (const name of others) args.push(`--${name}.host-port=127.0.0.1:${await freePort()}`);
  const started = await start(program("jaeger"), args, {}, `http://127.0.0.1:${query}`, "/api/services");
  const spanIds = async (trace) => {
    const { data } = await (await fetch(`${started.query}/api/traces/${trace}`)).json();
    return (data?.[0]?.spans ?? []).map((span) => span.spanID);
  };
  return { ...started, endpoint: `http://127.0.0.1:${spans}`, spanIds };
}

async function zipkin() {
  const port = await freePort();
  const env = { QUERY_PORT: String(port), SERVER_ADDRESS: "127.0.0.1" };
  const started = await start("java", ["-Xmx256m", "-jar", program("zipkin.jar")], env, `http://127.0.0.1:${port}`, "/health");
  const spanIds = async (trace) => {
    const answer = await fetch(`${started.query}/api/v2/trace/${trace}`);
    return answer.ok ? (await answer.json()).map((span) => span.id) : [];
  };
  return { ...started, endpoint: `${started.query}/api/v2/spans`, spanIds };
}

/** Both, with the ids of the spans that each has of a trace. */
export async function startCollectors() {
  const [first, second] = await Promise.all([jaeger(), zipkin()]);
  return { jaeger: first, zipkin: second, stop: () => Promise.all([first.stop(), second.stop()]) };
}

// One line a test, the reason of each failure, and the sum that `cargo xtask test` reads.
export default async function* reporter(source) {
  let passed = 0;
  let failed = 0;
  for await (const { type, data } of source) {
    // A suite is told after its tests; it counts only when it fails by itself.
    const suite = data?.details?.type === "suite";
    if (type === "test:pass" && !suite) {
      passed += 1;
      yield `${"  ".repeat(data.nesting)}ok ${data.name} (${(data.details.duration_ms / 1000).toFixed(1)} s)\n`;
    } else if (type === "test:fail" && !(suite && data.details.error?.failureType === "subtestsFailed")) {
      failed += 1;
      const { error } = data.details;
      yield `${"  ".repeat(data.nesting)}FAILED ${data.name}\n${error?.cause?.stack ?? error?.stack ?? error}\n`;
    } else if (type === "test:stdout") {
      yield data.message;
    }
  }
  yield `\n${passed} passed, ${failed} failed\n`;
}

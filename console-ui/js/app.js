// Entry of the page: starts the WebAssembly pages and offers them the islands that stay JavaScript.
import init from "bindings/console_ui.js";
import wasm from "bindings/console_ui_bg.wasm";

const nonce = document.querySelector('meta[name="csp-nonce"]')?.content ?? "";

// The editor is large and needed on one page only: it is fetched when that page opens.
globalThis.sightlineIslands = {
  openEditor: async (host, text, options) => {
    const { open } = await import("./editor.js");
    return open(host, text, options, nonce);
  },
  openDiff: async (host, before, after) => {
    const { diff } = await import("./editor.js");
    return diff(host, before, after, nonce);
  },
};

init({ module_or_path: wasm }).catch((error) => {
  const boot = document.querySelector(".boot-text");
  if (boot) {
    boot.textContent = `The console could not start in this browser: ${error}`;
  }
});

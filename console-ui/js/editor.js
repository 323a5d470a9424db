// The YAML editor and the diff view: CodeMirror behind four functions.
import { EditorState, Compartment } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { indentWithTab } from "@codemirror/commands";
import { HighlightStyle, syntaxHighlighting, indentUnit } from "@codemirror/language";
import { yaml } from "@codemirror/lang-yaml";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { unifiedMergeView } from "@codemirror/merge";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";

// Colours come from the page's tokens, so that both themes need no second definition here.
const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", backgroundColor: "var(--surface)", color: "var(--text)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px" },
  ".cm-content": { caretColor: "var(--text)", padding: "8px 0" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--text-faint)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selection)",
  },
  ".cm-matchingBracket": { backgroundColor: "var(--selection)", outline: "none" },
  ".cm-foldPlaceholder": { backgroundColor: "var(--hover)", border: "none", color: "var(--text-soft)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", border: "1px solid var(--line)", borderRadius: "6px", color: "var(--text)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--text)" },
  ".cm-diagnostic": { fontFamily: "var(--sans)", fontSize: "12px", padding: "6px 10px" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--fail) 1px", textUnderlineOffset: "3px" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warn) 1px", textUnderlineOffset: "3px" },
  ".cm-lintRange-info": { backgroundImage: "none", textDecoration: "underline wavy var(--info) 1px", textUnderlineOffset: "3px" },
  ".cm-changedLine": { backgroundColor: "var(--added) !important" },
  ".cm-deletedChunk": { backgroundColor: "var(--removed) !important", paddingLeft: "6px" },
  ".cm-changedText": { background: "var(--added-strong) !important" },
  ".cm-deletedText": { background: "var(--removed-strong) !important" },
  ".cm-collapsedLines": { background: "var(--hover)", color: "var(--text-soft)", padding: "4px 12px" },
  // The marks that the library puts around the text are in none of our fonts.
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: "'…' !important" },
});

const highlight = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--code-key)" },
  { tag: [tags.string, tags.content], color: "var(--code-text)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: "var(--code-number)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--text-faint)", fontStyle: "italic" },
  { tag: [tags.separator, tags.punctuation, tags.meta], color: "var(--text-faint)" },
]);

const common = (nonce) => [
  basicSetup,
  yaml(),
  indentUnit.of("  "),
  theme,
  syntaxHighlighting(highlight),
  EditorView.cspNonce.of(nonce),
];

export function open(host, text, options, nonce) {
  const editable = new Compartment();
  const view = new EditorView({
    parent: host,
    state: EditorState.create({
      doc: text,
      extensions: [
        // Escape then Tab leaves the editor: Tab is not a trap for the keyboard.
        keymap.of([{ key: "Mod-s", preventDefault: true, run: () => (options.onSave(), true) }, indentWithTab]),
        common(nonce),
        lintGutter(),
        EditorView.contentAttributes.of({ "aria-label": options.label }),
        editable.of(EditorState.readOnly.of(options.readOnly)),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) {
            options.onChange(update.state.doc.toString());
          }
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    replace: (next) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } }),
    problems: (list) => view.dispatch(setDiagnostics(view.state, list.map((problem) => diagnostic(view.state.doc, problem)))),
    reveal: (line) => {
      const at = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
      view.dispatch({ selection: { anchor: at.from }, effects: EditorView.scrollIntoView(at.from, { y: "center" }) });
      view.focus();
    },
    readOnly: (flag) => view.dispatch({ effects: editable.reconfigure(EditorState.readOnly.of(flag)) }),
    close: () => view.destroy(),
  };
}

function diagnostic(doc, problem) {
  const line = doc.line(Math.min(Math.max(problem.line || 1, 1), doc.lines));
  const indent = line.text.length - line.text.trimStart().length;
  const column = problem.column ? Math.min(problem.column - 1, line.length) : indent;
  return {
    from: line.from + column,
    to: Math.max(line.to, line.from + column),
    severity: problem.severity,
    source: problem.code,
    message: problem.remedy ? `${problem.message}\n${problem.remedy}` : problem.message,
  };
}

export function diff(host, before, after, nonce) {
  const view = new EditorView({
    parent: host,
    state: EditorState.create({
      doc: after,
      extensions: [
        common(nonce),
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        EditorView.contentAttributes.of({ "aria-label": "Changes", tabindex: "0" }),
        unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged: { margin: 3, minSize: 6 } }),
      ],
    }),
  });
  return { close: () => view.destroy() };
}

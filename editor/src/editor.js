// An editor of one text in a page.
import { baseKeymap, chainCommands } from "prosemirror-commands";
import { dropCursor } from "prosemirror-dropcursor";
import { gapCursor } from "prosemirror-gapcursor";
import { history, redo, undo } from "prosemirror-history";
import { undoInputRule } from "prosemirror-inputrules";
import { keymap } from "prosemirror-keymap";
import { splitListItem } from "prosemirror-schema-list";
import { EditorState, Plugin } from "prosemirror-state";
import { Decoration, DecorationSet, EditorView } from "prosemirror-view";
import { insertBreak, linkAt, textRules } from "./commands.js";
import { element, newId } from "./dom.js";
import { LinkBubble } from "./link_bubble.js";
import { LinkDialog } from "./link_dialog.js";
import { completeLink, isAllowedLink } from "./links.js";
import { inlineSlice, MAX_PASTED_HTML, MAX_PASTED_TEXT, PasteParser, textSlice, withoutStyles } from "./paste.js";
import { readTree, SCHEMAS, writeTree } from "./schema.js";
import { enterInTable, goToNextCell, isInTable, leaveTable, tablePlugins } from "./tables.js";
import { Toolbar, toolbarItems } from "./toolbar.js";

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const FROM_OUTSIDE = "from_outside";

/**
 * Put an editor into an element.
 *
 * @param {HTMLElement} place an empty element
 * @param {object} options
 * @param {object} [options.tree] the text, as mailer/domain/text_tree makes it
 * @param {"text"|"line"|"note"} [options.kind] a whole text; one line, such as a headline; one line with links
 * @param {string} options.lang the language of the text, a BCP 47 tag
 * @param {string} options.label what the text is, shown above it
 * @param {Object<string, string>} options.texts the words of the editor, from templates/web/staff/_editor.html
 * @param {boolean} [options.editable]
 * @param {() => void} [options.onChange] called after each change that somebody made
 * @param {(file: File) => void} [options.onPicture] called for a picture that was pasted or dropped
 * @returns {{tree: () => object, setTree: (tree: object) => void, setEditable: (editable: boolean) => void,
 *   focus: () => void, words: () => number}}
 */
export function createEditor(place, options) {
  const { kind = "text", lang, label, texts, onChange, onPicture } = options;
  let { editable = true } = options;
  const schema = SCHEMAS[kind];
  const rightToLeft = isRightToLeft(lang);
  const dialog = schema.marks.link ? new LinkDialog(texts) : null;
  const openLink = (state, dispatch, view) => {
    if (state.selection.$from.parent.type.spec.code) return false;
    if (dispatch) dialog.open(view);
    return true;
  };
  const [labelId, fieldId] = [newId("editor-label"), newId("editor-text")];
  const groups = toolbarItems(schema, kind, openLink);
  const toolbar = new Toolbar({ groups, texts, controls: fieldId });
  const bubble = dialog && new LinkBubble({ texts, change: (view) => dialog.open(view), remove: removeLink });
  const status = element("p", { class: "editor-status", role: "status" });
  const field = element("div", { class: "editor-field" });
  const title = element("span", { id: labelId, class: "label" }, label);
  title.addEventListener("click", () => view.focus());
  const head = element("div", { class: "editor-head" }, title, toolbar.bar);
  const frame = element("div", { class: `editor editor-${kind}` }, head, field, ...(bubble ? [bubble.box] : []), status);
  place.append(frame);
  const say = (message) => {
    status.textContent = message;
  };

  const view = new EditorView(field, {
    state: EditorState.create({
      doc: readTree(schema, options.tree),
      plugins: [
        textRules(schema),
        keymap(keys(schema, kind, groups, () => toolbar.focus())),
        keymap(baseKeymap),
        history(),
        ...(kind === "text" ? [...tablePlugins(), dropCursor({ color: false, class: "editor-drop" }), gapCursor()] : []),
        directions(),
      ],
    }),
    editable: () => editable,
    attributes: () => ({
      id: fieldId,
      role: "textbox",
      lang,
      dir: rightToLeft ? "rtl" : "ltr",
      spellcheck: "true",
      "aria-labelledby": labelId,
      "aria-multiline": String(kind === "text"),
      ...(editable ? {} : { "aria-readonly": "true", tabindex: "0" }),
    }),
    clipboardParser: new PasteParser(schema, () => say(texts.pictures_left)),
    clipboardTextParser: (text, $context) => textSlice(schema, beginning(text, MAX_PASTED_TEXT), $context.marks()),
    transformPastedHTML: (html) => withoutStyles(beginning(html, MAX_PASTED_HTML)),
    transformPasted: (slice, { state }) => {
      if (kind !== "text") return inlineSlice(slice, schema.text(" "));
      const first = slice.content.firstChild?.type.spec.tableRole;
      return isInTable(state) && !first ? inlineSlice(slice, schema.nodes.hard_break.create()) : slice;
    },
    handlePaste: (view, event) => takePicture(event.clipboardData) || linkSelection(view, event.clipboardData),
    handleDrop: (view, event) => takePicture(event.dataTransfer),
    dispatchTransaction(transaction) {
      let next = view.state.apply(transaction);
      if (transaction.getMeta("paste")) {
        try {
          next.doc.check();
        } catch {
          say(texts.not_pasted); // somebody's imitation of our own clipboard
          return;
        }
      }
      view.updateState(next);
      toolbar.update();
      bubble?.update();
      if (!transaction.docChanged) return;
      if (!transaction.getMeta("paste")) say("");
      if (!transaction.getMeta(FROM_OUTSIDE)) onChange?.();
    },
  });
  toolbar.attach(view);
  bubble?.attach(view);
  keepBelow(document.querySelector(".head"), toolbar.bar);

  function beginning(pasted, length) {
    if (pasted.length > length) say(texts.pasted_in_part);
    return pasted.slice(0, length);
  }

  // A picture that comes alone. With text, as from Word, it is only an image of that text.
  function takePicture(data) {
    // Not every browser knows the type of a HEIC picture. The server says what it cannot take.
    const file = [...(data?.files ?? [])].find(({ type, name }) => type.startsWith("image/") || /\.hei[cf]$/i.test(name));
    if (!file) return false;
    const html = data.getData("text/html");
    if (html && !/^(?:\s|<(?!img|a\b)[^>]*>)*<img[^>]*>(?:\s|<[^>]*>)*$/i.test(html)) return false;
    if (onPicture) onPicture(file);
    else say(texts.pictures_left);
    return true;
  }

  function linkSelection(view, data) {
    const { state } = view;
    const { link } = schema.marks;
    const { from, to, empty, $from, $to } = state.selection;
    const typed = data?.getData("text/plain").trim() ?? "";
    const href = completeLink(typed);
    if (!link || typed.length > 2000 || !isAllowedLink(href) || !$from.sameParent($to)) return false;
    const mark = link.create({ href });
    const words = schema.text(typed, [...$from.marks().filter(({ type }) => type !== link), mark]);
    const tr = empty ? state.tr.replaceWith(from, to, words) : state.tr.removeMark(from, to, link).addMark(from, to, mark);
    view.dispatch(tr.removeStoredMark(link).scrollIntoView().setMeta("paste", true));
    return true;
  }

  return {
    tree: () => writeTree(view.state.doc),
    setTree(tree) {
      const doc = readTree(schema, tree);
      const start = view.state.doc.content.findDiffStart(doc.content);
      if (start === null) return;
      let { a, b } = view.state.doc.content.findDiffEnd(doc.content);
      const overlap = start - Math.min(a, b);
      if (overlap > 0) [a, b] = [a + overlap, b + overlap];
      const tr = view.state.tr.replace(start, a, doc.slice(start, b));
      view.dispatch(tr.setMeta("addToHistory", false).setMeta(FROM_OUTSIDE, true));
    },
    setEditable(value) {
      editable = value;
      view.setProps({});
      toolbar.update();
      bubble?.update();
    },
    focus: () => view.focus(),
    words: () => countWords(view.state.doc),
  };
}

function keys(schema, kind, groups, toToolbar) {
  const bound = {};
  for (const item of groups.flat()) if (item.keys) bound[item.keys] = item.run;
  Object.assign(bound, {
    "Mod-z": undo,
    "Mod-y": redo,
    "Mod-Shift-z": redo,
    Backspace: undoInputRule,
    "Alt-F10": () => {
      toToolbar();
      return true;
    },
  });
  if (kind === "text") {
    bound.Enter = chainCommands(enterInTable, splitListItem(schema.nodes.list_item));
    bound["Mod-Enter"] = leaveTable;
    bound.Tab = goToNextCell(1); // from the last cell Tab leaves the editor, as it does from all other text
    bound["Shift-Tab"] = goToNextCell(-1);
    bound["Shift-Enter"] = insertBreak(schema.nodes);
  } else {
    for (const key of ["Enter", "Shift-Enter", "Mod-Enter"]) bound[key] = () => true;
  }
  return bound;
}

// Each paragraph in the direction of its first letter, each list and quote in that of the first letter in it.
function directions() {
  return new Plugin({
    props: {
      decorations(state) {
        const found = [];
        state.doc.descendants((node, at) => {
          if (node.isInline || /^table_row$|^list_item$/.test(node.type.name)) return !node.isInline;
          const letter = /\p{L}/u.exec(node.textContent)?.[0];
          if (letter) found.push(Decoration.node(at, at + node.nodeSize, { dir: RIGHT_TO_LEFT.test(letter) ? "rtl" : "ltr" }));
          return true;
        });
        return DecorationSet.create(state.doc, found);
      },
    },
  });
}

function removeLink(view) {
  const { from, to } = linkAt(view.state);
  view.dispatch(view.state.tr.removeMark(from, to, view.state.schema.marks.link));
  view.focus();
}

// Keep the toolbar of a long text in sight below the head of the page, which stays in sight as well.
function keepBelow(pageHead, bar) {
  if (!pageHead) return;
  new ResizeObserver(() => bar.style.setProperty("--head", `${pageHead.offsetHeight}px`)).observe(pageHead);
}

function isRightToLeft(lang) {
  const { script } = new Intl.Locale(lang).maximize();
  return ["Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg"].includes(script);
}

function countWords(doc) {
  const text = doc.textBetween(0, doc.content.size, " ", " ");
  return text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

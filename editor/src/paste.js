// Pasted text, from Word, Outlook, Google Docs and web pages, cleaned to the grammar.
//
// First on the text, before anything parses it: styles and handlers are renamed, since a parsed `style` attribute
// breaks the page's Content Security Policy. Then on the parsed DOM, then on what the grammar made of it.
import { DOMParser, Fragment, Slice } from "prosemirror-model";
import { MAX_NESTING } from "./commands.js";
import { pastedLink } from "./links.js";

// Characters. A text may have 20,000; Word writes some 20 for each.
export const MAX_PASTED_HTML = 2_000_000;
export const MAX_PASTED_TEXT = 200_000;
const MAX_CELLS = 2000;
const MAX_OPEN = 250; // elements in each other: the time of a browser's parser grows with the square of it

const LOOK = "data-look";
const OWN = "data-pm-slice";
const SKIPPED = /^(?:style|script|title|xml|template|noscript|iframe|object|svg|textarea|select)$/i;
const LEFT_OUT = /^(?:base|link|meta)$/i; // the parser would act on them
const NOT_NESTED = /^(?:p|li|dt|dd|tr|td|th|thead|tbody|tfoot|br|hr|img|input|col|wbr|source|embed|area|param|track|option)$/i;
const TAG_NAME = /<\/?([a-z][a-z0-9:-]*)/iy;

// Return HTML without comments, styles and scripts, in which style attributes and handlers have other names.
export function withoutStyles(html) {
  let kept = "";
  let depth = 0;
  for (let at = 0; ; ) {
    const open = html.indexOf("<", at);
    if (open < 0) return kept + html.slice(at);
    kept += html.slice(at, open);
    TAG_NAME.lastIndex = open;
    const name = TAG_NAME.exec(html)?.[1];
    if (html.startsWith("<!--", open)) at = after(html, "-->", open + 4);
    else if (html[open + 1] === "!" || html[open + 1] === "?") at = after(html, ">", open);
    else if (!name) {
      kept += "<";
      at = open + 1;
    } else {
      const end = tagEnd(html, open);
      const closing = html[open + 1] === "/";
      const closed = closing || html[end - 2] === "/";
      if (SKIPPED.test(name) && !closed) {
        const close = new RegExp(`</${name}`, "ig");
        close.lastIndex = end;
        const found = close.exec(html);
        at = found ? after(html, ">", found.index) : html.length;
      } else {
        at = end;
        if (LEFT_OUT.test(name)) continue;
        if (!NOT_NESTED.test(name)) {
          if (closing) {
            if (depth > 0) depth--;
            if (depth >= MAX_OPEN) continue;
          } else if (!closed && ++depth > MAX_OPEN) continue;
        }
        kept += html
          .slice(open, end)
          .replace(/([\s"'/])style(\s*=)/gi, `$1${LOOK}$2`)
          .replace(/([\s"'/])on([a-z]+\s*=)/gi, "$1data-off-$2");
      }
    }
  }
}

function after(html, what, from) {
  const found = html.indexOf(what, from);
  return found < 0 ? html.length : found + what.length;
}

function tagEnd(html, open) {
  let quote = "";
  let before = "";
  for (let at = open; at < html.length; at++) {
    const char = html[at];
    if (quote) {
      if (char === quote) quote = "";
    } else if (char === ">") return at + 1;
    else if ((char === '"' || char === "'") && before === "=") quote = char;
    if (char > " ") before = char;
  }
  return html.length;
}

function look(node) {
  const found = {};
  for (const part of (node.getAttribute?.(LOOK) ?? "").split(";")) {
    const colon = part.indexOf(":");
    if (colon > 0) found[part.slice(0, colon).trim().toLowerCase()] = part.slice(colon + 1).trim().toLowerCase();
  }
  return found;
}

const isBold = (weight) => weight === "bold" || weight === "bolder" || Number(weight) >= 600;
const isNormal = (weight) => weight === "normal" || (Number(weight) > 0 && Number(weight) < 600);
const raised = (node) => (node.matches(".MsoFootnoteReference") ? "super" : (look(node)["vertical-align"] ?? ""));
const crossedOut = (node) => /line-through/.test(look(node)["text-decoration"] ?? look(node)["text-decoration-line"] ?? "");

// A rule for the tags of a mark, unless they look otherwise, and one for what looks like it.
const markRules = (mark, tags, looksIt, looksOtherwise = () => false) => [
  { tag: tags, mark, getAttrs: (node) => !looksOtherwise(node) && null },
  { tag: `[${LOOK}], .MsoFootnoteReference`, mark, consuming: false, getAttrs: (node) => looksIt(node) && !looksOtherwise(node) && null },
];

const RULES = [
  { tag: "a[href]", mark: "link", getAttrs: (node) => withHref(pastedLink(node.getAttribute("href"))) },
  ...markRules("strong", "b, strong", (node) => isBold(look(node)["font-weight"]), (node) => isNormal(look(node)["font-weight"])),
  ...markRules("em", "i, em, cite", (node) => /italic|oblique/.test(look(node)["font-style"] ?? ""), (node) => look(node)["font-style"] === "normal"),
  ...markRules("strike", "s, del, strike", crossedOut),
  ...markRules("sup", "sup", (node) => raised(node) === "super"),
  ...markRules("sub", "sub", (node) => raised(node) === "sub"),
  { tag: "br", node: "hard_break" },
  { tag: "span[data-picture]", node: "picture", getAttrs: pictureAttributes },
  { tag: "h1, h2, h3, h4, h5, h6", node: "heading" },
  { tag: "p", node: "paragraph" },
  { tag: "blockquote", node: "blockquote" },
  { tag: "ul", node: "bullet_list" },
  { tag: "ol", node: "ordered_list", getAttrs: (node) => ({ start: listStart(node.getAttribute("start")) }) },
  { tag: "li", node: "list_item" },
  { tag: "table", node: "table" },
  { tag: "tr", node: "table_row" },
  { tag: "th", node: "table_header", getAttrs: cellAttributes },
  { tag: "td", node: "table_cell", getAttrs: cellAttributes },
  { tag: "pre[data-code]", node: "code_block", preserveWhitespace: "full" },
];

const withHref = (href) => (href ? { href } : false);

function listStart(text) {
  const start = Number(text ?? 1);
  return Number.isInteger(start) && start >= 0 && start < 1000 ? start : 1;
}

function pictureAttributes(node) {
  const sha256 = node.getAttribute("data-picture");
  return /^[0-9a-f]{64}$/.test(sha256) && { sha256, alt: node.getAttribute("aria-label") ?? "" };
}

function cellAttributes(node) {
  return { align: alignment(node) };
}

function alignment(node) {
  const align = node.getAttribute("data-align") ?? look(node)["text-align"] ?? node.getAttribute("align");
  return ["left", "center", "right"].includes(align) ? align : null;
}

export class PasteParser extends DOMParser {
  // `onPictures` is called if pictures were among what was pasted: they are not taken along.
  constructor(schema, onPictures) {
    super(schema, RULES.filter((rule) => (rule.node ? schema.nodes[rule.node] : schema.marks[rule.mark])));
    this.onPictures = onPictures;
  }

  parseSlice(dom, options) {
    if (dom.querySelector(`[${OWN}]`) || dom.hasAttribute?.(OWN)) return super.parseSlice(dom, options);
    if (dom.querySelector("img, picture, v\\:imagedata")) this.onPictures();
    tidy(dom);
    const parsed = super.parseSlice(dom, options).content;
    return Slice.maxOpen(cleaned(this.schema, parsed));
  }
}

// On the DOM: what Word and others write in place of lists, tables for layout, and cells of several paragraphs.

const DROPPED = "img, picture, video, audio, canvas, embed, input, button, [hidden], [aria-hidden=true], del[datetime], a.msocomanchor";

function tidy(root) {
  for (const node of root.querySelectorAll(DROPPED)) node.remove();
  for (const node of root.querySelectorAll(`[${LOOK}]`)) {
    const { display, "mso-hide": hide, "mso-element": part } = look(node);
    if (display === "none" || hide === "all" || part === "comment-list") node.remove();
  }
  wordLists(root);
  wordOnlineLists(root);
  for (const list of root.querySelectorAll("ul > ul, ul > ol, ol > ul, ol > ol")) {
    const item = list.previousElementSibling ?? list.parentNode.insertBefore(root.ownerDocument.createElement("li"), list);
    item.append(list);
  }
  for (const title of root.querySelectorAll("p.MsoTitle, p.MsoSubtitle, p[role=heading], div[role=heading]")) rename(title, "h1");
  for (const table of [...root.querySelectorAll("table")].reverse()) tidyTable(table);
}

function rename(node, tag) {
  const made = node.ownerDocument.createElement(tag);
  made.append(...node.childNodes);
  node.replaceWith(made);
  return made;
}

const LEVEL = /\blevel(\d)/;
const NUMBERED = /^\s*\(?(?:(\d{1,3})|[a-z]{1,4})[.)]/i;

function wordLists(root) {
  const items = [];
  for (const node of root.querySelectorAll(`[${LOOK}*=mso-list]`)) {
    const list = look(node)["mso-list"] ?? "";
    if (!LEVEL.test(list)) continue;
    const marker = [...node.querySelectorAll(`[${LOOK}]`)].find((inner) => look(inner)["mso-list"] === "ignore");
    const text = marker?.textContent ?? "";
    marker?.remove();
    if (node.matches("p, div")) {
      const number = NUMBERED.exec(text);
      items.push({ node, level: Number(LEVEL.exec(list)[1]), ordered: Boolean(number), start: number?.[1] });
    }
  }
  buildLists(items, (item) => {
    const made = item.node.ownerDocument.createElement("li");
    item.node.replaceWith(made);
    made.append(rename(item.node, "p"));
    return made;
  });
}

// Word on the web writes a list of its own for each item, in a box of its own.
function wordOnlineLists(root) {
  for (const box of root.querySelectorAll("div.ListContainerWrapper")) box.replaceWith(...box.childNodes);
  const items = [];
  for (const node of root.querySelectorAll("li[data-aria-level]")) {
    const list = node.parentElement;
    if (!list?.matches("ul, ol")) continue;
    const item = { level: Number(node.getAttribute("data-aria-level")) || 1, ordered: list.localName === "ol", li: node };
    item.start = list.getAttribute("start");
    item.node = root.ownerDocument.createElement("div");
    list.before(item.node);
    item.node.append(node);
    if (!list.childElementCount) list.remove();
    items.push(item);
  }
  buildLists(items, (item) => {
    item.node.replaceWith(item.li);
    return item.li;
  });
}

// Replace items that follow each other by nested lists. `toItem` returns the `li` of one, in its place.
function buildLists(items, toItem) {
  let open = [];
  let last = null;
  for (const item of items) {
    if (last && nextElement(last) !== item.node) open = [];
    const ordered = item.ordered ? "ol" : "ul";
    const made = toItem(item);
    while (open.length && open.at(-1).level > item.level) open.pop();
    if (open.at(-1)?.level === item.level && open.at(-1).list.localName !== ordered) open.pop();
    if (open.at(-1)?.level !== item.level) {
      const list = made.ownerDocument.createElement(ordered);
      if (item.start) list.setAttribute("start", item.start);
      const parent = open.at(-1)?.list.lastElementChild;
      if (parent) parent.append(list);
      else made.replaceWith(list);
      open.push({ list, level: item.level });
    }
    open.at(-1).list.append(made);
    last = open[0].list;
  }
}

function nextElement(node) {
  let next = node.nextSibling;
  while (next && (next.nodeType === 8 || (next.nodeType === 3 && !next.data.trim()))) next = next.nextSibling;
  return next;
}

const CELL_BLOCKS = "p, div, li, dt, dd, h1, h2, h3, h4, h5, h6, blockquote, pre";

function tidyTable(table) {
  const rows = [...table.rows];
  const cells = rows.flatMap((row) => [...row.cells]);
  const columns = Math.max(0, ...rows.map((row) => row.cells.length));
  const layout = table.matches("[role=presentation], [role=none]") || table.querySelector("table, h1, h2, h3, h4, h5, h6, ul, ol");
  if (layout || columns < 2 || cells.length > MAX_CELLS) {
    table.replaceWith(...cells.map((cell) => rename(cell, "div")));
    return;
  }
  if (table.caption) table.before(rename(table.caption, "p"));
  for (const cell of cells) {
    for (const block of cell.querySelectorAll(CELL_BLOCKS)) {
      cell.setAttribute("data-align", alignment(block) ?? alignment(cell) ?? "");
      block.before(table.ownerDocument.createElement("br"));
      block.replaceWith(...block.childNodes);
    }
  }
  const below = []; // how many more rows the cell above each column reaches down
  const filler = () => table.ownerDocument.createElement("td");
  for (const row of rows) {
    let column = 0;
    const fill = (before) => {
      for (; below[column] > 0; column++) {
        below[column]--;
        row.insertBefore(filler(), before);
      }
    };
    for (const cell of [...row.cells]) {
      fill(cell);
      const [wide, high] = ["colspan", "rowspan"].map((name) => Math.min(Number(cell.getAttribute(name)) || 1, 50));
      for (let at = 0; at < wide; at++) {
        if (at) row.insertBefore(filler(), cell.nextSibling);
        below[column++] = high - 1;
      }
    }
    fill(null);
  }
}

// On the grammar's nodes: nothing empty, no stray spaces, no bold headings.

const SPACES = /[\s\u00a0]{2,}/g;
const INVISIBLE = /[\u00ad\u200b\ufeff]/g;
const BULLET = /^[•·▪◦‣●∙]\s*/u;

function cleaned(schema, fragment) {
  if (fragment.firstChild?.isInline) return Fragment.from(lines(fragment, false).flat());
  return Fragment.from(bulletLists(schema, blocks(schema, fragment, 0)));
}

function blocks(schema, fragment, depth) {
  const { list_item: item, paragraph, table } = schema.nodes;
  const result = [];
  fragment.forEach((node) => {
    const { name } = node.type;
    if (name === "paragraph") {
      result.push(...paragraphs(lines(node.content)).map((content) => paragraph.create(null, content)));
    } else if (name === "heading") {
      const content = joined(lines(node.content.size ? unbold(node.content) : node.content));
      if (content.length) result.push(node.type.create(null, content));
    } else if (node.type === table) {
      const clean = cleanTable(schema, node);
      if (clean) result.push(clean);
    } else if (node.isTextblock) {
      if (node.content.size) result.push(node);
    } else if (node.isInline) {
      const content = joined(lines(Fragment.from(node)));
      if (content.length) result.push(paragraph.create(null, content));
    } else if (node.type === item || name.startsWith("table_")) {
      result.push(...blocks(schema, node.content, depth)); // an item without a list, or a cell without a table
    } else if (depth >= MAX_NESTING) {
      node.forEach((inner) => result.push(...blocks(schema, inner.type === item ? inner.content : Fragment.from(inner), depth)));
    } else if (name === "blockquote") {
      const content = blocks(schema, node.content, depth + 1);
      if (content.length) result.push(node.type.create(null, content));
    } else {
      const items = [];
      node.forEach((inner) => {
        const content = blocks(schema, inner.content, depth + 1);
        if (content.length) items.push(item.create(null, content));
      });
      if (items.length) result.push(node.type.create(node.attrs, items));
    }
  });
  return result;
}

// Return the lines between hard breaks, as arrays of nodes without stray spaces.
function lines(fragment, trim = true) {
  const result = [[]];
  let spaceBefore = trim;
  fragment.forEach((node) => {
    if (node.type.name === "hard_break") {
      result.push([]);
      spaceBefore = true;
    } else if (node.isText) {
      let text = node.text.replace(INVISIBLE, "").replace(SPACES, " ");
      if (spaceBefore) text = text.replace(/^[\s\u00a0]+/, "");
      if (!text) return;
      spaceBefore = /[\s\u00a0]$/.test(text);
      result.at(-1).push(node.type.schema.text(text, node.marks));
    } else {
      result.at(-1).push(node);
      spaceBefore = false;
    }
  });
  if (trim) for (const line of result) trimEnd(line);
  return result;
}

function trimEnd(line) {
  while (line.at(-1)?.isText) {
    const node = line.pop();
    const text = node.text.replace(/[\s\u00a0]+$/, "");
    if (text) {
      line.push(node.type.schema.text(text, node.marks));
      return;
    }
  }
}

// Join lines by hard breaks; where a line is empty, a new paragraph begins.
function paragraphs(all) {
  const result = [];
  let current = [];
  for (const line of [...all, []]) {
    if (line.length) current.push(line);
    else if (current.length) {
      result.push(joined(current));
      current = [];
    }
  }
  return result;
}

function joined(all) {
  const filled = all.filter((line) => line.length);
  return filled.flatMap((line, at) => (at ? [line[0].type.schema.nodes.hard_break.create(), ...line] : line));
}

const unbold = (content) => {
  const nodes = [];
  content.forEach((node) => nodes.push(node.mark(node.marks.filter((mark) => mark.type.name !== "strong"))));
  return Fragment.from(nodes);
};

function cleanTable(schema, node) {
  const { table_row: tableRow, table_header: header, table_cell: cell } = schema.nodes;
  const rows = [];
  node.forEach((row) => {
    const cells = [];
    row.forEach((item) => {
      const content = rows.length ? item.content : unbold(item.content);
      cells.push((rows.length ? cell : header).create(item.attrs, joined(lines(content))));
    });
    if (cells.some((item) => item.content.size)) rows.push(tableRow.create(null, cells));
  });
  // The header of a column is often centred where its cells are not.
  const aligned = rows.map((row) => {
    const cells = [];
    row.forEach((item, _, column) => {
      const { align } = (rows[1]?.maybeChild(column) ?? item).attrs;
      cells.push(item.type.create({ ...item.attrs, align }, item.content));
    });
    return tableRow.create(null, cells);
  });
  return rows.length ? node.type.create(null, aligned) : null;
}

// Paragraphs that begin with a bullet are a list that somebody's program did not mark as one.
function bulletLists(schema, all) {
  const { bullet_list: list, list_item: item } = schema.nodes;
  if (!list) return all;
  const result = [];
  let items = null;
  for (const node of all) {
    const first = node.type.name === "paragraph" && node.firstChild;
    const bullet = first && first.isText && BULLET.exec(first.text);
    if (!bullet) items = null;
    else if (node.content.size > bullet[0].length) {
      if (!items) result.push((items = []));
      items.push(item.create(null, node.cut(bullet[0].length)));
      continue;
    }
    result.push(node);
  }
  return result.map((node) => (Array.isArray(node) ? list.create(null, node) : node));
}

// Plain text: an empty line begins a paragraph. Text without empty lines has a paragraph a line.
export function textSlice(schema, text, marks) {
  const { hard_break: hardBreak, paragraph } = schema.nodes;
  const parts = text.replace(INVISIBLE, "").split(/\r\n?|\n/).map((line) => line.replace(SPACES, " ").trim());
  const apart = parts.some((line, at) => !line && at > 0 && at < parts.length - 1) && hardBreak;
  const all = parts.map((line) => (line ? [schema.text(line, marks)] : []));
  const contents = apart ? paragraphs(all) : all.filter((line) => line.length);
  const nodes = contents.map((content) => paragraph.create(null, content));
  return Slice.maxOpen(Fragment.from(bulletLists(schema, nodes)));
}

// Return a slice as inline content: its blocks apart by `between`, a node or a text.
export function inlineSlice(slice, between) {
  const nodes = [];
  const add = (node) => {
    if (node.isInline) nodes.push(node);
    else if (node.isTextblock) {
      if (nodes.length && node.content.size) nodes.push(between);
      node.forEach((inner) => nodes.push(inner.type.name === "hard_break" ? between : inner));
    } else node.forEach(add);
  };
  slice.content.forEach(add);
  return new Slice(Fragment.from(nodes), 0, 0);
}

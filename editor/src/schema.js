// The grammar of texts: the tree that mailer/domain/text_tree reads and writes. Nothing else can exist in an editor.
import { Schema } from "prosemirror-model";

const MARKS = {
  link: {
    attrs: { href: { validate: "string" } },
    inclusive: false,
    toDOM: (mark) => ["a", { href: mark.attrs.href, rel: "noopener noreferrer" }, 0],
  },
  em: { toDOM: () => ["em", 0] },
  strong: { toDOM: () => ["strong", 0] },
  strike: { toDOM: () => ["s", 0] },
  sup: { excludes: "sup sub", toDOM: () => ["sup", 0] },
  sub: { excludes: "sup sub", toDOM: () => ["sub", 0] },
};

// prosemirror-tables wants spans and widths in every cell. Ours have none: cells are never merged.
const CELL = {
  content: "inline*",
  isolating: true,
  attrs: {
    align: { default: null, validate: "string|null" },
    colspan: { default: 1 },
    rowspan: { default: 1 },
    colwidth: { default: null },
  },
};

const cellDOM = (tag) => ({ attrs: { align } }) => [tag, align ? { class: `align-${align}`, "data-align": align } : {}, 0];

// The order matters: the first block is what is filled in where one is needed, and inner rules of a group come by order.
const BLOCKS = {
  paragraph: { group: "block", content: "inline*", toDOM: () => ["p", 0] },
  heading: { group: "block", content: "inline*", defining: true, toDOM: () => ["h3", 0] },
  blockquote: { group: "block", content: "block+", defining: true, toDOM: () => ["blockquote", 0] },
  bullet_list: {
    group: "block",
    content: "list_item+",
    attrs: { tight: { default: true, validate: "boolean" } },
    toDOM: () => ["ul", 0],
  },
  ordered_list: {
    group: "block",
    content: "list_item+",
    attrs: { start: { default: 1, validate: "number" }, tight: { default: true, validate: "boolean" } },
    toDOM: (node) => ["ol", node.attrs.start === 1 ? {} : { start: node.attrs.start }, 0],
  },
  list_item: { content: "block+", defining: true, toDOM: () => ["li", 0] },
  table: {
    group: "block",
    content: "table_row+",
    tableRole: "table",
    isolating: true,
    toDOM: () => ["table", ["tbody", 0]],
  },
  table_row: { content: "(table_header | table_cell)*", tableRole: "row", toDOM: () => ["tr", 0] },
  table_header: { ...CELL, tableRole: "header_cell", toDOM: cellDOM("th") },
  table_cell: { ...CELL, tableRole: "cell", toDOM: cellDOM("td") },
  code_block: {
    group: "block",
    content: "text*",
    marks: "",
    code: true,
    defining: true,
    toDOM: () => ["pre", { "data-code": "" }, ["code", 0]],
  },
};

const PICTURE = {
  group: "inline",
  inline: true,
  atom: true,
  attrs: { sha256: { validate: "string" }, alt: { default: "", validate: "string" } },
  toDOM: ({ attrs }) => ["span", { class: "editor-picture", "data-picture": attrs.sha256, role: "img", "aria-label": attrs.alt }],
};

const TEXT_NODE = { group: "inline" };

const textSchema = new Schema({
  nodes: {
    doc: { content: "block+" },
    ...BLOCKS,
    text: TEXT_NODE,
    hard_break: { group: "inline", inline: true, selectable: false, linebreakReplacement: true, leafText: () => "\n", toDOM: () => ["br"] },
    picture: PICTURE,
  },
  marks: MARKS,
});

const line = { doc: { content: "paragraph" }, paragraph: BLOCKS.paragraph, text: TEXT_NODE };
const { link: _, ...lineMarks } = MARKS;

// A whole text, one line such as a headline, and one line with links such as a contact.
export const SCHEMAS = {
  text: textSchema,
  line: new Schema({ nodes: line, marks: lineMarks }),
  note: new Schema({ nodes: line, marks: MARKS }),
};

// Return the document of a tree from the server. Throws RangeError if it does not follow the grammar.
export function readTree(schema, tree) {
  const whole = tree?.content?.length ? tree : { type: "doc", content: [{ type: "paragraph" }] };
  const doc = schema.nodeFromJSON(whole);
  doc.check();
  return doc;
}

// Return the tree of a document, with the attributes that the server knows.
export function writeTree(node) {
  return JSON.parse(JSON.stringify(node.toJSON(), (key, value) => (SPANS.has(key) ? undefined : value)));
}

const SPANS = new Set(["colspan", "rowspan", "colwidth"]);

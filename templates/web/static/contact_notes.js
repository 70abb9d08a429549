// Notes in forms are written in an editor, and sent as the tree that it holds. Without it, they are written as Markdown.
// What was written and has not reached the server is kept in the browser, and is in its form when the page comes again.

import { Copies, holdTab, isOpen } from "./saving.js";

const SENT = "sent-note"; // in this tab: the copy of the form that was sent last
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

const page = document.getElementById("notes");
const account = Number(page.dataset.account);
const texts = JSON.parse(page.dataset.editorTexts ?? "{}");
const forms = [...new Set([...page.querySelectorAll("textarea")].map((area) => area.form))];
const copies = new Copies();
const changed = new Set(); // forms
await copies.open();

// The answer to a form has what was sent, or what became of it. A page to which somebody comes back is no answer.
const [{ type }] = performance.getEntriesByType("navigation");
const answer = type === "navigate" ? page.dataset.answer : "";
const sent = answer ? sessionStorage.getItem(SENT) : null;
sessionStorage.removeItem(SENT);

const { createEditor } = forms.length ? await import(page.dataset.editorScript) : {};
for (const form of forms) await enable(form);
if (sent) copies.delete(sent);

async function enable(form) {
  const tab = crypto.randomUUID();
  const text = new URL(form.action).pathname;
  const keep = () => {
    changed.add(form);
    const fields = [...new FormData(form)].filter(([name]) => name !== "form_token");
    copies.put({ text, account, tab, fields, at: Date.now() });
  };
  const copy = await findCopy(text);
  if (copy && copy.tab !== sent) {
    for (const [name, value] of copy.fields) if (form.elements[name]) form.elements[name].value = value;
  }
  const trees = new Map(copy && copy.tab !== sent ? copy.fields : []);
  for (const field of form.querySelectorAll("[data-note]")) edit(field, trees, keep);
  holdTab(tab);
  form.addEventListener("input", keep);
  form.addEventListener("submit", () => {
    changed.delete(form);
    sessionStorage.setItem(SENT, tab);
  });
  if (!copy || (copy.tab === sent && answer === "accepted")) return;
  keep();
  copies.delete(copy.tab);
  if (copy.tab !== sent) showRestored(copy);
}

// Return what was written into a form in a tab that is closed.
async function findCopy(text) {
  for (const copy of await copies.list(text, account)) if (!(await isOpen(copy.tab))) return copy;
  return null;
}

function edit(field, trees, keep) {
  const area = field.querySelector("textarea");
  const place = document.createElement("div");
  const held = document.createElement("input");
  held.type = "hidden";
  held.name = `${area.name}.tree`;
  held.value = trees.get(held.name) ?? field.dataset.note;
  const label = field.querySelector("label");
  const editor = createEditor(place, {
    tree: JSON.parse(held.value),
    kind: "note",
    lang: area.lang,
    label: label.textContent,
    texts,
    onChange() {
      held.value = JSON.stringify(editor.tree());
      keep();
    },
  });
  label.remove();
  area.hidden = true;
  area.required = false; // an empty note is refused in words
  area.before(place, held);
}

function showRestored({ at }) {
  const place = document.getElementById("restored");
  const time = new Date(at).toLocaleTimeString(document.documentElement.lang, CLOCK);
  place.textContent = place.dataset.words.replace("%(time)s", time);
  place.hidden = false;
}

addEventListener("beforeunload", (event) => {
  if (changed.size && copies.failed) event.preventDefault();
});
page.dataset.started = "yes";

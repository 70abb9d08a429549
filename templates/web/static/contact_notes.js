// Notes in forms are written in an editor, and sent as the tree that it holds. Without it, they are written as Markdown.

const page = document.getElementById("notes");
const texts = JSON.parse(page.dataset.editorTexts);
const { createEditor } = await import(page.dataset.editorScript);

for (const field of page.querySelectorAll("[data-note]")) {
  const area = field.querySelector("textarea");
  const place = document.createElement("div");
  const sent = document.createElement("input");
  sent.type = "hidden";
  sent.name = `${area.name}.tree`;
  const label = field.querySelector("label");
  const editor = createEditor(place, {
    tree: JSON.parse(field.dataset.note),
    kind: "note",
    lang: area.lang,
    label: label.textContent,
    texts,
  });
  label.remove();
  area.hidden = true;
  area.required = false; // an empty note is refused in words
  area.before(place, sent);
  area.form.addEventListener("submit", () => (sent.value = JSON.stringify(editor.tree())));
}

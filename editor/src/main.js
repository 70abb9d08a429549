// The entry of templates/web/static/editor.js: fills the places that templates/web/staff/_editor.html leaves.
import { createEditor } from "./editor.js";

export { createEditor };

for (const place of document.querySelectorAll("[data-editor]")) {
  createEditor(place, { ...JSON.parse(place.dataset.editor), texts: JSON.parse(place.dataset.texts) });
}

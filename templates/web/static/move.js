// Moves stories and sections of a plan by dragging their grips, and with Alt and the arrow keys. It posts the forms of
// the page, then shows the plan that the server answers with. The page works without it, by these forms.

import { parsePage } from "./own_page.js";

const place = document.getElementById("plan");
let dragged = null;
let queue = Promise.resolve(); // one move after the other, each with the revision that the one before led to

const rowsOf = (section) => [...section.querySelectorAll("[data-story]")];
const sections = () => [...place.querySelectorAll("[data-section]")];

// What a grip moves: a story's row, or a section.
const movedBy = (grip) => grip.closest("[data-story], [data-section]");
const idOf = (thing) => (thing.dataset.story ? `story-${thing.dataset.story}` : `section-${thing.dataset.section}`);

function enable() {
  for (const grip of place.querySelectorAll(".grip")) grip.hidden = false;
}

function say(words) {
  document.getElementById("moved").textContent = words;
}

// Post a move, show the plan as it is then, and set the focus to what was moved.
async function post(thing, fields) {
  const path = thing.dataset.story ? `stories/${thing.dataset.story}/move` : "sections/move";
  const body = new URLSearchParams({
    form_token: place.querySelector("[name=form_token]").value,
    revision: place.dataset.revision,
    ...fields,
  });
  const answer = await fetch(`${location.pathname}/${path}`, { method: "POST", body });
  const fresh = parsePage(await answer.text()).getElementById("plan");
  if (!fresh) return location.reload(); // the session has ended
  const id = idOf(thing);
  place.replaceChildren(...fresh.childNodes);
  Object.assign(place.dataset, fresh.dataset);
  enable();
  const now = document.getElementById(id);
  (now?.querySelector(".grip") ?? now)?.focus();
  if (answer.ok) announce(now);
}

function announce(thing) {
  const row = thing?.closest("[data-story]");
  const section = thing?.closest("[data-section]");
  if (!section) return;
  const among = row ? rowsOf(section) : sections();
  const values = {
    title: (row ?? section).dataset.title,
    place: among.indexOf(row ?? section) + 1,
    all: among.length,
    section: section.dataset.title,
  };
  const words = row ? place.dataset.said : place.dataset.saidSection;
  say(words.replace(/\{(\w+)\}/g, (_, name) => values[name]));
}

function move(thing, fields) {
  queue = queue.then(() => post(thing, fields)).catch(() => say(place.dataset.failed));
}

function moveStory(row, section, at) {
  const own = row.closest("[data-section]");
  if (section === own && rowsOf(own).indexOf(row) === at) return;
  move(row, { section: section === own ? "" : section.dataset.section, place: at + 1 });
}

function moveSection(section, at) {
  if (sections().indexOf(section) === at) return;
  move(section, { section: section.dataset.section, place: at + 1 });
}

// Keys: one place, and from the first or last place of a section into the one before or after it.
place.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const thing = event.target.closest(".plan-band")?.parentElement ?? event.target.closest("[data-story]");
  if (!step || !event.altKey || !thing?.querySelector(".grip")) return;
  event.preventDefault();
  const all = sections();
  if (thing.dataset.section) {
    const at = all.indexOf(thing) + step;
    if (at >= 0 && at < all.length) moveSection(thing, at);
    return;
  }
  const own = thing.closest("[data-section]");
  const at = rowsOf(own).indexOf(thing) + step;
  if (at >= 0 && at < rowsOf(own).length) return moveStory(thing, own, at);
  const next = all[all.indexOf(own) + step];
  if (next) moveStory(thing, next, step > 0 ? 0 : rowsOf(next).length);
});

// Where something would be dropped: before or after which story or section, or at the end of a section.
function target(event) {
  const section = event.target.closest?.("[data-section]");
  if (!section) return null;
  const below = (one) => event.clientY > one.getBoundingClientRect().top + one.offsetHeight / 2;
  if (dragged.dataset.section) {
    const at = sections().indexOf(section); // a section takes the place of the one on which it is dropped
    return section === dragged ? null : { mark: section, after: at > sections().indexOf(dragged), at };
  }
  const row = event.target.closest("[data-story]");
  const others = rowsOf(section).filter((one) => one !== dragged);
  if (row === dragged) return null;
  if (row) return { section, mark: row, after: below(row), at: others.indexOf(row) + below(row) };
  const first = event.target.closest(".plan-band");
  return { section, mark: first ?? section, after: true, at: first ? 0 : others.length };
}

function unmark() {
  for (const one of place.querySelectorAll(".drop-before, .drop-after")) one.classList.remove("drop-before", "drop-after");
}

place.addEventListener("dragstart", (event) => {
  const grip = event.target.closest?.(".grip");
  if (!grip) return;
  dragged = movedBy(grip);
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.dataset.title);
  event.dataTransfer.setDragImage(dragged, 12, 12);
});
place.addEventListener("dragover", (event) => {
  if (!dragged) return;
  const found = target(event);
  unmark();
  if (!found) return;
  event.preventDefault();
  found.mark.classList.add(found.after ? "drop-after" : "drop-before");
});
place.addEventListener("drop", (event) => {
  if (!dragged) return;
  event.preventDefault();
  const found = target(event);
  if (!found) return;
  if (dragged.dataset.section) moveSection(dragged, found.at);
  else moveStory(dragged, found.section, found.at);
});
place.addEventListener("dragend", () => {
  dragged = null;
  unmark();
});

enable();

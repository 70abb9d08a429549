// Shows the contrast and the sample email while colours are chosen: asks the server for the page with these colours.
// Without script, the button "Only show" does the same.

import { parsePage } from "./own_page.js";

const form = document.querySelector("form.colours");
const DELAY_MS = 250;
let waiting = 0;
let latest = 0;

async function show() {
  const asked = ++latest;
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("input[pattern]")) query.set(field.name, field.value);
  const answer = await fetch(`${form.action}?${query}`, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected || asked !== latest) return;
  const fresh = parsePage(await answer.text());
  document.getElementById("contrast").replaceChildren(...fresh.getElementById("contrast").childNodes);
  document.getElementById("sample").src = fresh.getElementById("sample").getAttribute("src");
}

form.addEventListener("input", (event) => {
  const field = event.target;
  const other = field.dataset.for
    ? document.getElementById(field.dataset.for)
    : form.querySelector(`[data-for="${field.name}"]`);
  if (!other || !/^#[0-9a-f]{6}$/i.test(field.value)) return;
  other.value = field.value;
  clearTimeout(waiting);
  waiting = setTimeout(show, DELAY_MS);
});

for (const picker of form.querySelectorAll("[type=color]")) picker.hidden = false;

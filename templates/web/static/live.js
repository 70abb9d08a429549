// Keeps the parts of a page that are marked with data-live up to date: fetches the same page, and swaps them.
// A server-sent event says when that is worth it, if a part names such a stream in data-stream; else, and where that
// fails, it asks every few seconds. The page works without it. It stands still while the tab is hidden, or while
// somebody uses one of these parts, and ends when the fetched page has no such parts any more.

import { parsePage } from "./own_page.js";

const SECONDS = 2;
const SLOWEST = 30;
let wait = SECONDS;
let ended = false;
let streaming = false;
let asking = false;
let again = false;

function busy(part) {
  return part.matches(":hover") && part.matches("[data-live=still]") || part.contains(document.activeElement);
}

// One request at a time, since an older answer could come last. What changes meanwhile is asked for afterwards.
async function refresh() {
  again = asking;
  if (asking) return;
  asking = true;
  try {
    do {
      again = false;
      await swap();
    } while (again && !ended);
  } finally {
    asking = false;
  }
}

async function swap() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Refresh": "1" } });
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  const fresh = parsePage(await answer.text());
  const parts = [...document.querySelectorAll("[data-live]")];
  for (const part of parts) {
    const now = fresh.getElementById(part.id);
    if (now && !busy(part) && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
  }
  const title = fresh.querySelector("title")?.textContent;
  if (title) document.title = title;
  ended = !fresh.querySelector("[data-live]") && !parts.some(busy);
}

async function tick() {
  if (!document.hidden && !streaming) {
    try {
      await refresh();
      wait = SECONDS;
    } catch {
      wait = Math.min(SLOWEST, wait * 2); // the server does not answer, or the session has ended
    }
  }
  if (!ended) setTimeout(tick, wait * 1000);
}

setTimeout(tick, wait * 1000);

const stream = document.querySelector("[data-stream]")?.dataset.stream;
if (stream) {
  const source = new EventSource(stream);
  const look = () => {
    if (ended) source.close();
    else if (!document.hidden) refresh().catch(() => {}).finally(() => { if (ended) source.close(); });
  };
  source.addEventListener("open", () => { streaming = true; });
  source.addEventListener("error", () => { streaming = false; }); // it connects again by itself, unless it is refused
  source.addEventListener("message", look);
  document.addEventListener("visibilitychange", look);
}

// The inbox works without this script, which only shows new mail and adds keyboard shortcuts.

const panes = document.querySelector(".panes");
const mails = document.getElementById("mails");
let known = Number(panes.dataset.count);

// Each mail is a separate page, so the list's scroll position is restored.
function keepPlace() {
  mails.scrollTop = Number(sessionStorage.getItem("inbox-place"));
  mails.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  mails.addEventListener("scroll", () => sessionStorage.setItem("inbox-place", mails.scrollTop));
}

async function refresh() {
  const answer = await fetch(location.href);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const focused = document.activeElement?.id;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
}

async function look() {
  if (document.hidden) return;
  try {
    const { count } = await (await fetch(`${panes.dataset.base}/count`)).json();
    if (count !== known) {
      known = count;
      await refresh();
    }
  } catch {
    // The server does not answer; the next poll may succeed.
  }
}

function neighbour(key) {
  if (key === "j" || key === "ArrowDown") {
    return document.querySelector(".tools [rel=next]") ?? firstUnlessReading();
  }
  if (key === "k" || key === "ArrowUp") return document.querySelector(".tools [rel=prev]");
  return null;
}

function firstUnlessReading() {
  return document.querySelector(".tools") ? null : mails.querySelector("a.row");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("q").focus();
    return;
  }
  const link = neighbour(event.key);
  if (link) {
    event.preventDefault();
    link.click();
  }
});

keepPlace();
setInterval(look, 2000);
document.addEventListener("visibilitychange", look);

// A page on which a text is written: its editors, saving by itself, two texts to choose from, and who else is here.
// Without it, the page is a form.

import { Datelines } from "./datelines.js";
import { parsePage } from "./own_page.js";
import { PictureDialog } from "./picture_dialog.js";
import { Copies, holdTab, isOpen, Saving } from "./saving.js";

const HEARTBEAT_MS = 10_000;
const COMPANY_MS = 3000; // while somebody else is here
const WRITING_MS = 120_000; // after the last change somebody still writes
const WORDS_PER_MINUTE = 200;
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const ELSEWHERE = ["alt", "picture_credit"]; // also written where the picture is chosen: sent only if written here
const CHOICES = ["status", "source_language"]; // others may have chosen since: sent only if chosen here

const form = document.getElementById("writing");
const config = JSON.parse(form.dataset.config);
const texts = JSON.parse(form.dataset.texts);
const pageLanguage = document.documentElement.lang;
const tab = crypto.randomUUID();
const at = (id) => document.getElementById(id);
const say = (name, values = {}) => texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key] ?? "");
const time = (moment) => new Date(moment).toLocaleTimeString(pageLanguage, CLOCK);

const { createEditor } = await import(form.dataset.editorScript);
const editors = new Map();
let editable = config.editable;
let writer = ""; // who else writes here
let lastTyped = 0;
const touched = new Set(); // the names of those fields that were written in here

for (const field of form.querySelectorAll("[data-rich]")) {
  const name = field.dataset.rich;
  const place = document.createElement("div");
  field.replaceChildren(place);
  const editor = createEditor(place, {
    tree: config.fields[name],
    kind: field.dataset.kind,
    lang: config.language,
    label: field.dataset.label,
    texts: JSON.parse(form.dataset.editorTexts),
    editable,
    onChange: typed,
    ...(at("picture-dialog") ? { onPicture: (file) => pictures.open(file) } : {}),
  });
  editors.set(name, editor);
}

// What is written.

const inputs = [...form.querySelectorAll("[data-field] input")];
const datelines =
  at("datelines") &&
  new Datelines(at("datelines"), { url: config.url, say, isEditable: () => editable, onComposed: typed });

function read() {
  const fields = Object.fromEntries([...editors].map(([name, editor]) => [name, editor.tree()]));
  for (const { name, value } of inputs) if (!ELSEWHERE.includes(name) || touched.has(name)) fields[name] = value;
  if (datelines) fields.datelines = datelines.read();
  const choices = new FormData(form);
  return {
    fields,
    ...Object.fromEntries(CHOICES.filter((name) => touched.has(name)).map((name) => [name, choices.get(name)])),
    minor: choices.has("minor"),
    translated_from: choices.get("translated_from"),
    shown_source: choices.get("shown_source"),
  };
}

function write({ fields, status }) {
  touched.clear();
  for (const [name, editor] of editors) editor.setTree(fields[name]);
  for (const input of inputs) if (input.name in fields) input.value = fields[input.name];
  datelines?.write(fields.datelines);
  if (status) showStatus(status);
  count();
}

function showStatus(status) {
  if (touched.has("status")) return;
  for (const choice of form.querySelectorAll("[name=status]")) choice.checked = choice.value === status;
}

function typed() {
  lastTyped = Date.now();
  count();
  saving.changed();
  if (!isWriting) beat();
}

function count() {
  const words = (editors.get("body") ?? editors.get("intro")).words();
  const minutes = Math.max(1, Math.round(words / WORDS_PER_MINUTE));
  const format = new Intl.NumberFormat(pageLanguage).format;
  at("words").textContent = words ? say("words", { words: format(words), minutes: format(minutes) }) : "";
}

form.addEventListener("input", (event) => {
  if (event.target.closest("[data-rich], .date-picker")) return;
  if ([...ELSEWHERE, ...CHOICES].includes(event.target.name)) touched.add(event.target.name);
  typed();
});
form.addEventListener("submit", (event) => {
  event.preventDefault(); // Enter in a line
  saving.tryNow();
});

// Saving.

const copies = new Copies();
const state = at("save-state");
const saving = new Saving(
  {
    url: config.url,
    text: config.url,
    account: config.account,
    tab,
    base: config.base,
    token: form.elements.form_token.value,
    read,
    onState: showState,
    onSaved: saved,
    onConflict: choose,
    isMe: (account) => account === config.account,
    onStranger: () => showState("other_account"),
  },
  copies,
);

function showState(name, reason) {
  if (name === "offline" && copies.failed) name = "offline_unkept";
  const words = say(name, { reason, time: time(Date.now()) });
  if (state.dataset.state === name && state.firstChild?.textContent === words) return;
  state.dataset.state = name;
  state.replaceChildren(words);
  if (name === "signed_out" || name === "other_account") {
    const link = document.createElement("a");
    link.href = form.dataset.signIn;
    link.target = "_blank";
    link.rel = "opener";
    link.textContent = say("sign_in");
    state.append(" ", link);
  }
}

function saved(answer, same) {
  if (same) for (const name of CHOICES) touched.delete(name);
  showStatus(answer.status);
  for (const input of inputs) {
    if (ELSEWHERE.includes(input.name) && !touched.has(input.name)) input.value = answer.fields[input.name] ?? "";
  }
  showPicture(answer.picture);
  showProblems(answer.problems);
  showFindings(answer.findings);
  if (same) datelines?.showUnderstood(answer.understood);
  if (same) showState("saved");
  refreshLook();
}

function showProblems(problems) {
  for (const error of form.querySelectorAll("[data-field] .error")) {
    const message = problems[error.parentElement.dataset.field] ?? "";
    error.textContent = message;
    error.hidden = !message;
    error.parentElement.querySelector("input").setAttribute("aria-invalid", String(Boolean(message)));
  }
}

function showFindings(findings) {
  const template = at("finding");
  at("findings").replaceChildren(
    ...findings.map((finding) => {
      const item = template.content.cloneNode(true);
      item.querySelector("span").textContent = finding;
      return item;
    }),
  );
}

function refreshLook() {
  const frame = at("look")?.querySelector("iframe");
  if (!frame) return;
  frame.classList.remove("empty");
  const [path, place = ""] = frame.getAttribute("src").split("#");
  frame.src = `${path.split("?")[0]}?base=${saving.base}${place && `#${place}`}`;
}

// The picture of a story.

function showPicture(picture) {
  const place = at("picture");
  if (!place) return;
  let image = place.querySelector(".story-picture");
  if (!picture) return image?.remove();
  if (!image) {
    image = document.createElement("img");
    image.className = "story-picture";
    place.querySelector(".no-picture").before(image);
  }
  const { url, width, height } = picture;
  if (image.getAttribute("src") !== url) Object.assign(image, { src: url, width, height });
  image.alt = at("alt").value;
}

let known = ""; // the base on which a picture is set, if nobody has changed the text
const pictures =
  at("picture-dialog") &&
  new PictureDialog(at("picture-dialog"), {
    text: () => ({
      alt: at("alt").value,
      credit: at("picture_credit").value,
      shown: Boolean(form.querySelector(".story-picture")),
    }),
    async token() {
      await saving.finish();
      const text = await saving.load();
      known = text?.base;
      return text && saving.token;
    },
    onSet(answer, { alt, credit }) {
      if (saving.base === known) saving.base = answer.base;
      const wanted = { alt, picture_credit: credit };
      for (const name of ELSEWHERE) {
        at(name).value = wanted[name];
        touched.delete(name);
        if (answer[name] !== wanted[name]) touched.add(name); // there was no text yet to which it could belong
      }
      showPicture(answer);
      refreshLook();
      if (touched.size) typed();
      else if (!saving.dirty) showState("saved");
    },
  });

// Beside the text, too: else the browser would leave the page for the picture.
addEventListener("dragover", (event) => {
  if (event.dataTransfer.types.includes("Files") && !event.target.closest("input[type=file]")) event.preventDefault();
});
addEventListener("drop", (event) => {
  if (event.defaultPrevented || event.target.closest("input[type=file]")) return;
  const [file] = event.dataTransfer.files;
  if (!file) return;
  event.preventDefault();
  if (editable) pictures?.open(file);
});

// Two texts.

function choose(answer) {
  const closed = ["closed", "removed", "moved"].includes(answer.reason);
  showState(closed ? "closed" : "conflict");
  if (closed) setEditable(false);
  const page = parsePage(answer.html);
  at("conflict").replaceChildren(...page.body.childNodes);
  const panel = at("conflict").querySelector(".conflict");
  panel.querySelector("[data-choice=mine]")?.addEventListener("click", () => {
    at("conflict").replaceChildren();
    setEditable(true);
    saving.prevail(answer.base);
  });
  panel.querySelector("[data-choice=theirs]")?.addEventListener("click", () => {
    at("conflict").replaceChildren();
    show(answer);
    beat();
  });
  panel.scrollIntoView({ block: "nearest" });
}

// Show the text as it is stored.
function show(text) {
  write(text);
  saving.settled(text.base);
  showPicture(text.picture);
  if (text.at) state.replaceChildren(say("saved", { time: time(text.at) }));
  state.dataset.state = "saved";
  refreshLook();
}

// Who else is here.

let isWriting = false; // as the server knows it
let inCompany = false;
let beating = 0;

async function beat(order = {}) {
  clearTimeout(beating);
  try {
    const writing = Date.now() - lastTyped < WRITING_MS;
    const answer = await fetch(`${config.url}/heartbeat`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-Refresh": "1" },
      body: JSON.stringify({ form_token: saving.token, tab, base: saving.base, writing, ...order }),
    });
    if (answer.status === 401) showState("signed_out");
    if (answer.status === 401 || answer.status === 403) await saving.load();
    if (answer.ok) await meet(await answer.json(), writing);
  } catch {
    // no connection: the next save says so
  }
  if (!document.hidden) beating = setTimeout(beat, inCompany ? COMPANY_MS : HEARTBEAT_MS);
}

async function meet(others, writing) {
  isWriting = writing && !others.writer;
  writer = others.writer;
  inCompany = others.others.length > 0 || others.other_tab;
  if (!saving.paused) setEditable(others.editable && !writer);
  const people = at("people");
  const words = writer
    ? say("writing", { name: writer })
    : others.others.length
      ? say("here", { names: new Intl.ListFormat(pageLanguage).format(others.others) })
      : others.other_tab
        ? say("also_me")
        : "";
  if (people.firstChild?.textContent !== words) {
    people.replaceChildren(...(words ? [words] : []));
    if (writer && others.editable) people.append(" ", takeOverButton());
  }
  if (others.status) showStatus(others.status);
  if (state.dataset.state === "signed_out" && !saving.dirty) showState("saved");
  if (others.base !== saving.base && !saving.dirty) {
    const text = await saving.load();
    if (text && !saving.dirty) show(text);
  }
}

function takeOverButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = say("take_over");
  button.addEventListener("click", async () => {
    lastTyped = Date.now();
    await beat({ take_over: true });
    (editors.get("body") ?? editors.get("intro")).focus();
  });
  return button;
}

function setEditable(value) {
  if (editable === value) return;
  editable = value;
  for (const editor of editors.values()) editor.setEditable(value);
  for (const input of form.querySelectorAll("[data-field] input, .dateline input")) input.readOnly = !value;
  for (const input of form.querySelectorAll("input[type=radio], input[type=checkbox], select")) input.disabled = !value;
}

// What was written in a tab that was closed or killed before it was saved.

async function restore() {
  for (const copy of await copies.list(config.url, config.account)) {
    if (copy.tab === tab || saving.dirty || (await isOpen(copy.tab))) continue;
    write(copy);
    for (const name of ELSEWHERE) if (name in copy.fields) touched.add(name);
    for (const name of CHOICES.filter((choice) => copy[choice])) {
      touched.add(name);
      form.elements[name].value = copy[name];
    }
    saving.base = copy.base;
    at("restored").textContent = say("restored", { time: time(copy.at) });
    at("restored").hidden = false;
    saving.changed(copy.tab);
    copies.delete(copy.tab);
    await saving.finish();
    return;
  }
}

addEventListener("beforeunload", (event) => {
  if (saving.dirty && copies.failed) event.preventDefault();
});
addEventListener("pagehide", () => {
  saving.last();
  const close = JSON.stringify({ form_token: saving.token, tab, close: true });
  navigator.sendBeacon?.(`${config.url}/heartbeat`, new Blob([close], { type: "application/json" }));
});
// Orders about the text, such as to hand it in, wait until all is saved.
for (const order of document.querySelectorAll("form[data-after-saving]")) {
  order.hidden = false;
  order.addEventListener("submit", async (event) => {
    if (!saving.dirty) return;
    event.preventDefault();
    if (await saving.finish()) order.requestSubmit(event.submitter);
  });
}

addEventListener("online", () => saving.tryNow());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  saving.tryNow();
  beat();
});

form.classList.add("with-script");
if (matchMedia("(max-width: 64rem)").matches) at("look")?.removeAttribute("open");
holdTab(tab);
count();
await copies.open();
if (config.may_write) await restore();
beat();
form.dataset.started = "yes";

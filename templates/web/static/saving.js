// Saves what somebody writes: a copy in the browser at every change, and one request after another to the server, a
// second after a pause. What is not saved stays in the copy, also when the browser is killed, and is found again.

const PAUSE_MS = 1000;
const LONGEST_MS = 10_000; // of writing without a pause
const RETRY_MS = [1000, 3000, 10_000, 30_000];
const TIMEOUT_MS = 30_000;
const KEEPALIVE_BYTES = 60_000; // the Fetch standard allows 64 KiB in all
const ISSUE_OF_STORY = /\/issues\/\d+(?=\/stories\/)/; // in a path

// The copies of this browser, in IndexedDB. The latest is written even if another is being written.
export class Copies {
  #database = null;
  #next = new Map();
  #writing = false;
  failed = false;

  async open() {
    try {
      const request = indexedDB.open("texts", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("copies", { keyPath: "tab" });
      this.#database = await done(request);
    } catch {
      this.failed = true; // a private window, or a full disk
    }
  }

  async list(text, account) {
    if (!this.#database) return [];
    const all = await done(this.#database.transaction("copies").objectStore("copies").getAll());
    const found = all.filter((copy) => isSameText(copy.text, text) && copy.account === account);
    return found.sort((one, other) => other.at - one.at);
  }

  put(copy) {
    this.#next.set(copy.tab, copy);
    this.#write();
  }

  delete(tab) {
    this.#next.set(tab, null);
    this.#write();
  }

  async #write() {
    if (this.#writing || !this.#database) return;
    this.#writing = true;
    while (this.#next.size) {
      const [[tab, copy]] = this.#next;
      this.#next.delete(tab);
      try {
        const transaction = this.#database.transaction("copies", "readwrite", { durability: "strict" });
        const store = transaction.objectStore("copies");
        if (copy) store.put(copy);
        else store.delete(tab);
        await new Promise((resolve, reject) => {
          transaction.oncomplete = resolve;
          transaction.onabort = () => reject(transaction.error);
        });
        this.failed = false;
      } catch {
        this.failed = true;
      }
    }
    this.#writing = false;
  }
}

// Whether two paths are of the same text: a story that is held over has it in another issue.
function isSameText(one, other) {
  return one.replace(ISSUE_OF_STORY, "") === other.replace(ISSUE_OF_STORY, "");
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

// Other tabs see by this lock that a copy belongs to a page that is still open.
export function holdTab(tab) {
  navigator.locks?.request(`text ${tab}`, () => new Promise(() => {}));
}

export async function isOpen(tab) {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return held.some((lock) => lock.name === `text ${tab}`);
}

export class Saving {
  dirty = false; // something differs from what the server has
  paused = false; // until somebody chooses between two texts
  #stuck = false; // sending the same again would change nothing
  #signedOut = false;
  #changes = 0;
  #busy = false;
  #timer = 0;
  #since = 0; // when the oldest change was made that was not sent
  #failures = 0;

  // `page`: url, text, account, tab, base, token, read() → what is written, onState(name, detail),
  // onSaved(answer, whether nothing was written since), onConflict(answer), isMe(account), onStranger().
  constructor(page, copies) {
    Object.assign(this, page);
    this.copies = copies;
  }

  // Something was written. `previousTab`: it comes from a copy of that tab.
  changed(previousTab = "") {
    this.#changes += 1;
    this.previousTab ||= previousTab;
    if (!this.dirty) this.#since = Date.now();
    this.dirty = true;
    this.#stuck = false;
    this.keep();
    if (this.paused || this.#failures) return;
    if (!this.#busy) this.onState("unsaved");
    this.#later(Math.min(PAUSE_MS, Math.max(0, this.#since + LONGEST_MS - Date.now())));
  }

  keep() {
    const { text, account, tab, base } = this;
    this.copies.put({ text, account, tab, base, ...this.read(), at: Date.now() });
  }

  // The page shows the text as the server has it.
  settled(base) {
    this.base = base;
    this.dirty = this.paused = this.#stuck = false;
    this.previousTab = "";
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.copies.delete(this.tab);
  }

  // What is written stands, in place of the text that `base` names.
  prevail(base) {
    this.base = base;
    this.paused = false;
    this.takeOver = true;
    this.changed();
    this.#later(0);
  }

  // The connection or the session may be back.
  tryNow() {
    if (this.#failures) this.#later(0);
  }

  // Save what is written now. Resolves to whether it is saved.
  async finish() {
    this.#later(0);
    while (this.dirty && !this.paused && !this.#stuck && !this.#failures) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return !this.dirty;
  }

  // The page goes. The copy stays until the page is opened again.
  last() {
    if (this.dirty && !this.paused && !this.#stuck && !this.#busy) this.#send().catch(() => {});
  }

  // Ask for the text as it is, and for the token of the session. Null if nobody is signed in, or somebody else.
  async load() {
    const answer = await fetch(`${this.url}/text`, { headers: { Accept: "application/json", "X-Refresh": "1" } });
    if (!answer.ok || answer.redirected) return null;
    const text = await answer.json();
    if (!this.isMe(text.account)) {
      this.onStranger();
      return null;
    }
    this.token = text.form_token;
    return text;
  }

  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#run(), ms);
  }

  #send() {
    const { base, tab, token, previousTab = "", takeOver = false } = this;
    const order = { form_token: token, base, tab, previous_tab: previousTab, take_over: takeOver };
    const body = JSON.stringify({ ...order, ...this.read() });
    return fetch(this.url, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body,
      keepalive: body.length < KEEPALIVE_BYTES,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  }

  // One request at a time: a later one never arrives before an earlier one, and each has the base of the one before.
  async #run() {
    if (this.#busy || !this.dirty || this.paused || this.#stuck) return;
    this.#busy = true;
    const sent = this.#changes;
    try {
      if (this.#signedOut && !(await this.load())) {
        this.#failed("signed_out");
      } else {
        this.#signedOut = false;
        this.onState("saving");
        await this.#answered(await this.#send(), sent);
      }
    } catch {
      this.#failed(navigator.onLine ? "unanswered" : "offline");
    } finally {
      this.#busy = false;
    }
    if (!this.#failures) this.#later(PAUSE_MS);
  }

  async #answered(answer, sent) {
    const same = sent === this.#changes;
    switch (answer.status) {
      case 200:
        this.#saved(await answer.json(), same);
        break;
      case 409:
        this.#failures = 0;
        this.paused = same; // else what was written meanwhile is kept there, too
        this.takeOver = false;
        this.keep();
        this.onConflict(await answer.json());
        break;
      case 422:
        this.#refused("refused", (await answer.json()).message);
        break;
      case 400:
      case 413:
        this.#refused("too_long");
        break;
      case 404:
        this.#refused("gone");
        break;
      case 401:
        this.#signedOut = true;
        this.#failed("signed_out");
        break;
      case 403: {
        // After signing in anew in another tab, the token of this page is that of the session before.
        const known = this.token;
        await this.load();
        if (this.token === known) this.#refused("forbidden");
        else this.#failed("saving", 0);
        break;
      }
      default:
        this.#failed("unanswered");
    }
  }

  #saved(answer, same) {
    const held = Object.keys(answer.problems).length > 0;
    this.#failures = 0;
    this.base = answer.base;
    this.takeOver = false;
    this.previousTab = "";
    this.#since = Date.now();
    if (same && !held) this.settled(answer.base);
    else this.keep();
    this.#stuck = same && held; // half a link, for example: all else is saved
    this.onSaved(answer, same);
  }

  #refused(state, reason) {
    this.#failures = 0;
    this.#stuck = true;
    this.onState(state, reason);
  }

  #failed(state, wait = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)]) {
    this.#failures += 1;
    this.onState(state);
    this.#later(wait);
  }
}

// The lines on the page of a story that say when and where. A line can be composed of dates and a place.

const REMOVAL_MS = 300; // after somebody left an empty line

const lineOf = (row) => row.querySelector("[name=dateline]");
const isEmpty = (row) => !lineOf(row).value.trim();

export class Datelines {
  // `page`: url, say(name, values) → words, isEditable(), onComposed().
  constructor(place, page) {
    this.place = place;
    this.page = page;
    // A line that is left empty goes, unless it is the only one. Not at once: a click may be on its way to what is below.
    place.addEventListener("focusout", (event) => {
      const row = event.target.closest(".dateline");
      if (row) setTimeout(() => this.#removeEmpty(row), REMOVAL_MS);
    });
    place.addEventListener("change", (event) => {
      if (event.target.closest(".date-picker")) this.#compose(event.target.closest(".dateline"));
    });
    const button = place.querySelector("#add-dateline");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => lineOf(this.#rows().find(isEmpty) ?? this.#add()).focus());
  }

  read() {
    return this.#rows().map((row) => ({ text: lineOf(row).value }));
  }

  write(lines) {
    const wanted = Math.max(1, lines.length);
    while (this.#rows().length && this.#rows().length < wanted) this.#add();
    this.#rows().forEach((row, index) => {
      if (index < wanted) lineOf(row).value = lines[index]?.text ?? "";
      else row.remove();
    });
  }

  // `dates`: how each line that is not empty is printed; empty for one that is printed as it is written.
  showUnderstood(dates) {
    const filled = this.#rows().filter((row) => !isEmpty(row));
    filled.forEach((row, index) => this.#showUnderstood(row, dates[index] ?? ""));
  }

  #rows() {
    return [...this.place.querySelectorAll(".dateline")];
  }

  #add() {
    const last = this.#rows().at(-1);
    const row = last.cloneNode(true);
    const number = this.#rows().length + 1;
    for (const input of row.querySelectorAll("input")) {
      const id = input.id.replace(/\d+$/, number);
      row.querySelector(`label[for="${input.id}"]`).htmlFor = id;
      input.id = id;
      input.value = "";
    }
    row.querySelector(".understood-dates").textContent = "";
    row.querySelector("details")?.removeAttribute("open");
    last.after(row);
    return row;
  }

  #removeEmpty(row) {
    const only = this.#rows().length === 1;
    if (this.page.isEditable() && !only && !row.contains(document.activeElement) && isEmpty(row)) row.remove();
  }

  async #compose(row) {
    const [start, end, place] = ["start", "end", "place"].map((name) => row.querySelector(`[name=dateline_${name}]`).value);
    if (!start) return;
    const answer = await fetch(`${this.page.url}/dateline?${new URLSearchParams({ start, end, place })}`);
    if (!answer.ok || answer.redirected) return;
    const { text, understood } = await answer.json();
    lineOf(row).value = text;
    this.#showUnderstood(row, understood);
    this.page.onComposed();
  }

  #showUnderstood(row, dates) {
    const words = dates ? this.page.say("understood", { dates }) : isEmpty(row) ? "" : this.page.say("not_understood");
    row.querySelector(".understood-dates").textContent = words;
  }
}

// The dialog for a link: its address, and its words where none are selected.
import { element, newId } from "./dom.js";
import { linkAt } from "./commands.js";
import { linkFrom } from "./links.js";

export class LinkDialog {
  constructor(texts) {
    this.texts = texts;
    const [title, address, words, help, error] = ["title", "address", "words", "help", "error"].map(newId);
    this.address = element("input", {
      id: address,
      type: "text",
      inputmode: "url",
      autocapitalize: "none",
      autocomplete: "off",
      spellcheck: "false",
      dir: "ltr",
      "aria-describedby": `${help} ${error}`,
    });
    this.words = element("input", { id: words, type: "text", autocomplete: "off", dir: "auto" });
    this.error = element("p", { id: error, class: "error" });
    this.wordsField = element("div", { class: "field" }, element("label", { for: words }, texts.link_words), this.words);
    this.remove = element("button", { type: "button", class: "button" }, texts.link_remove);
    const cancel = element("button", { type: "button", class: "button" }, texts.cancel);
    const form = element(
      "form",
      { novalidate: true },
      element("h2", { id: title }, texts.link),
      this.wordsField,
      element(
        "div",
        { class: "field" },
        element("label", { for: address }, texts.link_address),
        element("p", { id: help, class: "help" }, texts.link_help),
        this.error,
        this.address,
      ),
      element("p", { class: "buttons" }, element("button", { class: "button primary" }, texts.link_save), this.remove, cancel),
    );
    this.dialog = element("dialog", { class: "editor-dialog", "aria-labelledby": title }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.remove.addEventListener("click", () => this.#apply(null));
    cancel.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.view.focus());
    document.body.append(this.dialog);
  }

  open(view) {
    const { state } = view;
    this.view = view;
    this.range = linkAt(state);
    const { empty } = state.selection;
    this.wordsField.hidden = Boolean(this.range) || !empty;
    this.remove.hidden = !this.range;
    this.words.value = "";
    this.address.value = this.range?.mark.attrs.href.replace(/^mailto:/, "") ?? "";
    this.#complain("");
    this.dialog.showModal();
    this.address.focus();
    this.address.select();
  }

  #complain(message) {
    this.error.textContent = message;
    this.error.hidden = !message;
    this.address.setAttribute("aria-invalid", String(Boolean(message)));
  }

  #save() {
    const href = linkFrom(this.address.value);
    if (!href) {
      this.#complain(this.address.value.trim() ? this.texts.link_wrong : this.texts.link_missing);
      this.address.focus();
      return;
    }
    this.#apply(href);
  }

  #apply(href) {
    const { state } = this.view;
    const { link } = state.schema.marks;
    const { from, to, empty } = this.range ? { ...this.range, empty: false } : state.selection;
    const tr = state.tr;
    if (empty) {
      const words = this.words.value.trim() || href.replace(/^(mailto:|https?:\/\/)/, "");
      tr.replaceSelectionWith(state.schema.text(words, [...state.selection.$from.marks(), link.create({ href })]), false);
    } else {
      tr.removeMark(from, to, link);
      if (href) tr.addMark(from, to, link.create({ href }));
    }
    this.view.dispatch(tr.removeStoredMark(link).scrollIntoView());
    this.dialog.close();
  }
}

// What is shown below a link while the caret is in it: where it leads, and what can be done.
import { linkAt } from "./commands.js";
import { element } from "./dom.js";

export class LinkBubble {
  constructor({ texts, change, remove }) {
    this.anchor = element("a", { target: "_blank", rel: "noopener noreferrer", dir: "ltr" });
    const button = (text, run) => {
      const made = element("button", { type: "button", class: "plain" }, text);
      made.addEventListener("click", () => run(this.view));
      return made;
    };
    this.box = element(
      "div",
      { class: "editor-bubble", role: "group", "aria-label": texts.link, hidden: true },
      this.anchor,
      button(texts.link_change, change),
      button(texts.link_remove, remove),
    );
    this.box.addEventListener("focusout", () => requestAnimationFrame(() => this.update()));
  }

  attach(view) {
    this.view = view;
    view.dom.addEventListener("focus", () => requestAnimationFrame(() => this.update()));
    view.dom.addEventListener("blur", () => requestAnimationFrame(() => this.update()));
    this.update();
  }

  update() {
    const { view, box } = this;
    const near = view.editable && (view.hasFocus() || box.contains(document.activeElement));
    const { empty, from } = view.state.selection;
    const found = near && empty ? linkAt(view.state) : null;
    box.hidden = !found || from === found.from || from === found.to; // beside a link nobody asks for it
    if (box.hidden) return;
    const { href } = found.mark.attrs;
    this.anchor.href = href;
    this.anchor.textContent = href.replace(/^(?:https?:\/\/|mailto:)/, "");
    const frame = box.offsetParent.getBoundingClientRect();
    const [start, end] = [view.coordsAtPos(found.from), view.coordsAtPos(found.to, -1)];
    const left = Math.min(Math.min(start.left, end.left) - frame.left, frame.width - box.offsetWidth);
    box.style.left = `${Math.max(0, left)}px`;
    box.style.top = `${end.bottom - frame.top + 4}px`;
  }
}

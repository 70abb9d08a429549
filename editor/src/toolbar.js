// The toolbar: one tab stop, moved in with the arrow keys, which says what holds at the caret.
import { toggleMark } from "prosemirror-commands";
import { redo, undo } from "prosemirror-history";
import { ancestor, innermostList, liftItem, linkAt, markActive, nestItem, toggleHeading, toggleList, toggleQuote } from "./commands.js";
import { element, newId } from "./dom.js";
import { icon } from "./icons.js";
import { insertTable, isInTable, tableCommands } from "./tables.js";

const MAC = /Mac|iP(hone|[oa]d)/.test(navigator.platform);

// "Mod-Shift-7" as people read it, and as aria-keyshortcuts has it.
const shown = (keys) =>
  MAC ? keys.replace("Mod-", "⌘").replace("Shift-", "⇧").replace("Alt-", "⌥") : keys.replace("Mod-", "Ctrl+").replaceAll("-", "+");
const spoken = (keys) => keys.replace("Mod-", MAC ? "Meta+" : "Control+").replaceAll("-", "+");

export function toolbarItems(schema, kind, openLink) {
  const { marks, nodes } = schema;
  const mark = (name, keys) => ({
    name,
    keys,
    run: toggleMark(marks[name]),
    active: (state) => markActive(state, marks[name]),
  });
  const link = { name: "link", keys: "Mod-k", run: openLink, active: (state) => Boolean(linkAt(state)) };
  const history = [
    { name: "undo", keys: "Mod-z", run: undo },
    { name: "redo", keys: MAC ? "Mod-Shift-z" : "Mod-y", run: redo },
  ];
  if (kind === "line") return [[mark("em", "Mod-i"), mark("sup", "Mod-."), mark("sub", "Mod-,")]];
  if (kind === "note") return [[mark("strong", "Mod-b"), mark("em", "Mod-i"), link]];
  const list = (name, type, keys) => ({
    name,
    keys,
    run: toggleList(type),
    active: (state) => innermostList(state)?.node.type === type,
  });
  const inside = (type) => (state) => Boolean(ancestor(state, (node) => node.type === type));
  return [
    [mark("strong", "Mod-b"), mark("em", "Mod-i"), mark("strike", "Mod-Shift-x"), mark("sup", "Mod-."), mark("sub", "Mod-,")],
    [link],
    [
      { name: "heading", keys: "Mod-Alt-2", run: toggleHeading(nodes), active: inside(nodes.heading) },
      { name: "quote", keys: "Mod-Shift-9", run: toggleQuote(nodes), active: inside(nodes.blockquote) },
    ],
    [
      list("bullets", nodes.bullet_list, "Mod-Shift-8"),
      list("numbers", nodes.ordered_list, "Mod-Shift-7"),
      { name: "lift", keys: "Mod-[", run: liftItem(schema) },
      { name: "nest", keys: "Mod-]", run: nestItem(schema) },
    ],
    [{ name: "table", run: insertTable, menu: tableCommands, opensMenu: isInTable }],
    history,
  ];
}

export class Toolbar {
  constructor({ groups, texts, controls }) {
    this.texts = texts;
    this.bar = element("div", { role: "toolbar", class: "editor-toolbar", "aria-label": texts.toolbar, "aria-controls": controls });
    this.items = [];
    for (const group of groups) {
      const box = element("div", { class: "editor-group" });
      for (const item of group) {
        const button = element(
          "button",
          {
            type: "button",
            class: "editor-button",
            tabindex: "-1",
            "data-command": item.name,
            "aria-label": texts[item.name],
            "aria-keyshortcuts": item.keys && spoken(item.keys),
            title: item.keys ? `${texts[item.name]} (${shown(item.keys)})` : texts[item.name],
          },
          icon(item.name),
        );
        button.addEventListener("mousedown", (event) => event.preventDefault()); // the text keeps the focus
        button.addEventListener("click", () => this.#press(item, button));
        this.items.push({ item, button });
        box.append(button);
      }
      this.bar.append(box);
    }
    this.items[0].button.tabIndex = 0;
    this.bar.addEventListener("keydown", (event) => this.#move(event));
    this.bar.addEventListener("focusin", (event) => this.#stopAt(event.target));
  }

  attach(view) {
    this.view = view;
    this.update();
  }

  update() {
    const { state, editable } = this.view;
    for (const { item, button } of this.items) {
      const menu = item.opensMenu?.(state);
      const enabled = editable && (menu || item.run(state, undefined, this.view));
      button.setAttribute("aria-disabled", String(!enabled));
      if (item.active) button.setAttribute("aria-pressed", String(item.active(state)));
      if (item.menu) {
        button.setAttribute("aria-haspopup", menu ? "menu" : "false");
        if (!menu) button.removeAttribute("aria-expanded");
        else if (!button.hasAttribute("aria-expanded")) button.setAttribute("aria-expanded", "false");
      }
    }
  }

  focus() {
    this.items.find(({ button }) => button.tabIndex === 0).button.focus();
  }

  #press(item, button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    if (item.opensMenu?.(this.view.state)) {
      if (this.menu) this.#closeMenu();
      else this.#openMenu(item, button);
      return;
    }
    const byKeyboard = document.activeElement === button;
    item.run(this.view.state, this.view.dispatch, this.view);
    if (!byKeyboard) this.view.focus();
  }

  #stopAt(target) {
    if (!this.items.some(({ button }) => button === target)) return;
    for (const { button } of this.items) button.tabIndex = button === target ? 0 : -1;
  }

  #move(event) {
    const buttons = this.items.map(({ button }) => button);
    const at = buttons.indexOf(event.target);
    if (event.key === "Escape") {
      event.preventDefault();
      this.view.focus();
      return;
    }
    if (at < 0) return;
    const forward = getComputedStyle(this.bar).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const next = { [forward]: at + 1, [backward]: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    buttons[(next + buttons.length) % buttons.length].focus();
  }

  #openMenu(item, button) {
    const id = newId("editor-menu");
    const choices = item.menu.map(([name, command]) => {
      const choice = element("button", { type: "button", role: "menuitem", tabindex: "-1", "data-command": name }, this.texts[name]);
      if (!command(this.view.state)) choice.setAttribute("aria-disabled", "true");
      choice.addEventListener("click", () => {
        if (choice.getAttribute("aria-disabled") === "true") return;
        this.#closeMenu();
        command(this.view.state, this.view.dispatch, this.view);
        this.view.focus();
      });
      return choice;
    });
    this.menu = element("div", { id, role: "menu", class: "editor-menu", "aria-label": this.texts[item.name] }, ...choices);
    this.menuButton = button;
    this.menu.addEventListener("keydown", (event) => {
      const at = choices.indexOf(document.activeElement);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: choices.length - 1 }[event.key];
      if (next !== undefined) {
        event.preventDefault();
        choices[(next + choices.length) % choices.length].focus();
      } else if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        this.#closeMenu();
        button.focus();
      } else if (event.key === "Tab") this.#closeMenu();
    });
    button.parentElement.append(this.menu);
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", id);
    this.outside = (event) => {
      if (!this.menu.contains(event.target) && !button.contains(event.target)) this.#closeMenu();
    };
    document.addEventListener("pointerdown", this.outside);
    choices[0].focus();
  }

  #closeMenu() {
    if (!this.menu) return;
    document.removeEventListener("pointerdown", this.outside);
    this.menu.remove();
    this.menu = null;
    this.menuButton.removeAttribute("aria-controls");
    this.menuButton.setAttribute("aria-expanded", "false");
  }
}

// The selection of several pictures, and what can be done with them together.

import { say } from "./api.js";

export class Selection {
  #pictures;
  #bar;
  #usual;
  #changed;
  #chosen = new Set();
  #last = null; // the entry that was chosen last, from which Shift chooses a range

  // `actions` has a function for each button of the bar; it gets the chosen entries in their order. `usual`, if any, is
  // shown in place of the bar while nothing is chosen. `changed` is called when the selection has changed other than by a box.
  constructor(pictures, { bar, usual, actions, changed }) {
    this.#pictures = pictures;
    this.#bar = bar;
    this.#usual = usual;
    this.#changed = changed;
    bar.addEventListener("click", ({ target }) => {
      const name = target.closest("[data-do]")?.dataset.do;
      if (!name) return;
      if (name === "all") return this.#chooseAll();
      const entries = this.entries;
      this.clear();
      actions[name]?.(entries);
    });
  }

  // The chosen entries in their order.
  get entries() {
    return this.#pictures.visible.filter((entry) => this.#chosen.has(entry));
  }

  // The entries that an action on one of them is about: all that are chosen, if it is among them.
  around(entry) {
    return this.#chosen.has(entry) ? this.entries : [entry];
  }

  clear() {
    this.#chosen.clear();
    this.#changed();
  }

  #chooseAll() {
    for (const entry of this.#pictures.visible) this.#chosen.add(entry);
    this.#changed();
  }

  connect(box, entry) {
    box.addEventListener("click", ({ shiftKey }) => {
      const entries = this.#pictures.visible;
      const [from, to] = [entries.indexOf(this.#last), entries.indexOf(entry)];
      const range = shiftKey && from >= 0 ? entries.slice(Math.min(from, to), Math.max(from, to) + 1) : [entry];
      for (const each of range) this.#chosen[box.checked ? "add" : "delete"](each);
      this.#last = entry;
      this.#changed();
    });
  }

  // Shows whether an entry is chosen.
  show(box, entry) {
    box.checked = this.#chosen.has(entry);
  }

  showBar() {
    const { length: count } = this.entries;
    this.#bar.hidden = count === 0;
    this.#usual?.toggleAttribute("hidden", count > 0);
    this.#bar.querySelector("span").textContent = say("selected", { count });
  }
}

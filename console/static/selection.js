// The selection of several pictures, and what can be done with them together.

import { say } from "./api.js";

export class Selection {
  #pictures;
  #bar;
  #chosen = new Set();

  // `actions` has a function for each button of the bar; it gets the chosen entries in their order.
  constructor(pictures, bar, actions) {
    this.#pictures = pictures;
    this.#bar = bar;
    bar.addEventListener("click", ({ target }) => {
      const name = target.closest("[data-do]")?.dataset.do;
      if (!name) return;
      const entries = this.#entries();
      this.#chosen.clear();
      actions[name]?.(entries);
      actions.changed();
    });
  }

  #entries() {
    return this.#pictures.visible.filter((entry) => this.#chosen.has(entry));
  }

  connect(box, entry) {
    box.addEventListener("change", () => {
      this.#chosen[box.checked ? "add" : "delete"](entry);
      this.show();
    });
  }

  show(box = null, entry = null) {
    if (box) box.checked = this.#chosen.has(entry);
    const count = this.#entries().length;
    this.#bar.hidden = count === 0;
    this.#bar.querySelector("span").textContent = say("selected", { count });
  }
}

// Saves the files of pictures, one after the other.
export function download(entries) {
  for (const { image } of entries) {
    const link = document.createElement("a");
    link.href = image.url;
    // A browser opens a picture of another origin in place of saving it: in a new tab, so that the page stays.
    link.target = "_blank";
    link.rel = "noopener";
    link.download = image.url.split("/").at(-1);
    link.click();
  }
}

// The grid of pictures: one tile for each visible picture, with its marks, its caption and its tools.

import { textOf } from "./alternative_text.js";
import { say } from "./api.js";
import { made, removedInShort } from "./facts.js";
import { time } from "./history.js";
import { showSmall } from "./sources.js";
import { prepareToolbar } from "./tools.js";

const NAMED = ["first", "earlier", "later", "copy", "download", "delete"];
// The widths of pictures, from which the browser chooses a file before it knows the layout (the attribute `sizes`). The first
// picture is twice as wide.
const SIZES = "(max-width: 34rem) 50vw, 20rem";
const SIZES_OF_THE_FIRST = "(max-width: 34rem) 100vw, 40rem";

export class Grid {
  #list;
  #template;
  #pictures;
  #name;
  #texts;
  #selection;
  #items = new Map(); // entry → list item element

  // `texts` and `selection` are null for users who may not write. `name()` is the product's name.
  constructor(list, { template, pictures, name, texts, selection }) {
    this.#list = list;
    this.#template = template;
    this.#pictures = pictures;
    this.#name = name;
    this.#texts = texts;
    this.#selection = selection;
  }

  itemOf(entry) {
    return this.#items.get(entry);
  }

  entryOf(item) {
    return [...this.#items].find(([, each]) => each === item)?.[0];
  }

  // The entries in the order of their tiles, which a drag may have changed.
  get order() {
    return [...this.#list.children].map((item) => this.entryOf(item));
  }

  alt(entry) {
    const number = this.#pictures.visible.indexOf(entry) + 1;
    return textOf(entry.image) || say("picture", { number, name: this.#name() });
  }

  focus(entry) {
    this.#items.get(entry)?.querySelector(".view").focus();
  }

  show() {
    const entries = this.#pictures.visible;
    const focused = document.activeElement;
    for (const [entry, item] of this.#items) {
      if (entries.includes(entry)) continue;
      item.remove();
      this.#items.delete(entry);
    }
    entries.forEach((entry, place) => {
      const item = this.#items.get(entry) ?? this.#make(entry);
      if (this.#list.children[place] !== item) this.#list.insertBefore(item, this.#list.children[place] ?? null);
      this.#showPicture(item, entry.image, place);
      this.#label(item, place, entries.length);
      this.#describe(item, entry, place);
      this.#selection?.show(item.querySelector(".choose"), entry);
    });
    while (this.#list.children.length > entries.length) this.#list.lastElementChild.remove();
    // Moving an element removes the focus from its descendants; restore it.
    if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  }

  #make(entry) {
    const item = this.#template.content.firstElementChild.cloneNode(true);
    item.querySelector("a").href = entry.image.url;
    this.#texts?.connect(item.querySelector("textarea"), item.querySelector(".counter"));
    this.#selection?.connect(item.querySelector(".choose"), entry);
    prepareToolbar(item.querySelector("[role=toolbar]"));
    this.#items.set(entry, item);
    return item;
  }

  #showPicture(item, image, place) {
    const element = item.querySelector("img");
    element.sizes = place === 0 ? SIZES_OF_THE_FIRST : SIZES;
    showSmall(element, image);
    item.classList.toggle("tall", image.height > image.width);
    item.classList.toggle("wide", image.height <= image.width);
    item.classList.toggle("see-through", ["image/png", "image/webp"].includes(image.contentType));
  }

  #label(item, place, count) {
    const values = { number: place + 1, name: this.#name() };
    item.querySelector(".view").setAttribute("aria-label", say("view", values));
    item.querySelector("[role=toolbar]").setAttribute("aria-label", say("tools", values));
    item.querySelector(".choose")?.setAttribute("aria-label", say("choose", values));
    item.querySelector(".more")?.setAttribute("aria-label", say("tools", values));
    for (const name of NAMED) {
      const button = buttonOf(item, name);
      button?.setAttribute("aria-label", say(name, values));
      if (button) button.title = say(name, values);
    }
    // aria-disabled, not `disabled`: a user who moves a picture to the end by keyboard keeps the focus.
    buttonOf(item, "first")?.setAttribute("aria-disabled", String(place === 0));
    buttonOf(item, "earlier")?.setAttribute("aria-disabled", String(place === 0));
    buttonOf(item, "later")?.setAttribute("aria-disabled", String(place === count - 1));
  }

  // The alternative text, what was removed from the file, how the picture was made, and since when it is here.
  #describe(item, entry, place) {
    const { image } = entry;
    item.querySelector("img").alt = this.alt(entry);
    item.querySelector(".no-alt").hidden = textOf(image) !== "";
    item.querySelector(".alt-text").textContent = this.#texts ? this.#texts.captionOf(entry) : textOf(image);
    showFact(item.querySelector(".removed"), removedInShort(image));
    showFact(item.querySelector(".made"), image.digitalSourceType && made(image.digitalSourceType));
    const added = item.querySelector(".added");
    added.hidden = !image.createdAt;
    if (image.createdAt) added.querySelector("span").replaceChildren(time(image.createdAt));
    if (!this.#texts) return;
    const name = say("altOf", { number: place + 1 });
    item.querySelector(".caption .unseen").textContent = `${name}: `;
    const field = item.querySelector("textarea");
    field.setAttribute("aria-label", name);
    this.#texts.show(field, entry);
  }
}

export function buttonOf(item, name) {
  return item.querySelector(`[data-do="${name}"]`);
}

function showFact(element, text) {
  element.hidden = !text;
  element.querySelector("span").textContent = text ?? "";
}

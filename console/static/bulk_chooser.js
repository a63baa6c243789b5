// The dialog in which one chooses the product of pictures: an existing one, a new one, or none. The field and its hits
// are a combobox with a listbox: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/.

import { Problem, say } from "./api.js";
import { LONGEST_MODEL, productsOf, search, similar } from "./bulk_products.js";

const DELAY_MS = 200;

export class Chooser {
  #dialog;
  #field;
  #hits;
  #status;
  #model;
  #problem;
  #products = [];
  #chosen = -1;
  #timer = 0;
  #asked = 0;
  #answer = null;

  constructor(dialog) {
    const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
    this.#dialog = dialog;
    [this.#field, this.#hits, this.#status] = [part("search"), part("hits"), part("status")];
    [this.#model, this.#problem] = [part("model"), part("problem")];
    this.#field.addEventListener("input", () => this.#later());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#hits.addEventListener("click", ({ target }) => {
      const option = target.closest("[role=option]");
      if (option) this.#close({ product: this.#products[[...this.#hits.children].indexOf(option)] });
    });
    part("make").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    part("skip").addEventListener("click", () => this.#close({ skip: true }));
    part("cancel").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#answer?.(null));
  }

  // Resolves to { product }, { model } of a new one, { skip: true }, or null.
  ask(title, model) {
    this.#dialog.querySelector("h2").textContent = title;
    this.#field.value = "";
    this.#model.value = model;
    this.#problem.hidden = true;
    this.#dialog.showModal();
    this.#field.focus();
    this.#find();
    return new Promise((done) => {
      this.#answer = done;
    });
  }

  #close(answer) {
    const done = this.#answer;
    this.#answer = null;
    this.#dialog.close();
    done?.(answer);
  }

  async #make() {
    const model = this.#model.value.normalize("NFC").trim();
    const key = !model ? "bulk.noModel" : Array.from(model).length > LONGEST_MODEL ? "bulk.longModel" : null;
    if (key) return this.#refuse(say(key));
    try {
      const same = (await productsOf([model])).get(model);
      if (same) return this.#close({ product: same });
      const other = await similar(model);
      if (other) return this.#refuse(say("bulk.similar", { model: other.model }));
      this.#close({ model });
    } catch (error) {
      this.#refuse((error instanceof Problem ? error : new Problem(0)).sentence);
    }
  }

  #refuse(sentence) {
    this.#problem.textContent = sentence;
    this.#problem.hidden = false;
    this.#model.focus();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#find(), DELAY_MS);
  }

  async #find() {
    const asked = ++this.#asked;
    try {
      const products = await search(this.#field.value.trim());
      if (asked === this.#asked) this.#show(products);
    } catch (error) {
      if (asked === this.#asked) this.#status.textContent = (error instanceof Problem ? error : new Problem(0)).sentence;
    }
  }

  #show(products) {
    this.#products = products;
    this.#hits.replaceChildren(...products.map((product, index) => option(product, index)));
    this.#status.textContent = products.length ? say("bulk.hits", { count: products.length }) : say("bulk.noHits");
    this.#field.setAttribute("aria-expanded", String(products.length > 0));
    this.#mark(-1);
  }

  #mark(index) {
    this.#chosen = index;
    for (const [place, each] of [...this.#hits.children].entries()) each.setAttribute("aria-selected", String(place === index));
    const marked = this.#hits.children[index];
    if (marked) this.#field.setAttribute("aria-activedescendant", marked.id);
    else this.#field.removeAttribute("aria-activedescendant");
    marked?.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    const count = this.#products.length;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && count) {
      event.preventDefault();
      const from = this.#chosen < 0 && event.key === "ArrowUp" ? 0 : this.#chosen;
      this.#mark((from + steps[event.key] + count) % count);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const product = this.#products[this.#chosen] ?? (count === 1 ? this.#products[0] : null);
      if (product) this.#close({ product });
    }
  }
}

function option({ name, model, urls, archived }, index) {
  const element = document.createElement("li");
  element.id = `bulk-hit-${index}`;
  element.setAttribute("role", "option");
  const [strong, note] = [document.createElement("strong"), document.createElement("span")];
  strong.textContent = name;
  note.className = "note";
  note.textContent = say(archived ? "bulk.hitArchived" : "bulk.hit", { model, count: urls.length });
  element.append(strong, note);
  return element;
}

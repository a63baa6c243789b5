// The fields for alternative text: one under each picture and one in the viewer, in the chosen language.

import { say } from "./api.js";

const pageLanguage = document.documentElement.lang;

// The text that an <img> element gets: in the page's language, or in the first one that there is.
export function textOf(image) {
  const alt = image.alt ?? {};
  return alt[pageLanguage] ?? Object.values(alt)[0] ?? "";
}

export class AlternativeTexts {
  #pictures;
  #select;
  #tools;
  #entries = new WeakMap(); // field → entry
  #sent = new WeakMap(); // entry → the texts by language that are being saved

  // `select` chooses the language; `changed` is called afterwards.
  constructor({ pictures, select, changed, ...tools }) {
    this.#pictures = pictures;
    this.#select = select;
    this.#tools = tools;
    this.#offer([select.dataset.source, pageLanguage, "en", "it"]);
    select.value = select.dataset.source;
    select.addEventListener("change", changed);
  }

  get language() {
    return this.#select.value;
  }

  // Adds the languages of the texts that the pictures have.
  #offer(tags) {
    const names = new Intl.DisplayNames([pageLanguage], { type: "language" });
    const present = new Set([...this.#select.options].map(({ value }) => value));
    for (const tag of new Set(tags)) {
      if (!present.has(tag)) this.#select.add(new Option(names.of(tag), tag));
    }
  }

  offerLanguagesOf(entries) {
    this.#offer(entries.flatMap(({ image }) => Object.keys(image.alt ?? {})));
  }

  // Connects a field and its counter, once.
  connect(field, counter) {
    const count = () => (counter.textContent = say("counter", { count: field.value.length, most: field.maxLength }));
    field.addEventListener("input", count);
    field.addEventListener("focus", count);
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // a text has no line breaks
      this.#leave(field);
    });
    field.addEventListener("change", () => this.#leave(field));
  }

  // Shows the text of a picture. What the user types at the moment stays.
  show(field, entry) {
    const moved = this.#entries.get(field) !== entry || field.lang !== this.language;
    this.#entries.set(field, entry);
    field.lang = this.language;
    if (moved || field !== document.activeElement) field.value = this.#saved(entry);
  }

  // The text of a picture in the chosen language, or that there is none.
  captionOf(entry) {
    const text = this.#saved(entry);
    if (text || textOf(entry.image) === "") return text;
    return say("altNone", { language: this.#select.selectedOptions[0].text });
  }

  // Shows the saved text again in place of what the user typed.
  reset(field) {
    field.value = this.#saved(this.#entries.get(field));
  }

  #saved(entry) {
    return this.#sent.get(entry)?.[this.language] ?? entry.image.alt?.[this.language] ?? "";
  }

  #leave(field) {
    const entry = this.#entries.get(field);
    const text = field.value.replace(/\s+/g, " ").trim();
    field.value = text;
    const before = this.#saved(entry);
    if (text !== before) this.#save(entry, this.language, text, before);
  }

  async #save(entry, language, text, before) {
    const { announce, toasts, tell } = this.#tools;
    this.#sent.set(entry, { ...this.#sent.get(entry), [language]: text });
    try {
      await this.#pictures.describe(entry, language, text);
    } catch (problem) {
      tell(problem);
      return;
    } finally {
      delete this.#sent.get(entry)[language];
    }
    announce(say("altSaved"));
    const undo = () =>
      this.#pictures
        .describe(entry, language, before)
        .then(() => announce(say("altBack")))
        .catch(tell);
    toasts.add(say("altSaved"), { undo });
  }
}

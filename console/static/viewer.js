// The full-size view of a picture, with its details.

import { say } from "./api.js";
import { facts } from "./facts.js";
import { showLarge } from "./sources.js";

export function makeViewer(dialog, { pictures, alt, copy, closed, texts, remove }) {
  const image = dialog.querySelector("img");
  const field = dialog.querySelector("textarea");
  let shown = null;
  if (field) texts.connect(field, dialog.querySelector(".counter"));

  const actions = {
    previous: () => step(-1),
    next: () => step(1),
    copy: () => copy(shown),
    zoom: () => zoom(!dialog.classList.contains("zoomed")),
    delete: () => removeShown(),
    close: () => dialog.close(),
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    actions[event.target.closest("[data-do]")?.dataset.do]?.();
  });
  dialog.addEventListener("keydown", ({ key, target }) => {
    if (target === field) return;
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });

  // The browser would focus the picture that was opened; meanwhile the user may have gone on to another one.
  dialog.addEventListener("close", () => closed(shown));

  function step(by) {
    const entries = pictures.visible;
    show(entries[(entries.indexOf(shown) + by + entries.length) % entries.length]);
  }

  // The next picture is shown, and the page has the message with the undo button.
  function removeShown() {
    const entries = pictures.visible;
    const place = entries.indexOf(shown);
    const next = entries[place + 1] ?? entries[place - 1];
    if (next) show(next);
    else dialog.close();
    remove(entries[place], place);
    if (next) show(next);
  }

  // Shows the picture in its own size, and so large that the stage scrolls.
  function zoom(on) {
    dialog.classList.toggle("zoomed", on);
    dialog.querySelector('[data-do="zoom"]').setAttribute("aria-pressed", String(on));
    if (on) image.removeAttribute("srcset");
    if (on) image.src = shown.image.url;
    else showLarge(image, shown.image);
  }

  function show(entry) {
    shown = entry;
    if (dialog.classList.contains("zoomed")) zoom(false);
    const entries = pictures.visible;
    const values = { number: entries.indexOf(entry) + 1, count: entries.length };
    dialog.querySelector(".position").textContent = say("position", values);
    if (field) texts.show(field, entry);
    showLarge(image, entry.image);
    image.alt = alt(entry);
    for (const name of ["open", "download"]) dialog.querySelector(`[data-do="${name}"]`).href = entry.image.url;
    const known = facts(entry.image);
    for (const row of dialog.querySelectorAll("[data-fact]")) {
      const text = known[row.dataset.fact];
      row.hidden = text === undefined;
      if (text) row.querySelector("dd").textContent = text;
    }
    const alone = pictures.visible.length < 2;
    for (const name of ["previous", "next"]) dialog.querySelector(`[data-do="${name}"]`).disabled = alone;
  }

  return (entry) => {
    show(entry);
    dialog.showModal();
  };
}

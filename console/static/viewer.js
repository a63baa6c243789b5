// The large view of a picture, with its details.

import { say } from "./api.js";
import { facts } from "./facts.js";
import { showLarge } from "./sources.js";
import { Zoom } from "./zoom.js";

const PAN_PX = 80;

export function makeViewer(dialog, { pictures, alt, copy, closed, texts, remove, toasts, history }) {
  const image = dialog.querySelector("img");
  const field = dialog.querySelector("textarea");
  const button = (name) => dialog.querySelector(`[data-do="${name}"]`);
  let shown = null;
  let place = 0;
  if (field) texts.connect(field, dialog.querySelector(".counter"));
  const zoom = new Zoom(dialog.querySelector(".stage"), image, { changed: showZoom, swiped: step });

  const actions = {
    previous: () => step(-1),
    next: () => step(1),
    in: () => zoom.in(),
    out: () => zoom.out(),
    zoom: () => zoom.toggle(),
    copy: () => copy(shown),
    delete: () => remove(shown),
    close: () => dialog.close(),
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    actions[event.target.closest("[data-do]")?.dataset.do]?.();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target === field) typed(event);
    else if (!event.ctrlKey && !event.metaKey && !event.altKey) pressed(event);
  });
  // The browser would focus the picture that was opened; meanwhile the user may have gone on to another one.
  dialog.addEventListener("close", () => {
    document.body.append(toasts);
    closed(shown);
  });

  // Ctrl+Enter saves the text and shows the next picture. The field keeps the focus.
  function typed({ key, ctrlKey, metaKey }) {
    if (key === "Enter" && (ctrlKey || metaKey)) step(1);
  }

  function pressed(event) {
    const keys = {
      ArrowLeft: () => (zoom.fitted ? step(-1) : zoom.pan(-PAN_PX, 0)),
      ArrowRight: () => (zoom.fitted ? step(1) : zoom.pan(PAN_PX, 0)),
      ArrowUp: () => zoom.fitted || zoom.pan(0, -PAN_PX),
      ArrowDown: () => zoom.fitted || zoom.pan(0, PAN_PX),
      "+": () => zoom.in(),
      "=": () => zoom.in(),
      "-": () => zoom.out(),
      0: () => zoom.fit(),
      1: () => zoom.actual(),
      Delete: () => field && remove(shown),
    };
    if (!keys[event.key]) return;
    if (event.key.startsWith("Arrow") && !zoom.fitted) event.preventDefault();
    keys[event.key]();
  }

  function step(by) {
    const entries = pictures.visible;
    show(entries[(entries.indexOf(shown) + by + entries.length) % entries.length]);
  }

  // Larger than fitted, the picture is shown in its own pixels.
  function showZoom(fitted, scale) {
    if (!shown) return;
    dialog.classList.toggle("zoomed", !fitted);
    button("zoom").textContent = say(fitted ? "zoomToOriginal" : "zoomToFit");
    button("out").disabled = fitted;
    dialog.querySelector(".percent").textContent = say("percent", { percent: Math.round(100 * scale) });
    if (fitted) {
      image.sizes = `${Math.ceil(image.clientWidth) || 1}px`;
      showLarge(image, shown.image);
    } else if (image.hasAttribute("srcset")) {
      image.removeAttribute("srcset");
      image.src = shown.image.url;
    }
  }

  function show(entry) {
    shown = entry;
    image.classList.toggle("see-through", ["image/png", "image/webp"].includes(entry.image.contentType));
    zoom.reset(entry.image);
    describe();
  }

  function describe() {
    const entries = pictures.visible;
    place = entries.indexOf(shown);
    dialog.querySelector(".position").textContent = say("position", { number: place + 1, count: entries.length });
    if (field) texts.show(field, shown);
    else dialog.querySelector(".alt-text").textContent = alt(shown);
    image.alt = alt(shown);
    for (const name of ["open", "download"]) button(name).href = shown.image.url;
    const known = facts(shown.image);
    for (const row of dialog.querySelectorAll("[data-fact]")) {
      const text = known[row.dataset.fact];
      row.hidden = text === undefined;
      if (text) row.querySelector("dd").textContent = text;
    }
    history.show(shown.image, dialog.querySelector(".picture-history"));
    for (const name of ["previous", "next"]) button(name).hidden = entries.length < 2;
  }

  return {
    open(entry) {
      dialog.append(toasts); // the page behind a modal dialog can't be used
      dialog.showModal();
      show(entry);
    },
    // Shows a picture if the view is open, and returns whether it is.
    shows(entry) {
      if (dialog.open) show(entry);
      return dialog.open;
    },
    // Shows what has changed. In place of a picture that is gone it shows the next one, or else the one before.
    update() {
      if (!dialog.open) return;
      const entries = pictures.visible;
      if (entries.includes(shown)) describe();
      else if (entries.length) show(entries[Math.min(place, entries.length - 1)]);
      else dialog.close();
    },
  };
}

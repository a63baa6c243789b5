// The full-size view of a picture, with its details.

import { showLarge } from "./sources.js";

// The browser's regional variant of the page's language, for dates and numbers.
const language = navigator.languages.find((each) => each.startsWith(document.documentElement.lang));

export function makeViewer(dialog, { pictures, alt, copy, closed }) {
  const image = dialog.querySelector("img");
  let shown = null;

  const actions = {
    previous: () => step(-1),
    next: () => step(1),
    copy: () => copy(shown),
    close: () => dialog.close(),
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    actions[event.target.closest("[data-do]")?.dataset.do]?.();
  });
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });

  // The browser would focus the picture that was opened; meanwhile the user may have gone on to another one.
  dialog.addEventListener("close", () => closed(shown));

  function step(by) {
    const entries = pictures.visible;
    show(entries[(entries.indexOf(shown) + by + entries.length) % entries.length]);
  }

  function show(entry) {
    shown = entry;
    showLarge(image, entry.image);
    image.alt = alt(entry);
    dialog.querySelector('[data-do="open"]').href = entry.image.url;
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

function facts({ size, width, height, contentType, createdAt }) {
  if (!createdAt) return { elsewhere: "" };
  return {
    size: readable(size),
    dimensions: `${width} × ${height}`,
    type: contentType.replace("image/", "").toUpperCase().replace("WEBP", "WebP"),
    date: new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(new Date(createdAt)),
  };
}

function readable(bytes) {
  const [value, unit] =
    bytes < 1000 ? [bytes, "byte"] : bytes < 1e6 ? [bytes / 1e3, "kilobyte"] : [bytes / 1e6, "megabyte"];
  const options = { style: "unit", unit, unitDisplay: unit === "byte" ? "long" : "short" };
  return new Intl.NumberFormat(language, { ...options, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

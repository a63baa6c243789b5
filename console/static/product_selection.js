// The selection of several products in the list: archives and restores them, and saves their pictures.

import { Problem, call, say } from "./api.js";
import { announce, reload } from "./list.js";
import { Selection } from "./selection.js";
import { Toasts } from "./toasts.js";
import { zip } from "./zip.js";

const ARCHIVED = "archived";
const byId = (id) => document.getElementById(id);
const bar = byId("selection");
const toasts = new Toasts(byId("toasts"), byId("toast-template"));

// An entry is a product of the list: { id, status, box }. Entries outlive a new search, so that a product that is
// shown again is still chosen.
const entries = new Map();
const products = { visible: [] };

const selection = new Selection(products, {
  bar,
  actions: {
    archive: (chosen) => change(chosen, ARCHIVED),
    restore: (chosen) => change(chosen, "active"),
    download,
  },
  changed: showChosen,
});

function connect() {
  products.visible = [...document.querySelectorAll("#results .product")].map((item) => {
    const { id, status } = item.dataset;
    const entry = Object.assign(entries.get(id) ?? { id }, { status, box: item.querySelector(".pick") });
    entries.set(id, entry);
    entry.box.hidden = false;
    selection.connect(entry.box, entry);
    return entry;
  });
  showChosen();
}

function showChosen() {
  for (const entry of products.visible) selection.show(entry.box, entry);
  const chosen = selection.entries;
  bar.querySelector('[data-do="archive"]')?.toggleAttribute("hidden", chosen.every(isArchived));
  bar.querySelector('[data-do="restore"]')?.toggleAttribute("hidden", !chosen.some(isArchived));
  selection.showBar();
}

function isArchived({ status }) {
  return status === ARCHIVED;
}

function tell(text, options) {
  announce(text);
  toasts.add(text, options);
}

function sentence(problem) {
  return (problem instanceof Problem ? problem : new Problem(0)).sentence;
}

async function change(chosen, status) {
  const changed = [];
  let problem = null;
  try {
    for (const { id } of chosen.filter((entry) => entry.status !== status)) {
      if (status === ARCHIVED) await call("POST", `/products/${id}/archive`);
      else await call("PATCH", `/products/${id}`, { body: { status } });
      changed.push({ id, status });
    }
  } catch (error) {
    problem = error;
  }
  await reload();
  byId("search").focus({ preventScroll: true });
  if (changed.length) {
    const back = status === ARCHIVED ? "active" : ARCHIVED;
    const text = say(status === ARCHIVED ? "archivedSeveral" : "restoredSeveral", { count: changed.length });
    tell(text, { undo: () => change(changed, back) });
  }
  if (problem) tell(sentence(problem));
}

async function download(chosen) {
  const [files, elsewhere] = [[], []];
  announce(say("collecting"));
  try {
    for (const { id } of chosen) {
      const { model, images } = await (await call("GET", `/products/${id}`)).json();
      for (const [index, { url }] of images.entries()) {
        // Browsers let a page read the pictures of its own server only.
        if (new URL(url).origin !== location.origin) elsewhere.push(url);
        else files.push({ name: nameOf(model, index, url), bytes: await bytesOf(url) });
      }
    }
  } catch (problem) {
    return tell(sentence(problem));
  }
  const count = files.length;
  if (elsewhere.length) files.push({ name: "addresses.txt", bytes: new TextEncoder().encode(elsewhere.join("\n")) });
  if (files.length) save(zip(files));
  const elsewhereText = elsewhere.length ? say("picturesElsewhere", { count: elsewhere.length }) : "";
  tell(files.length ? `${say("picturesSaved", { count })} ${elsewhereText}`.trim() : say("noPictures"));
}

// A name that is valid on every system: AU-48/01.jpg.
function nameOf(model, index, url) {
  const folder = model.replace(/[\p{Cc}\\/:*?"<>|]/gu, "_").replace(/^[. ]+|[. ]+$/g, "_");
  return `${folder}/${String(index + 1).padStart(2, "0")}.${url.split(".").at(-1)}`;
}

async function bytesOf(url) {
  const response = await fetch(url).catch(() => {
    throw new Problem(0);
  });
  if (!response.ok) throw new Problem(response.status);
  return new Uint8Array(await response.arrayBuffer());
}

function save(blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "pictures.zip";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

document.addEventListener("shown", connect);
connect();

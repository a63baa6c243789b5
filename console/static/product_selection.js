// The selection of several products in the list: archives and restores them, and saves their pictures.

import { Problem, call, say } from "./api.js";
import { pathOf, saveArchive } from "./downloads.js";
import { announce, reload } from "./list.js";
import { Selection } from "./selection.js";
import { Toasts } from "./toasts.js";

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
  announce(say("collecting"));
  try {
    const pictures = [];
    for (const { id } of chosen) {
      const { model, images } = await (await call("GET", `/products/${id}`)).json();
      pictures.push(...images.map(({ url }, place) => ({ url, path: pathOf(model, place, url) })));
    }
    tell(pictures.length ? await saveArchive("pictures.zip", pictures) : say("noPictures"));
  } catch (problem) {
    tell(sentence(problem));
  }
}

document.addEventListener("shown", connect);
connect();

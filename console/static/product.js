// The page of one product: renders its pictures and connects the controls that change them.

import { AlternativeTexts } from "./alternative_text.js";
import { Problem, say } from "./api.js";
import { describe, makeCaptions } from "./captions.js";
import { Changes } from "./changes.js";
import { copy } from "./copy.js";
import { makeDetails } from "./details.js";
import { fileName, pathOf, saveArchive, saveOne } from "./downloads.js";
import { takeFiles } from "./file_sources.js";
import { makeFillToggle } from "./fill.js";
import { Grid, buttonOf } from "./grid.js";
import { PictureHistory, makeHistory } from "./history.js";
import { Pictures } from "./pictures.js";
import { Selection } from "./selection.js";
import { isDragging, makeSortable } from "./sorting.js";
import { recoverSizes } from "./sources.js";
import { Toasts } from "./toasts.js";
import { makeTools } from "./tools.js";
import { Uploads } from "./uploads.js";
import { makeViewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const product = byId("product");
const list = byId("pictures");
const mayWrite = "mayWrite" in product.dataset;
const most = Number(product.dataset.most);
const REFRESH_MS = 20_000;

const toasts = new Toasts(byId("toasts"), byId("toast-template"));
const pictures = new Pictures(product.dataset.id, { show, tell, most });
const changes = new Changes(pictures, { toasts, announce, tell, shown: (entry) => viewer.shows(entry) || grid.focus(entry) });
const texts = mayWrite
  ? new AlternativeTexts({ pictures, select: byId("alt-language"), changed: show, announce, toasts, tell })
  : null;
const selection = mayWrite ? makeSelection() : null;
const grid = new Grid(list, {
  template: byId("picture-template"),
  pictures,
  name: () => product.dataset.name,
  texts,
  selection,
});
const showHistory = makeHistory(byId("history"), product.dataset.id);
const pictureHistory = new PictureHistory(product.dataset.id);
const showDetails = makeDetails({ pictures, mayWrite, announce, toasts, tell });
const viewer = makeViewer(byId("viewer"), {
  pictures,
  alt: (entry) => grid.alt(entry),
  copy: copyUrl,
  closed: (entry) => grid.focus(entry),
  texts,
  remove: (entry) => changes.delete([entry]),
  toasts: byId("toasts"),
  history: pictureHistory,
});

function makeSelection() {
  const bar = byId("selection");
  // The bar is hidden after an action: the focus goes to the pictures.
  const then = (work) => (entries) => {
    work(entries);
    (list.querySelector(".view") ?? byId("files")).focus();
  };
  return new Selection(pictures, {
    bar,
    usual: byId("grid-bar"),
    changed: show,
    actions: {
      front: then((entries) => changes.move(entries, 0)),
      back: then((entries) => changes.move(entries, pictures.visible.length)),
      download: then(download),
      delete: then((entries) => changes.delete(entries)),
      none: then(() => {}),
    },
  });
}

// Adds a line to the live region for each message. Replacing a line could keep a screen reader from reading
// the earlier one.
function announce(text, seen = false) {
  if (byId("viewer").open) {
    // A screen reader ignores the page behind a modal dialog. Clearing first makes a repeated text be read again.
    byId("viewer-live").textContent = "";
    setTimeout(() => (byId("viewer-live").textContent = text), 50);
  } else {
    const line = document.createElement("p");
    line.textContent = text;
    byId("live").append(line);
    while (byId("live").children.length > 10) byId("live").firstElementChild.remove();
  }
  if (seen) toasts.add(text);
}

function tell(problem) {
  announce((problem instanceof Problem ? problem : new Problem(0)).sentence, true);
}

// --- rendering

function show() {
  if (isDragging()) return; // the end of the drag shows it
  if (pictures.product) {
    showDetails(pictures.product);
    showHistory(pictures.product.updatedAt);
    pictureHistory.version = pictures.product.updatedAt;
  }
  const entries = pictures.visible;
  texts?.offerLanguagesOf(entries);
  grid.show();
  selection?.showBar();
  viewer.update();
  byId("no-pictures").hidden = entries.length > 0;
  if (mayWrite) showRoom(entries.length < most);
  byId("count").textContent = say("count", { count: entries.length, most });
}

// The drop zone, or why there is none.
function showRoom(room) {
  const hadFocus = document.activeElement === byId("files");
  byId("drop").hidden = !room;
  byId("full").hidden = room;
  if (!room && hadFocus) list.lastElementChild.querySelector("a").focus();
}

// --- actions

// Runs an action of the picture of a tile.
function act(item, name) {
  const entry = grid.entryOf(item);
  const place = pictures.visible.indexOf(entry);
  if (!entry || (!mayWrite && !["copy", "download", "more"].includes(name))) return;
  const actions = {
    first: () => place > 0 && changes.move([entry], 0),
    earlier: () => place > 0 && changes.move([entry], place - 1),
    later: () => place < pictures.visible.length - 1 && changes.move([entry], place + 1),
    copy: () => copyUrl(entry),
    download: () => download([entry]),
    describe: () => describe(item),
    choose: () => item.querySelector(".choose").click(),
    delete: () => removeFromGrid(selection.around(entry)),
    more: () => toggleTools(item),
  };
  actions[name]?.();
}

// After a deletion the picture that takes the place has the focus, on the same kind of control.
function removeFromGrid(entries) {
  const place = pictures.visible.indexOf(entries[0]);
  const onTool = document.activeElement?.closest("[role=toolbar]");
  selection.clear();
  changes.delete(entries);
  const next = list.children[Math.min(place, list.children.length - 1)];
  if (!next) byId("files").focus();
  else if (onTool) buttonOf(next, "delete").focus();
  else next.querySelector(".view").focus();
}

// On a touch screen the tools of one picture at a time are open.
function toggleTools(item) {
  for (const each of list.children) {
    const open = each === item && !each.classList.contains("open");
    each.classList.toggle("open", open);
    buttonOf(each, "more")?.setAttribute("aria-expanded", String(open));
  }
}

list.addEventListener("click", (event) => {
  const item = event.target.closest(".picture");
  if (!item) return;
  const name = event.target.closest("[data-do]")?.dataset.do;
  if (name) {
    act(item, name);
  } else if (event.target.closest(".view") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    viewer.open(grid.entryOf(item));
  }
});

document.addEventListener("keydown", ({ key, target }) => {
  if (key !== "Escape" || isDragging() || target.closest("textarea, dialog, [popover]")) return;
  if (selection?.entries.length) selection.clear();
});

function dropped(item) {
  const entry = grid.entryOf(item);
  const moved = selection.around(entry);
  const others = grid.order.filter((each) => each === entry || !moved.includes(each));
  changes.arrange(others.flatMap((each) => (each === entry ? moved : each)), moved);
}

async function download(entries) {
  if (entries.length === 1) return saveOne(entries[0].image.url);
  announce(say("collecting"));
  const { model } = pictures.product;
  const chosen = entries.map((entry) => {
    const { url } = entry.image;
    return { url, path: pathOf(model, pictures.visible.indexOf(entry), url) };
  });
  try {
    announce(await saveArchive(`${fileName(model)}.zip`, chosen), true);
  } catch (problem) {
    tell(problem);
  }
}

async function copyUrl(entry) {
  const copied = await copy(entry.image.url);
  announce(say(copied ? "copied" : "notCopied"), true);
}

// Changes by others are shown while the page is visible. A session that has ended ends this, too.
function refreshWhenSeen() {
  let over = false;
  const refresh = async () => {
    if (over || document.hidden || isDragging()) return;
    await pictures.refresh().catch((problem) => (over = problem.status === 401));
  };
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
}

function takeUploads() {
  const input = byId("files");
  const uploads = new Uploads(pictures, {
    productId: product.dataset.id,
    panel: byId("uploads"),
    template: byId("upload-template"),
    input,
    announce,
  });
  takeFiles({
    zone: byId("drop"),
    input,
    camera: byId("camera"),
    take: (files) => uploads.add(files),
    taken: (made) => uploads.taken(made),
    refused: () => announce(say("notTaken"), true),
  });
}

// --- start

async function start() {
  recoverSizes((element) => element.closest("a")?.href ?? "");
  try {
    await pictures.load();
  } catch (problem) {
    tell(problem);
    return;
  }
  refreshWhenSeen();
  makeTools(list, act);
  makeFillToggle(byId("fill"), byId("gallery"));
  if (!mayWrite) return;
  takeUploads();
  makeCaptions(list, (field) => texts.reset(field));
  makeSortable(list, { dropped, ended: show, together: (item) => selection.around(grid.entryOf(item)).length });
  addEventListener("pagehide", () => pictures.leave());
  // When the browser restores the page from its cache, the outcome of leave() is unknown: reload.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

start();

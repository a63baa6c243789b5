// The page of one product: renders its pictures and connects the controls that change them.

import { AlternativeTexts, textOf } from "./alternative_text.js";
import { Problem, inTurn, say } from "./api.js";
import { copy } from "./copy.js";
import { makeDetails } from "./details.js";
import { makeSortable } from "./drag.js";
import { made } from "./facts.js";
import { Pictures } from "./pictures.js";
import { Selection, download } from "./selection.js";
import { recoverSizes, showSmall } from "./sources.js";
import { Toasts } from "./toasts.js";
import { Uploads } from "./uploads.js";
import { makeViewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const product = byId("product");
const list = byId("pictures");
const mayWrite = "mayWrite" in product.dataset;
const most = Number(product.dataset.most);
const REFRESH_MS = 20_000;
const items = new Map(); // entry → list item element

const toasts = new Toasts(byId("toasts"), byId("toast-template"));
const pictures = new Pictures(product.dataset.id, { show, tell });
const alt = (entry) =>
  textOf(entry.image) || say("picture", { number: pictures.visible.indexOf(entry) + 1, name: product.dataset.name });
const texts =
  mayWrite && new AlternativeTexts({ pictures, select: byId("alt-language"), changed: show, announce, toasts, tell });
const focusOn = (entry) => items.get(entry)?.querySelector("a").focus();
const selection =
  mayWrite &&
  new Selection(pictures, byId("selection"), {
    front: (entries) => moveSeveral(entries, 0),
    back: (entries) => moveSeveral(entries, pictures.visible.length),
    download,
    delete: removeSeveral,
    changed() {
      show();
      (list.querySelector(".view") ?? byId("files")).focus();
    },
  });
const showDetails = makeDetails({ pictures, mayWrite, announce, toasts, tell });
const view = makeViewer(byId("viewer"), { pictures, alt, copy: copyUrl, closed: focusOn, texts, remove });

// Adds a line to the live region for each message. Replacing a line could keep a screen reader from reading
// the earlier one.
function announce(text, seen = false) {
  if (byId("viewer").open) {
    // A screen reader ignores the page behind a modal dialog. Clearing first makes a repeated text be read again.
    byId("viewer-live").textContent = "";
    setTimeout(() => (byId("viewer-live").textContent = text), 50);
    return;
  }
  const line = document.createElement("p");
  line.textContent = text;
  byId("live").append(line);
  while (byId("live").children.length > 10) byId("live").firstElementChild.remove();
  if (seen) toasts.add(text);
}

function tell(problem) {
  announce((problem instanceof Problem ? problem : new Problem(0)).sentence, true);
}

// --- rendering the list

function show() {
  if (pictures.product) showDetails(pictures.product);
  const entries = pictures.visible;
  const focused = document.activeElement;
  for (const [entry, item] of items) {
    if (entries.includes(entry)) continue;
    item.remove();
    items.delete(entry);
  }
  texts?.offerLanguagesOf?.(entries);
  entries.forEach((entry, place) => {
    const item = items.get(entry) ?? make(entry);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    showSmall(item.querySelector("img"), entry.image);
    label(item, place, entries.length);
    describe(item, entry);
    if (mayWrite) selection.show(item.querySelector(".choose"), entry);
  });
  if (mayWrite) selection.show();
  while (list.children.length > entries.length) list.lastElementChild.remove();
  byId("no-pictures").hidden = entries.length > 0;
  if (mayWrite) showRoom(entries.length < most);
  byId("count").textContent = say("count", { count: entries.length, most });
  // Moving an element removes the focus from its descendants; restore it.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
}

// The drop zone, or why there is none.
function showRoom(room) {
  const hadFocus = document.activeElement === byId("files");
  byId("drop").hidden = !room;
  byId("full").hidden = room;
  if (!room && hadFocus) list.lastElementChild.querySelector("a").focus();
}

function make(entry) {
  const item = byId("picture-template").content.firstElementChild.cloneNode(true);
  item.querySelector("a").href = entry.image.url;
  const field = item.querySelector("textarea");
  if (field) texts.connect(field, item.querySelector(".counter"));
  if (mayWrite) selection.connect(item.querySelector(".choose"), entry);
  items.set(entry, item);
  return item;
}

function label(item, place, count) {
  const values = { number: place + 1, name: product.dataset.name };
  item.querySelector("a").setAttribute("aria-label", say("view", values));
  item.querySelector(".choose")?.setAttribute("aria-label", say("choose", values));
  for (const name of ["first", "earlier", "later", "copy", "delete"]) {
    const button = buttonOf(item, name);
    button?.setAttribute("aria-label", say(name, values));
    if (button) button.title = say(name, values);
  }
  // aria-disabled, not `disabled`: a user who moves a picture to the end by keyboard keeps the focus.
  buttonOf(item, "first")?.setAttribute("aria-disabled", String(place === 0));
  buttonOf(item, "earlier")?.setAttribute("aria-disabled", String(place === 0));
  buttonOf(item, "later")?.setAttribute("aria-disabled", String(place === count - 1));
}

// The alternative text, and how the picture was made.
function describe(item, entry) {
  const { image } = entry;
  item.querySelector("img").alt = alt(entry);
  item.querySelector(".no-alt").hidden = textOf(image) !== "";
  const badge = item.querySelector(".made");
  badge.hidden = !["trained", "composite", "algorithmic"].some((start) => image.digitalSourceType?.startsWith(start));
  if (!badge.hidden) badge.textContent = made(image.digitalSourceType);
  const field = item.querySelector("textarea");
  if (!field) {
    item.querySelector(".alt-text").textContent = textOf(image);
    return;
  }
  field.setAttribute("aria-label", say("altOf", { number: pictures.visible.indexOf(entry) + 1 }));
  texts.show(field, entry);
}

function buttonOf(item, name) {
  return item.querySelector(`[data-do="${name}"]`);
}

list.addEventListener("click", (event) => {
  const item = event.target.closest(".picture");
  const entry = [...items].find(([, each]) => each === item)?.[0];
  if (!entry) return;
  const place = pictures.visible.indexOf(entry);
  const actions = {
    first: () => place > 0 && move(entry, 0),
    earlier: () => place > 0 && move(entry, place - 1),
    later: () => place < pictures.visible.length - 1 && move(entry, place + 1),
    copy: () => copyUrl(entry),
    delete: () => remove(entry, place),
  };
  const name = event.target.closest("[data-do]")?.dataset.do;
  if (name) {
    actions[name]?.();
  } else if (event.target.closest(".view") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    view(entry);
  }
});

// --- changes

function move(entry, place) {
  pictures.move(entry, place);
  announce(say("moved", { number: place + 1, count: pictures.visible.length }));
  pictures.save().catch(tell);
}

function remove(entry, place) {
  pictures.hide(entry);
  // If the page unloads before the deletion is sent, there is no time for further requests. Fetch a valid token
  // and the version of the list now.
  inTurn(() => pictures.load()).catch(() => {});
  const next = list.children[Math.min(place, list.children.length - 1)];
  (next ? buttonOf(next, "delete") : byId("files")).focus();
  announce(say("deletedUndo"));
  toasts.add(say("deleted"), {
    undo() {
      if (pictures.restore(entry)) {
        items.get(entry)?.querySelector("a").focus();
        announce(say("restored"));
      } else {
        announce(say("notRestored"), true);
      }
    },
    over() {
      pictures.commit(entry);
      pictures.save().catch(tell);
    },
  });
}

function moveSeveral(entries, place) {
  const ordered = place === 0 ? entries.toReversed() : entries;
  for (const entry of ordered) pictures.move(entry, place);
  announce(say("movedSeveral", { count: entries.length }), true);
  pictures.save().catch(tell);
}

function removeSeveral(entries) {
  for (const entry of entries) pictures.hide(entry);
  inTurn(() => pictures.load()).catch(() => {}); // as in remove()
  const message = say("deletedSeveral", { count: entries.length });
  announce(message);
  toasts.add(message, {
    undo() {
      const back = entries.filter((entry) => pictures.restore(entry));
      announce(say(back.length === entries.length ? "restoredSeveral" : "notRestored"), back.length < entries.length);
    },
    over() {
      for (const entry of entries) pictures.commit(entry);
      pictures.save().catch(tell);
    },
  });
}

async function copyUrl(entry) {
  const copied = await copy(entry.image.url);
  announce(say(copied ? "copied" : "notCopied"), true);
}

function takeFiles(uploads) {
  const drop = byId("drop");
  const input = byId("files");
  input.addEventListener("change", () => {
    uploads.add([...input.files]);
    input.value = "";
  });
  const camera = byId("camera");
  camera.parentElement.hidden = false; // the style shows it on devices with a touch screen only
  camera.addEventListener("change", () => {
    uploads.add([...camera.files]);
    camera.value = "";
  });
  addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length && !document.querySelector("dialog[open]")) uploads.add([...clipboardData.files]);
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Handle drops on the whole page: by default, a file dropped outside the zone would replace the page.
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    uploads.add([...event.dataTransfer.files]);
  });
}

// Changes by others are shown while the page is visible. A session that has ended ends this, too.
function refreshWhenSeen() {
  let over = false;
  const refresh = async () => {
    if (over || document.hidden || document.documentElement.classList.contains("dragging")) return;
    await pictures.refresh().catch((problem) => (over = problem.status === 401));
  };
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
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
  if (!mayWrite) return;
  const options = { rows: byId("uploads"), all: byId("uploads-all"), template: byId("upload-template"), input: byId("files"), most, announce };
  takeFiles(new Uploads(pictures, options));
  makeSortable(list, (item, place) => {
    const entry = [...items].find(([, each]) => each === item)[0];
    if (pictures.visible.indexOf(entry) !== place) move(entry, place);
  });
  addEventListener("pagehide", () => pictures.leave());
  // When the browser restores the page from its cache, the outcome of leave() is unknown: reload.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

start();

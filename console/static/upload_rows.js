// Shows a queue of uploads: a row for each file, the progress of all together, and the refused files in a summary.

import { say } from "./api.js";
import { showThumbnail } from "./upload_thumbnails.js";

const BUTTONS = {
  accept: ({ state, offer }) => state === "refused" && offer,
  retry: ({ state, retryable }) => (state === "refused" && retryable) || state === "unreachable",
  cancel: ({ state }) => ["preparing", "waiting", "sending", "checking", "unreachable"].includes(state),
  dismiss: ({ state }) => state === "refused",
};
const GONE = ["done", "present", "cancelled"];

export class UploadRows {
  #queue;
  #panel;
  #template;
  #input;
  #elements = new Map(); // id of the item → its row
  #pending = false;
  #acted = false; // whether the user has just used a button
  #keeps = true;

  constructor(queue, { panel, template, input }) {
    this.#queue = queue;
    this.#panel = panel;
    this.#template = template;
    this.#input = input;
    panel.addEventListener("click", ({ target }) => this.#act(target.closest("[data-do]")));
  }

  // keeps: whether the browser keeps the files.
  show(item, { keeps }) {
    this.#keeps = keeps;
    if (GONE.includes(item.state)) this.#remove(item);
    else this.#update(item);
    this.#showAllSoon();
  }

  #find(id) {
    return this.#panel.querySelector(`#uploads-${id}`);
  }

  #act(button) {
    if (!button) return;
    const row = button.closest(".upload");
    const name = button.dataset.do;
    const item = this.#queue.items.find(({ id }) => this.#elements.get(id) === row);
    this.#acted = true;
    if (item) this.#queue[name](item);
    else if (!row) this.#queue[`${name}All`]();
  }

  #remove({ id }) {
    const row = this.#elements.get(id);
    this.#elements.delete(id);
    if (!row) return;
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const focused = row.contains(document.activeElement);
    row.remove();
    if (focused) this.#focusOn(next);
  }

  // What has the focus disappears: a button of this row gets it, or the place where files are chosen.
  #focusOn(row) {
    const button = row?.querySelector("button:not([hidden])");
    if (button?.checkVisibility()) button.focus();
    else if (this.#input.checkVisibility()) this.#input.focus();
    else document.getElementById("content").focus();
  }

  #update(item) {
    const row = this.#elements.get(item.id) ?? this.#make(item);
    const refused = item.state === "refused";
    const list = refused ? this.#find("refused").querySelector("ul") : this.#find("rows");
    if (row.parentElement !== list) {
      const focused = row.contains(document.activeElement);
      list.append(row);
      if (focused) this.#focusOn(null);
    }
    row.className = `upload ${item.state}${refused && !item.offer ? " failed" : ""}`;
    row.querySelector(".upload-state").textContent = stateOf(item);
    row.querySelector("progress").hidden = !["sending", "checking"].includes(item.state);
    row.querySelector("progress").value = item.percent;
    if (item.offer) row.querySelector('[data-do="accept"]').textContent = say(`upload.${item.offer}`);
    for (const [name, isShown] of Object.entries(BUTTONS)) {
      const button = row.querySelector(`[data-do="${name}"]`);
      button.hidden = !isShown(item);
      button.setAttribute("aria-label", say("upload.action", { action: button.textContent || button.title, file: item.name }));
    }
  }

  #make(item) {
    const row = this.#template.content.firstElementChild.cloneNode(true);
    row.querySelector(".upload-name").textContent = item.name;
    row.querySelector("progress").setAttribute("aria-label", item.name);
    this.#elements.set(item.id, row);
    if (item.file) showThumbnail(row.querySelector(".upload-picture"), item.file);
    return row;
  }

  // A batch of many files changes often: shows what they have in common once for all changes.
  #showAllSoon() {
    if (this.#pending) return;
    this.#pending = true;
    queueMicrotask(() => {
      this.#pending = false;
      this.#showAll();
    });
  }

  #showAll() {
    const { busy, refused, items, progress } = this.#queue;
    const total = this.#find("total");
    total.hidden = !busy;
    this.#find("count").textContent = say("upload.count", progress);
    const bar = total.querySelector("progress");
    bar.max = progress.bytes || 1;
    bar.value = progress.sent;
    bar.setAttribute("aria-valuetext", say("upload.count", progress));
    total.querySelector("button").hidden = items.filter(BUTTONS.cancel).length < 2;
    this.#find("not-kept").hidden = !busy || this.#keeps;
    this.#showRefused(refused);
    this.#panel.hidden = !busy && !refused.length;
    if (this.#acted && !document.querySelector(":focus")?.checkVisibility()) this.#focusOn(null);
    this.#acted = false;
  }

  #showRefused(refused) {
    const details = this.#find("refused");
    details.hidden = !refused.length;
    const open = refused.every(({ offer }) => offer) ? "upload.toDecide" : "upload.notUploaded";
    details.querySelector("summary").textContent = say(open, { count: refused.length });
    for (const name of ["accept", "retry", "dismiss"]) {
      const count = refused.filter(BUTTONS[name]).length;
      details.querySelector(`.actions [data-do="${name}"]`).hidden = count < 2;
    }
    details.querySelector(".actions").hidden = refused.length < 2;
  }
}

function stateOf({ state, percent, problem }) {
  if (state === "refused") return problem.sentence;
  if (state === "sending") return say("upload.percent", { percent });
  return say(state === "waiting" && problem ? "upload.busy" : `upload.${state}`);
}

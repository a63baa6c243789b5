// The table of a batch: which file goes to which product, at which place, and what happens to it.

import { say } from "./api.js";
import { Thumbnails } from "./bulk_thumbnails.js";

export class BulkTable {
  #table;
  #batch;
  #act;
  #thumbnails;
  #bodies = new Map(); // group → <tbody>
  #rows = new Map(); // item → <tr>
  #stale = new Set(); // groups that are to be shown again
  #editable = true;

  // act(action, group, item): called for a button, of the whole group if there is no item. Actions are "choose",
  // "similar", "new", "skip" and "reopen".
  constructor(table, batch, act) {
    this.#table = table;
    this.#batch = batch;
    this.#act = act;
    this.#thumbnails = new Thumbnails(table.closest(".bulk-body"));
    table.onclick = ({ target }) => this.#click(target.closest("button"));
  }

  // Shows all groups, after they have changed.
  show(editable) {
    this.#editable = editable;
    const groups = this.#batch.groups;
    for (const [group, body] of this.#bodies) {
      if (groups.includes(group)) continue;
      body.remove();
      this.#bodies.delete(group);
    }
    groups.forEach((group, index) => {
      const body = this.#bodies.get(group) ?? this.#makeBody(group);
      const place = index + 1; // after the head of the table
      if (this.#table.children[place] !== body) this.#table.insertBefore(body, this.#table.children[place] ?? null);
      this.#showGroup(group);
    });
  }

  // Shows an item again, with the others of its group, before the next frame.
  refresh(item) {
    const group = this.#batch.groups.find(({ items }) => items.includes(item));
    if (!group || !this.#bodies.has(group)) return;
    if (!this.#stale.size) requestAnimationFrame(() => this.#showStale());
    this.#stale.add(group);
  }

  focus(group) {
    this.#bodies.get(group)?.querySelector("th").focus();
  }

  #showStale() {
    for (const group of this.#stale) if (this.#bodies.has(group)) this.#showGroup(group);
    this.#stale.clear();
  }

  #click(button) {
    if (!button) return;
    const [body, row] = [button.closest("tbody"), button.closest("tr")];
    const group = [...this.#bodies].find(([, each]) => each === body)[0];
    const item = [...this.#rows].find(([, each]) => each === row)?.[0] ?? null;
    this.#act(button.dataset.do, group, item);
  }

  #makeBody(group) {
    const body = clone("bulk-group-template");
    this.#bodies.set(group, body);
    return body;
  }

  #makeRow(item) {
    const row = clone("bulk-row-template");
    row.querySelector(".bulk-file").textContent = item.path;
    row.querySelector("button").setAttribute("aria-label", say("bulk.moveFile", { file: item.path }));
    this.#thumbnails.watch(row.querySelector("canvas"), item.file);
    this.#rows.set(item, row);
    return row;
  }

  #showGroup(group) {
    const body = this.#bodies.get(group);
    const rows = this.#batch.preview(group);
    this.#showHead(group, body, rows);
    rows.forEach(({ item, status, place }, index) => {
      const row = this.#rows.get(item) ?? this.#makeRow(item);
      if (body.children[index + 1] !== row) body.insertBefore(row, body.children[index + 1] ?? null);
      row.dataset.status = status;
      write(row.querySelector(".bulk-place"), String(place || "–"));
      write(row.querySelector(".bulk-state"), stateOf(item, status));
      // The buttons of the group do the same for its only picture.
      row.querySelector("button").hidden = !this.#editable || rows.length < 2;
    });
    while (body.children.length > rows.length + 1) body.lastElementChild.remove();
  }

  #showHead(group, body, rows) {
    const { decision, product, similar } = group;
    body.dataset.decision = decision;
    if (similar) body.querySelector('[data-do="similar"]').textContent = say("bulk.takeSimilar", { model: similar.model });
    write(body.querySelector("strong"), titleOf(group));
    write(body.querySelector(".note"), factsOf(group));
    body.querySelector(".tag").hidden = !product?.archived;
    const note = body.querySelector(".bulk-note");
    write(note, this.#noteOf(group, rows));
    note.hidden = !note.textContent;
    note.classList.toggle("bulk-hint", decision === "open");
    const shown = {
      choose: true,
      similar: decision === "open" && similar?.id,
      new: decision === "open" && this.#batch.mayMake(group),
      skip: decision !== "skip",
      reopen: decision === "skip",
    };
    for (const [action, visible] of Object.entries(shown)) {
      const button = body.querySelector(`[data-do="${action}"]`);
      button.hidden = !visible || !this.#editable;
      button.setAttribute("aria-label", `${button.textContent.trim()}: ${titleOf(group)}`);
    }
  }

  #noteOf({ decision, similar, problem, model }, rows) {
    if (problem) return problem.sentence;
    if (decision === "open" && similar) return say("bulk.similar", { model: similar.model });
    if (decision === "open" && !model) return say("bulk.inFolders");
    const full = rows.filter(({ status }) => status === "full").length;
    return full ? say("bulk.full", { count: full, most: this.#batch.most }) : "";
  }
}

// What a group is called: the product's name, or what the names of its files say.
export function nameOf({ product, model, folder }) {
  return product?.name ?? (model || folder);
}

function titleOf(group) {
  if (group.product) return nameOf(group);
  return say(group.decision === "new" ? "bulk.newProduct" : "bulk.unknown", { name: nameOf(group) });
}

function factsOf({ product, items }) {
  const values = { model: product?.model, count: items.length, there: product?.urls.length };
  return say(product ? "bulk.productFacts" : "bulk.facts", values);
}

function stateOf(item, status) {
  if (status === "sending") return item.percent ? say("bulk.percent", item) : say("bulk.state.sending");
  if (status === "refused") return item.problem.sentence;
  return say(status === "offer" ? `bulk.offer.${item.offer}` : `bulk.state.${status}`);
}

// Sets a text if it has changed. Each new text, even the same one, makes the browser lay out the whole table again.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

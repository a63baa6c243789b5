// The pictures of a batch, in groups that go to one product each. It knows neither the page nor the network.
//
// A group has:
//   model     the model that the names of its files stand for; "" if they stand for none
//   product   the product (bulk_products.js), or null
//   decision  "product", "new" (make one of this model), "skip", or "open" (nobody has decided yet)
//   similar   the product, or { model } of the new one, whose model differs in case only, or null
//   items     in their order
//   problem   why the product can't be made or changed, or null
//
// An item has:
//   file, path
//   problem   a Problem that says why it is refused, or null
//   offer     what has to be done first so that the server takes it: "shrink" or "convert", or null
//   digest    its SHA-256 in hex, or null
//   state     "" before it is sent, then "sending", "checking", "added", "present" or "refused"
//   percent   of it that is sent
//   url       of the picture in the product, once it is known

import { belowRoot, byName, byPath, modelsOf, otherSpellings } from "./bulk_names.js";
import { LONGEST_MODEL } from "./bulk_products.js";

export class Batch {
  groups = [];
  category = "";
  fits = false; // whether pictures with an offer are made smaller or converted
  // most: pictures of a product.
  constructor(most) {
    this.most = most;
  }

  get items() {
    return this.groups.flatMap(({ items }) => items);
  }

  // files: [{ file, path }], of pictures. products: those that are known, by their models.
  add(files, products) {
    const isKnown = (model) => products.has(model);
    const relative = belowRoot(files.map(({ path }) => path), isKnown);
    const models = modelsOf(relative, isKnown);
    const spellings = otherSpellings([...models.values()].filter((model) => model !== null), isKnown);
    const added = [];
    files.forEach(({ file, path }, index) => {
      if (this.items.some((item) => item.path === path && item.file.size === file.size)) return;
      const model = models.get(relative[index]) ?? "";
      const folder = relative[index].slice(0, Math.max(0, relative[index].lastIndexOf("/")));
      const group = this.#groupOf(model, folder, products.get(model) ?? null);
      const other = spellings.get(model);
      if (other !== undefined) group.similar = products.get(other) ?? { model: other };
      const item = { file, path, problem: null, offer: null, digest: null, state: "", percent: 0, url: null };
      group.items.push(item);
      added.push(item);
    });
    for (const group of this.groups) group.items.sort((a, b) => byPath(a.path, b.path));
    this.#sort();
    return added;
  }

  #groupOf(model, folder, product) {
    const same = (group) => (model ? group.model === model : !group.model && group.folder === folder);
    const found = this.groups.find((group) => (product ? group.product?.id === product.id : same(group)));
    if (found) return found;
    const decision = product ? "product" : "open";
    const group = { model, folder, product, decision, similar: null, items: [], problem: null, key: newKey() };
    this.groups.push(group);
    return group;
  }

  // Those that nobody has decided about come first.
  #sort() {
    const name = ({ model, folder }) => model || folder;
    const open = ({ decision }) => decision === "open";
    this.groups.sort((a, b) => open(b) - open(a) || byName(name(a), name(b)));
  }

  // Sends these items of a group to a product. Resolves to their group.
  assign(group, items, product) {
    return this.#move(group, items, this.#groupWith(({ product: own }) => own?.id === product.id, () => ({
      model: product.model, folder: "", product, decision: "product",
    })));
  }

  makeNew(group, items, model) {
    return this.#move(group, items, this.#groupWith((each) => each.model === model && !each.product, () => ({
      model, folder: "", product: null, decision: "new",
    })));
  }

  skip(group, items) {
    return this.#move(group, items, { ...this.#copy(group), decision: "skip" });
  }

  // Undoes the decision about a group.
  reopen(group) {
    group.decision = group.product ? "product" : "open";
    return group;
  }

  mayMake(group) {
    return Boolean(group.model) && !group.similar && Array.from(group.model).length <= LONGEST_MODEL;
  }

  #groupWith(fits, fields) {
    const found = this.groups.find((group) => fits(group) && group.decision !== "skip");
    return found ?? { ...this.#copy(), ...fields(), items: [] };
  }

  #copy(group = {}) {
    return { similar: null, problem: null, product: null, model: "", folder: "", ...group, items: [], key: newKey() };
  }

  #move(from, items, to) {
    if (to.decision === "open") to.decision = "new";
    if (from === to) return to;
    const place = this.groups.indexOf(from);
    const moved = [...items];
    from.items = from.items.filter((item) => !moved.includes(item));
    to.items = [...to.items, ...moved].toSorted((a, b) => byPath(a.path, b.path));
    if (!this.groups.includes(to)) this.groups.splice(from.items.length ? place + 1 : place, 0, to);
    this.groups = this.groups.filter((group) => group.items.length);
    return to;
  }

  // What happens to each item of a group, and its place in the product: [{ item, status, place }]. The status is its
  // state, or before it is sent: "ready", "present", "same" (as an earlier one), "refused", "offer", "full", "open" or
  // "skipped".
  preview(group) {
    const urls = group.product?.urls ?? [];
    const seen = new Set();
    let room = this.most - urls.length;
    const wanted = [];
    const rows = group.items.map((item) => {
      const status = this.#status(group, item, seen, room);
      if (item.digest) seen.add(item.digest);
      if (status === "ready") room -= 1;
      const token = item.url ?? group.product?.hashes.get(item.digest) ?? (status === "ready" ? item : null);
      if (token) wanted.push(token);
      return { item, status, token };
    });
    const order = finalOrder(urls, wanted);
    return rows.map(({ item, status, token }) => ({ item, status, place: token ? order.indexOf(token) + 1 : 0 }));
  }

  #status(group, item, seen, room) {
    if (item.state) return item.state;
    if (item.problem) return "refused";
    if (group.decision === "skip") return "skipped";
    if (group.decision === "open") return "open";
    if (item.digest && group.product?.hashes.has(item.digest)) return "present";
    if (item.digest && seen.has(item.digest)) return "same";
    if (item.offer && !this.fits) return "offer";
    return room > 0 ? "ready" : "full";
  }

  // The items of a group that are to be sent now.
  ready(group) {
    return this.preview(group).filter(({ status }) => status === "ready").map(({ item }) => item);
  }

  // How many items have each status.
  get counts() {
    const counts = { ready: 0, present: 0, same: 0, refused: 0, offer: 0, full: 0, open: 0, skipped: 0, added: 0 };
    for (const { status } of this.groups.flatMap((group) => this.preview(group))) {
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts;
  }
}

// The order of a product's pictures with those of a batch: what the batch does not have keeps its place, and the others
// share the remaining places in their own order. It is that of moving/importer.py.
export function finalOrder(urls, wanted) {
  const mine = new Set(wanted);
  const rest = mine.values();
  return [...urls, ...[...mine].filter((token) => !urls.includes(token))].map((token) =>
    mine.has(token) ? rest.next().value : token,
  );
}

// crypto.randomUUID() is missing on pages that were opened by plain http.
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The pictures of a product: the state on the server, and the state that the user wants.
//
// Uploads add pictures at any time. A change that was made of a list without them is no conflict: it is repeated on the
// longer list, and the new pictures stay at its end.

import { Problem, call, inTurn, tokenInHand } from "./api.js";

const TRIES = 5;

export class Pictures {
  // An entry is an item of the list: { image, hidden, gone }. `hidden`: deleted, but undo is possible;
  // `gone`: deleted for good.
  entries = [];
  beforeDelete = () => {};
  #path;
  #most;
  #saved = [];
  #indexes = new Map(); // entry → its index on the server
  #etag = "";
  #product = null;
  #moves = 0;
  #movesSaved = 0;
  #show;
  #tell;

  constructor(productId, { show, tell, most }) {
    this.#path = `/products/${productId}`;
    this.#most = most;
    this.#show = show;
    this.#tell = tell;
  }

  get visible() {
    return this.entries.filter((entry) => !entry.hidden && !entry.gone);
  }

  get path() {
    return this.#path;
  }

  // The number of pictures on the server.
  get count() {
    return this.#saved.length;
  }

  // The number of pictures that the server would take.
  get room() {
    return this.#most - this.#saved.length;
  }

  // The product as it was last received.
  get product() {
    return this.#product;
  }

  // Changes other fields of the product.
  change(body) {
    return inTurn(async () => {
      const same = (before) => Object.keys(body).every((name) => equal(before[name], this.#product[name]));
      await this.#current(() => this.#patch(body), same);
    });
  }

  async #patch(body) {
    await this.#adopt(await call("PATCH", this.#path, { headers: { "If-Match": this.#etag }, body }));
  }

  // Runs a write to the current version. If the product has changed, loads it, and runs the write again where
  // harmless(the product before) says that it still means the same.
  async #current(write, harmless) {
    for (let tries = TRIES; ; tries -= 1) {
      try {
        return await write();
      } catch (problem) {
        if (problem.status !== 412) throw problem;
        const before = this.#product;
        await this.load();
        if (tries === 1 || !harmless(before)) throw problem;
      }
    }
  }

  // Orders the pictures that uploads have added. order(urls) returns all URLs in another order, or null.
  orderAdded(order) {
    return inTurn(async () => {
      await this.load();
      const save = async () => {
        const imageUrls = order(this.#saved);
        if (imageUrls) await this.#patch({ imageUrls });
      };
      await this.#current(save, () => true);
    });
  }

  deleteProduct() {
    this.beforeDelete();
    return inTurn(async () => {
      const write = () => call("DELETE", this.#path, { headers: { "If-Match": this.#etag } });
      await this.#current(write, () => false);
      this.entries = [];
      this.#saved = [];
    });
  }

  // Shows what others have changed, if anything.
  refresh() {
    return inTurn(async () => {
      const response = await call("GET", this.#path, { headers: { "If-None-Match": this.#etag } });
      if (response.status !== 304) await this.#adopt(response);
    });
  }

  async load() {
    await this.#adopt(await call("GET", this.#path, { headers: { "Cache-Control": "no-cache" } }));
  }

  // Sets the order of the visible pictures. Those that are hidden keep their positions.
  arrange(entries) {
    const next = entries.values();
    this.entries = this.entries.map((entry) => (entry.hidden || entry.gone ? entry : next.next().value));
    this.#moves += 1;
    this.#show();
  }

  hide(entry) {
    entry.hidden = true;
    this.#show();
  }

  // Undoes a deletion. Returns false if the picture was deleted for good, here or by someone else.
  restore(entry) {
    if (entry.gone || !this.entries.includes(entry)) return false;
    entry.hidden = false;
    this.#show();
    return true;
  }

  // Marks one hidden entry, or all of them, as deleted for good.
  commit(entry = null) {
    for (const each of this.entries) if (each.hidden && (!entry || each === entry)) each.gone = true;
  }

  // Changes the alternative text of a picture in one language; an empty text removes it.
  describe(entry, language, text) {
    const write = async () => {
      const index = this.#indexes.get(entry);
      if (index === undefined) throw new Problem(404);
      const options = { headers: { "If-Match": this.#etag }, body: { alt: { [language]: text || null } } };
      await this.#adopt(await call("PATCH", `${this.#path}/images/${index}`, options));
    };
    return inTurn(() =>
      this.#current(write, () => true).catch(async (problem) => {
        await this.load();
        throw problem;
      }),
    );
  }

  save() {
    return inTurn(() => this.saveNow());
  }

  // Callers must be inside inTurn().
  async saveNow(again = true) {
    if (same(this.#wanted(), this.#saved)) return;
    try {
      await this.#current(() => this.#saveOrder(), ({ imageUrls }) => this.#hasOnlyGrown(imageUrls));
    } catch (problem) {
      await this.#giveUp(problem, again);
    }
  }

  async #saveOrder() {
    const wanted = this.#wanted();
    if (same(wanted, this.#saved)) return;
    const moves = this.#moves;
    const options = { headers: { "If-Match": this.#etag }, body: { imageUrls: wanted } };
    const response = await call("PATCH", this.#path, options);
    this.#movesSaved = moves;
    await this.#adopt(response);
  }

  #hasOnlyGrown(before) {
    const old = new Set(before);
    return same(before, this.#saved.filter((url) => old.has(url)));
  }

  // After a version conflict, deletions are repeated on the current list. A new order is given up, because it
  // referred to the old list.
  async #giveUp(problem, again) {
    if (!(problem instanceof Problem)) throw problem;
    const moved = this.#moves !== this.#movesSaved;
    this.#movesSaved = this.#moves;
    const changed = problem.status === 412;
    if (!changed) for (const entry of this.entries) if (entry.gone) entry.gone = entry.hidden = false;
    if (moved || !changed) this.#tell(problem);
    await this.load().catch(() => this.#reorder());
    if (changed && again) await this.saveNow(false);
  }

  // Shows the last saved order again, if the current list can't be loaded.
  #reorder() {
    const places = new Map(this.#saved.map((url, place) => [url, place]));
    this.entries.sort((a, b) => places.get(a.image.url) - places.get(b.image.url) || 0);
    this.#show();
  }

  // Sends pending deletions and the order while the page unloads; no one can read the answer.
  leave() {
    this.commit();
    const wanted = this.#wanted();
    if (same(wanted, this.#saved) || !tokenInHand()) return;
    fetch(`/api/v1${this.#path}`, {
      method: "PATCH",
      keepalive: true,
      headers: {
        Authorization: `Bearer ${tokenInHand()}`,
        "Content-Type": "application/json",
        "If-Match": this.#etag,
      },
      body: JSON.stringify({ imageUrls: wanted }),
    }).catch(() => {});
  }

  #wanted() {
    return this.entries.filter((entry) => !entry.gone).map((entry) => entry.image.url);
  }

  async #adopt(response) {
    this.#product = await response.json();
    const { images } = this.#product;
    this.#etag = response.headers.get("ETag");
    this.#saved = images.map((image) => image.url);
    const old = [...this.entries];
    const entries = images.map((image) => {
      // An external URL may occur more than once.
      const place = old.findIndex((entry) => entry?.image.url === image.url);
      const entry = place < 0 ? { hidden: false, gone: false } : old[place];
      if (place >= 0) old[place] = null;
      return Object.assign(entry, { image });
    });
    this.#indexes = new Map(entries.map((entry, index) => [entry, index]));
    if (this.#moves !== this.#movesSaved) {
      const places = new Map(this.entries.map((entry, place) => [entry, place]));
      entries.sort((a, b) => (places.get(a) ?? Infinity) - (places.get(b) ?? Infinity) || 0);
    }
    this.entries = entries;
    this.#show();
  }
}

function equal(some, other) {
  return JSON.stringify(some) === JSON.stringify(other);
}

export function same(some, others) {
  return some.length === others.length && some.every((each, place) => each === others[place]);
}

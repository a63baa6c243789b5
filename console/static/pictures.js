// A product's pictures: as the server has them, and as the user wants them.

import { Problem, call, inTurn, tokenInHand } from "./api.js";

export class Pictures {
  // An entry is a place in the list: { image, hidden: deleted but not for good, gone: for good }.
  entries = [];
  #path;
  #saved = [];
  #etag = "";
  #moves = 0;
  #movesSaved = 0;
  #show;
  #tell;

  constructor(productId, { show, tell }) {
    this.#path = `/products/${productId}`;
    this.#show = show;
    this.#tell = tell;
  }

  get visible() {
    return this.entries.filter((entry) => !entry.hidden && !entry.gone);
  }

  get path() {
    return this.#path;
  }

  // How many the server counts.
  get count() {
    return this.#saved.length;
  }

  async load() {
    await this.#adopt(await call("GET", this.#path, { headers: { "Cache-Control": "no-cache" } }));
  }

  // Puts a visible picture at a place among the visible ones.
  move(entry, place) {
    const others = this.visible.filter((other) => other !== entry);
    const before = others[place];
    const rest = this.entries.filter((other) => other !== entry);
    rest.splice(before ? rest.indexOf(before) : rest.length, 0, entry);
    this.entries = rest;
    this.#moves += 1;
    this.#show();
  }

  hide(entry) {
    entry.hidden = true;
    this.#show();
  }

  // Returns whether it could be: what is deleted for good, here or by someone else, is not.
  restore(entry) {
    if (entry.gone || !this.entries.includes(entry)) return false;
    entry.hidden = false;
    this.#show();
    return true;
  }

  // Deletes for good what is hidden: one entry, or all.
  commit(entry = null) {
    for (const each of this.entries) if (each.hidden && (!entry || each === entry)) each.gone = true;
  }

  save() {
    return inTurn(() => this.saveNow());
  }

  // Only in turn.
  async saveNow(again = true) {
    const wanted = this.#wanted();
    if (same(wanted, this.#saved)) return;
    const moves = this.#moves;
    try {
      const options = { headers: { "If-Match": this.#etag }, body: { imageUrls: wanted } };
      const response = await call("PATCH", this.#path, options);
      this.#movesSaved = moves;
      await this.#adopt(response);
    } catch (problem) {
      await this.#giveUp(problem, again);
    }
  }

  // A picture that was deleted is deleted from whatever the list is now; an order means that list only.
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

  // Shows what is saved again: nobody knows better.
  #reorder() {
    const places = new Map(this.#saved.map((url, place) => [url, place]));
    this.entries.sort((a, b) => places.get(a.image.url) - places.get(b.image.url) || 0);
    this.#show();
  }

  // The page goes away: what was deleted is, and the order too; nobody can read the answer.
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
    const { images } = await response.json();
    this.#etag = response.headers.get("ETag");
    this.#saved = images.map((image) => image.url);
    const old = [...this.entries];
    const entries = images.map((image) => {
      // The same external URL may be there twice.
      const place = old.findIndex((entry) => entry?.image.url === image.url);
      const entry = place < 0 ? { hidden: false, gone: false } : old[place];
      if (place >= 0) old[place] = null;
      return Object.assign(entry, { image });
    });
    if (this.#moves !== this.#movesSaved) {
      const places = new Map(this.entries.map((entry, place) => [entry, place]));
      entries.sort((a, b) => (places.get(a) ?? Infinity) - (places.get(b) ?? Infinity) || 0);
    }
    this.entries = entries;
    this.#show();
  }
}

function same(some, others) {
  return some.length === others.length && some.every((each, place) => each === others[place]);
}

// Sends the pictures of a batch: several products at once, the pictures of one product in their order.
//
//   const sender = new Sender(batch, { changed, told });
//   await sender.run();    // until all is sent, or it was stopped
//
// changed(item)   is called after each change of an item; without an item, after a change of `state` or of a group.
// told(key, values, item)   says what happens, by a key of the words of the page.

import { Problem, renewing } from "./api.js";
import { finalOrder } from "./bulk_batch.js";
import { digestOf } from "./bulk_inspection.js";
import { arrange, current, make } from "./bulk_products.js";
import { fit, inspect } from "./preparation.js";
import { postImage } from "./upload_request.js";

const AT_ONCE = 3;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;
// A server that asks for more patience than this has used up a budget: the user decides when to go on.
const LONGEST_WAIT_MS = 10 * 60_000;
const BUSY = [429, 502, 503, 504];
const MOST_FAILURES = 3; // of a server that has an error, for one call
const MOST_CONFLICTS = 5;

export class Stopped extends Error {}

export class Sender {
  state = "idle"; // "running", "paused", "waiting" (for the network or the server), "stopped" or "over"
  problem = null; // why it waits, is paused or has stopped
  #batch;
  #changed;
  #told;
  #total = { count: 0, bytes: 0 };
  #over = { count: 0, bytes: 0 };
  #sending = new Set();
  #wake = [];
  #stop = new AbortController();

  constructor(batch, { changed, told }) {
    this.#batch = batch;
    this.#changed = changed;
    this.#told = told;
  }

  get busy() {
    return ["running", "paused", "waiting"].includes(this.state);
  }

  get progress() {
    const underWay = [...this.#sending].reduce((sum, { file, percent }) => sum + (file.size * percent) / 100, 0);
    return { count: this.#total.count, over: this.#over.count, bytes: this.#total.bytes, sent: this.#over.bytes + underWay };
  }

  async run() {
    const work = this.#batch.groups.map((group) => ({ group, items: this.#batch.ready(group) }));
    const todo = work.filter(({ items }) => items.length);
    for (const item of todo.flatMap(({ items }) => items)) {
      this.#total.count += 1;
      this.#total.bytes += item.file.size;
    }
    this.#set("running");
    const next = todo.values();
    const online = () => this.#wakeUp();
    addEventListener("online", online);
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.#lane(next)));
    removeEventListener("online", online);
    if (this.state !== "stopped") this.#set("over");
  }

  // Starts no further picture until resume(). What is being sent goes on.
  pause(problem = null) {
    if (this.busy) this.#set("paused", problem);
  }

  resume() {
    if (this.state !== "paused") return;
    this.#set("running");
    this.#wakeUp();
  }

  // Ends the run. What was not sent can be sent by another one.
  stop(problem = null) {
    if (!this.busy) return;
    this.#set("stopped", problem);
    this.#stop.abort();
    this.#wakeUp();
  }

  #set(state, problem = null) {
    [this.state, this.problem] = [state, problem];
    this.#changed();
  }

  #wakeUp() {
    for (const done of this.#wake.splice(0)) done();
  }

  // Resolves when there is something new, or after a time.
  #sleep(milliseconds) {
    return new Promise((done) => {
      this.#wake.push(done);
      if (milliseconds) setTimeout(done, milliseconds);
    });
  }

  async #gate() {
    while (this.state === "paused") await this.#sleep(0);
    if (this.state === "stopped") throw new Stopped();
  }

  async #lane(work) {
    for (const { group, items } of work) {
      try {
        await this.#bring(group, items);
      } catch (error) {
        if (error instanceof Stopped) return;
        throw error;
      }
    }
  }

  async #bring(group, items) {
    try {
      const { product, model, key } = group;
      const made = () => make(model, this.#batch.category, key);
      group.product = await this.#attempt(() => (product ? current(product.id) : made()));
      group.decision = "product";
    } catch (problem) {
      if (problem instanceof Stopped) throw problem;
      group.problem = problem;
      for (const item of items) this.#refuse(item, problem);
      return;
    }
    this.#changed();
    for (const item of items) await this.#item(group, item);
    await this.#arrange(group, items);
  }

  async #item(group, item) {
    await this.#gate();
    this.#sending.add(item);
    try {
      const file = await this.#prepared(item);
      const there = group.product.hashes.get(item.digest);
      if (there) this.#show(item, { state: "present", url: there });
      else if (group.product.urls.length >= this.#batch.most) throw new Problem(422);
      else await this.#send(group, item, file);
    } catch (problem) {
      if (problem instanceof Stopped) {
        this.#sending.delete(item);
        throw problem;
      }
      this.#refuse(item, problem);
      // Another user may have filled the product. It is read again, so that no picture is sent to a full product.
      if (problem.status === 422) group.product = await this.#attempt(() => current(group.product.id));
    }
    this.#finish(item);
  }

  // The file as it is sent, in memory: a file on the disk can change or go away meanwhile.
  async #prepared(item) {
    const { file } = item.offer ? await fit(item.file) : await inspect(item.file);
    const bytes = await file.arrayBuffer().catch(() => {
      throw Object.assign(new Problem(400), { key: "problem.unreadable" });
    });
    item.digest = await digestOf(bytes);
    return new File([bytes], file.name, { type: file.type });
  }

  async #send(group, item, file) {
    const { product } = group;
    const progress = (percent) => this.#show(item, { state: percent < 100 ? "sending" : "checking", percent });
    const post = (secret) => postImage(product.id, file, secret, { progress, signal: this.#stop.signal });
    const { created, imageUrl, imageUrls } = await this.#attempt(async () => {
      this.#show(item, { state: "sending", percent: 0 });
      try {
        return await renewing(post);
      } catch (problem) {
        this.#show(item, { state: "", percent: 0 });
        throw problem;
      }
    });
    product.urls = imageUrls;
    product.hashes.set(item.digest ?? imageUrl, imageUrl);
    this.#show(item, { state: created ? "added" : "present", url: imageUrl });
  }

  // Puts the pictures into the order of their names, if this run has added one that is not at its place.
  async #arrange(group, items) {
    if (!items.some(({ state }) => state === "added")) return;
    const urlOf = ({ url, digest }) => url ?? group.product.hashes.get(digest);
    for (let conflicts = 0; conflicts < MOST_CONFLICTS; conflicts += 1) {
      const { urls } = group.product;
      const order = finalOrder(urls, group.items.map(urlOf).filter((url) => urls.includes(url)));
      if (order.every((url, place) => url === urls[place])) return;
      try {
        group.product = await this.#attempt(() => current(group.product.id));
        if (!sameSet(group.product.urls, urls)) continue;
        group.product = await this.#attempt(() => arrange(group.product, order));
        return;
      } catch (problem) {
        if (problem instanceof Stopped) throw problem;
        if (problem.status !== 412) return this.#told("bulk.notOrdered", { name: group.product.name });
      }
    }
  }

  // Does the work, again and again while only the network, the server or the session is missing.
  async #attempt(work) {
    for (let failures = 0; ; failures += 1) {
      await this.#gate();
      try {
        const result = await work();
        if (this.state === "waiting") this.#set("running");
        return result;
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(0);
        if (this.state === "stopped") throw new Stopped();
        if (!(await this.#mayPass(problem, failures))) throw problem;
      }
    }
  }

  // Waits as long as it takes until the work can be tried again; resolves to false if that is of no use.
  async #mayPass(problem, failures) {
    const { status, key, retryAfter = 0 } = problem;
    if (["problem.budget", "problem.quota"].includes(key) || 1000 * retryAfter > LONGEST_WAIT_MS) {
      this.stop(problem);
      return true;
    }
    if (status === 401) {
      this.pause(problem); // the user did not sign in again
      return true;
    }
    const passes = [0, 408].includes(status) || BUSY.includes(status) || (status >= 500 && failures < MOST_FAILURES);
    if (!passes) return false;
    if (this.state === "running") this.#set("waiting", problem);
    await this.#sleep(1000 * retryAfter || Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures));
    return true;
  }

  #refuse(item, error) {
    const problem = error instanceof Problem ? error : new Problem(400);
    this.#show(item, { state: "refused", problem });
    this.#told("bulk.refused", { file: item.path, why: problem.sentence });
  }

  #finish(item) {
    this.#sending.delete(item);
    this.#over.count += 1;
    this.#over.bytes += item.file.size;
    this.#show(item, { percent: 100 });
  }

  #show(item, changes) {
    Object.assign(item, changes);
    this.#changed(item);
  }
}

function sameSet(one, other) {
  return one.length === other.length && new Set([...one, ...other]).size === one.length;
}

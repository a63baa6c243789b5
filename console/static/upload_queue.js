// A queue of uploads. It knows nothing of a page's elements, so that any page can show it.
//
//   const queue = new UploadQueue({ store, changed, settled, roomOf, makeRoom });
//   queue.restore(productId);             // goes on with what a closed page has left
//   queue.add([{ file, productId }, …]);  // to one product, or to several
//
// changed(item)    is called after each change of an item. Items that are over are removed after settled().
// settled(items)   is called, and awaited, when nothing of the current batch is under way any more. A batch is what was
//                  added or retried since the queue was idle; `items` are those of the batch.
// roomOf(id)       is the number of pictures that a product has room for. No more are sent to it at a time, so that it is the
//                  last files that find no room.
// makeRoom(id)     is called when a product is full. It resolves to whether there is room now.
// store            an UploadStore, or null.
//
// An item has:
//   id, productId, name, size
//   file       the File to send, or null when it is over
//   state      one of:
//                preparing    its bytes are looked at, or it is converted
//                waiting      for its turn; with a `problem`, for a server that is busy
//                sending      `percent` of it is sent
//                checking     the server has it all, and checks it
//                done         it is a picture of the product: `imageUrl`
//                present      the product had this picture already: `imageUrl`
//                refused      `problem` says why; `offer` and `retryable` say what can be done
//                unreachable  the server can't be reached; it goes on by itself
//                cancelled
//   problem    a Problem, or null
//   offer      "shrink" or "convert": accept(item) does it. Else null.
//   retryable  whether retry(item) can help
//   converted  what accept() has made: { width, height, type, from }, or null; `from` is the earlier type
//   kept       whether a reload of the page keeps it

import { Problem, renewing } from "./api.js";
import { fit, inspect } from "./preparation.js";
import { postImage } from "./upload_request.js";

const AT_ONCE = 3;
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 60_000;
// A server that asks for more patience than this has used up a budget: the user decides when to try again.
const LONGEST_WAIT_MS = 10 * 60_000;
const BUSY = [408, 429, 502, 503, 504];

const UNDER_WAY = ["preparing", "waiting", "sending", "checking", "unreachable"];
const RUNNING = ["sending", "checking"];

export class UploadQueue {
  items = [];
  paused = false;
  #store;
  #changed;
  #settled;
  #roomOf;
  #makeRoom;
  #batch = 1;
  #order = 0;
  #running = 0;
  #failures = 0; // of the server or the network, one after the other
  #notBefore = 0;
  #timer = 0;
  #signedOut = false;
  #last = Promise.resolve();

  constructor({ store = null, changed, settled, roomOf, makeRoom } = {}) {
    this.#store = store;
    this.#changed = changed ?? (() => {});
    this.#settled = settled ?? (async () => {});
    this.#roomOf = roomOf ?? (() => Infinity);
    this.#makeRoom = makeRoom ?? (async () => false);
    addEventListener("online", () => this.#goOn());
  }

  // Whether anything is under way.
  get busy() {
    return this.items.some(({ state }) => UNDER_WAY.includes(state));
  }

  get refused() {
    return this.items.filter(({ state }) => state === "refused");
  }

  // How far the current batch is: files that are over, and bytes.
  get progress() {
    const batch = this.#ofBatch();
    const sent = ({ state, size, percent }) => (UNDER_WAY.includes(state) ? (size * percent) / 100 : size);
    return {
      count: batch.length,
      over: batch.filter(({ state }) => !UNDER_WAY.includes(state)).length,
      sent: batch.reduce((sum, item) => sum + sent(item), 0),
      bytes: batch.reduce((sum, { size }) => sum + size, 0),
    };
  }

  add(files) {
    this.#signedOut = false;
    return files.map(({ file, productId }) => {
      const item = this.#item({ id: newId(), productId, file, name: file.name, size: file.size, order: ++this.#order });
      this.items.push(item);
      this.#prepare(item, () => inspect(file));
      return item;
    });
  }

  // Takes over what pages that are closed have left, of one product, or of all without `productId`. Calls restored(items).
  async restore(productId = null, restored = () => {}) {
    await this.#store?.adopt(productId, (records) => {
      const items = records.toSorted((a, b) => a.order - b.order).map((each) => this.#restored(each));
      this.items.push(...items);
      for (const item of items) this.#changed(item);
      restored(items);
      this.#pump();
      this.#settle();
    });
  }

  // Does what a refused item offers, and sends the result.
  accept(item) {
    if (item.state !== "refused" || !item.offer) return;
    const { file } = item;
    // One after the other: a picture takes much memory while it is converted.
    const work = () => this.items.includes(item) && item.state === "preparing" && fit(file);
    this.#prepare(item, () => (this.#last = this.#last.catch(() => {}).then(work)));
  }

  retry(item) {
    if (item.state === "unreachable") return this.#goOn();
    if (item.state !== "refused" || !item.retryable) return;
    this.#signedOut = false;
    this.#wait(item);
    this.#pump();
  }

  cancel(item) {
    if (!UNDER_WAY.includes(item.state)) return;
    this.#drop(item);
    item.stop?.abort();
    this.#pump();
  }

  // Forgets a refused item.
  dismiss(item) {
    if (item.state === "refused") this.#drop(item);
  }

  acceptAll() {
    for (const item of this.refused) this.accept(item);
  }

  retryAll() {
    for (const item of this.refused) this.retry(item);
  }

  cancelAll() {
    for (const item of [...this.items]) this.cancel(item);
  }

  dismissAll() {
    for (const item of this.refused) this.dismiss(item);
  }

  // Starts no further file until resume(). What is being sent goes on.
  pause() {
    this.paused = true;
  }

  resume() {
    this.paused = false;
    this.#goOn();
  }

  #drop(item) {
    this.items = this.items.filter((each) => each !== item);
    this.#store?.remove([item.id]);
    this.#set(item, { state: "cancelled", file: null });
  }

  #item(fields) {
    const empty = { state: "preparing", percent: 0, problem: null, offer: null, retryable: false, converted: null };
    return { ...empty, kept: false, imageUrl: null, imageUrls: [], stop: null, batch: this.#batch, ...fields };
  }

  #restored({ problem: why, ...record }) {
    const item = this.#item({ ...record, problem: why && Object.assign(new Problem(why.status), why), kept: true });
    this.#order = Math.max(this.#order, item.order);
    if (UNDER_WAY.includes(item.state) || why?.status === 401) Object.assign(item, { state: "waiting", problem: null });
    else if (item.state === "refused") item.batch = 0;
    return item;
  }

  #ofBatch() {
    return this.items.filter(({ batch }) => batch === this.#batch);
  }

  #set(item, changes) {
    Object.assign(item, changes);
    this.#changed(item);
    this.#settle();
  }

  async #prepare(item, work) {
    item.batch = this.#batch;
    this.#set(item, { state: "preparing", problem: null, percent: 0 });
    try {
      const made = await work();
      if (item.state !== "preparing") return;
      const { file, converted = item.converted } = made;
      Object.assign(item, { file, size: file.size, converted, offer: null });
      item.kept = Boolean(await this.#store?.put(record(item), file));
      if (item.state === "preparing") this.#wait(item);
      else this.#store?.remove([item.id]);
    } catch (problem) {
      if (item.state === "preparing") this.#refuse(item, problem);
    }
    this.#pump();
  }

  #wait(item) {
    item.batch = this.#batch;
    this.#set(item, { state: "waiting", problem: null, percent: 0 });
    this.#store?.update(record(item));
  }

  #refuse(item, error) {
    const problem = error instanceof Problem ? error : new Problem(0);
    const retryable = problem.mayPass || problem.key === "problem.full";
    const offer = problem.offer ?? null;
    if (!retryable && !offer) item.file = null;
    this.#set(item, { state: "refused", problem, offer, retryable });
    if (item.kept && item.file) this.#store?.update(record(item));
    else this.#store?.put(record(item), item.file);
  }

  #pump() {
    clearTimeout(this.#timer);
    const pause = this.#notBefore - Date.now();
    if (pause > 0) {
      this.#timer = setTimeout(() => this.#goOn(), pause);
      return;
    }
    while (!this.paused && this.#running < AT_ONCE) {
      const next = this.items.find((item) => item.state === "waiting" && this.#hasRoom(item));
      if (!next) return;
      this.#run(next);
    }
  }

  // Whether to send the item now. One is sent to a product that seems to be full, too: the server decides.
  #hasRoom({ productId }) {
    const running = this.items.filter((item) => item.productId === productId && RUNNING.includes(item.state));
    return running.length < Math.max(1, this.#roomOf(productId));
  }

  // Tries again what waits for the server or the network.
  #goOn() {
    this.#notBefore = 0;
    for (const item of this.items) if (item.state === "unreachable") this.#wait(item);
    this.#pump();
  }

  async #run(item) {
    this.#running += 1;
    const stop = new AbortController();
    this.#set(item, { state: "sending", problem: null, percent: 0, stop });
    try {
      const answer = await this.#send(item, stop.signal);
      this.#failures = 0;
      if (item.state !== "cancelled") {
        const { created, imageUrl, imageUrls } = answer;
        this.#set(item, { state: created ? "done" : "present", file: null, percent: 100, imageUrl, imageUrls });
        this.#store?.update(record(item));
      }
    } catch (problem) {
      if (item.state !== "cancelled") await this.#fail(item, problem);
    }
    this.#running -= 1;
    this.#pump();
  }

  #send(item, signal) {
    if (this.#signedOut) throw new Problem(401);
    const progress = (percent) => {
      if (!RUNNING.includes(item.state)) return;
      this.#set(item, { state: percent < 100 ? "sending" : "checking", percent });
    };
    return renewing((secret) => postImage(item.productId, item.file, secret, { progress, signal }));
  }

  async #fail(item, error) {
    const problem = error instanceof Problem ? error : new Problem(0);
    // The user who did not sign in again is not asked again for each of the files that wait.
    if (problem.status === 401) this.#signedOut = true;
    const asked = 1000 * problem.retryAfter;
    if (problem.status === 0 && !(await readable(item.file))) {
      this.#refuse(item, Object.assign(new Problem(400), { key: "problem.unreadable" }));
    } else if (problem.status === 0) {
      this.#pause(0);
      this.#set(item, { state: "unreachable", problem, percent: 0 });
    } else if (BUSY.includes(problem.status) && asked <= LONGEST_WAIT_MS) {
      this.#pause(asked);
      this.#set(item, { state: "waiting", problem, percent: 0 });
    } else if (problem.key === "problem.full" && (await this.#makeRoom(item.productId))) {
      this.#wait(item);
    } else if (item.state !== "cancelled") {
      this.#refuse(item, problem);
    }
  }

  // Sends nothing for a while, which grows with each failure.
  #pause(asked) {
    const own = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#notBefore = Math.max(this.#notBefore, Date.now() + (asked || own));
  }

  async #settle() {
    const batch = this.#ofBatch();
    if (!batch.length || this.busy) return;
    this.#batch += 1;
    await this.#settled(batch);
    const over = batch.filter(({ state }) => state !== "refused");
    this.items = this.items.filter((item) => !over.includes(item));
    this.#store?.remove(over.map(({ id }) => id));
  }
}

// The URLs of a product's pictures with those of `items` in the order in which they were chosen, or null if they are in
// this order, or if someone has put them into another order than that in which the server appended them.
export function inChosenOrder(items, urls) {
  const added = items.filter(({ state, imageUrl }) => state === "done" && urls.includes(imageUrl));
  const now = added.toSorted((a, b) => urls.indexOf(a.imageUrl) - urls.indexOf(b.imageUrl));
  const chosen = added.toSorted((a, b) => a.order - b.order);
  // The answer to an upload lists what the server had appended before it.
  const untouched = now.every((item, place) => now.slice(place + 1).every((later) => later.imageUrls.includes(item.imageUrl)));
  if (!untouched || now.every((item, place) => item === chosen[place])) return null;
  const mine = new Set(now.map(({ imageUrl }) => imageUrl));
  const rest = chosen.values();
  return urls.map((url) => (mine.has(url) ? rest.next().value.imageUrl : url));
}

// What the store keeps of an item.
function record({ file, problem, stop, batch, kept, percent, ...item }) {
  return { ...item, problem: problem && { status: problem.status, key: problem.key } };
}

// A file can be moved or changed on the disk after it was chosen.
async function readable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

// crypto.randomUUID() is missing on pages that were opened by plain http.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The uploads of a product's page: shows the queue, and connects it with the pictures.

import { inTurn, say } from "./api.js";
import { inChosenOrder, UploadQueue } from "./upload_queue.js";
import { UploadRows } from "./upload_rows.js";
import { UploadStore } from "./upload_store.js";

const MOST_TOLD = 3; // refusals are announced one by one up to this number in a batch

export class Uploads {
  #pictures;
  #productId;
  #announce;
  #queue;
  #rows;
  #told = 0;
  #loading = false;
  #keeps = true;

  // panel: the element of uploads.html. input: gets the focus when a button disappears that has it.
  constructor(pictures, { productId, panel, template, input, announce }) {
    this.#pictures = pictures;
    this.#productId = productId;
    this.#announce = announce;
    const user = document.querySelector('meta[name="user"]').content;
    this.#queue = new UploadQueue({
      store: new UploadStore(user, () => (this.#keeps = false)),
      changed: (item) => this.#show(item),
      settled: (items) => this.#settled(items),
      roomOf: () => pictures.room - this.#queue.items.filter((item) => this.#isNew(item)).length,
      makeRoom: () => this.#makeRoom(),
    });
    this.#rows = new UploadRows(this.#queue, { panel, template, input });
    addEventListener("beforeunload", (event) => this.#losesFiles() && event.preventDefault());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#restore());
    this.#restore();
    pictures.beforeDelete = () => this.#cancelAll();
  }

  add(files) {
    if (!files.length) return;
    if (!this.#queue.busy) this.#told = 0;
    const several = files.length > 1;
    this.#announce(say(several ? "uploadingSeveral" : "uploading", { file: files[0].name, count: files.length }));
    this.#queue.add(files.map((file) => ({ file, productId: this.#productId })));
  }

  #cancelAll() {
    this.#queue.cancelAll();
    this.#queue.dismissAll();
  }

  // Says how a picture of another page became a file.
  taken({ file, converted: { width, height } }) {
    const values = { file: file.name, size: `${width} × ${height}`, type: typeName(file.type) };
    this.#announce(say("taken", values), true);
  }

  // Goes on with the uploads of a page that is gone.
  #restore() {
    this.#queue.restore(this.#productId, (items) => {
      const count = items.filter(({ state }) => state === "waiting").length;
      if (count) this.#announce(say("goesOn", { count }), true);
    });
  }

  #losesFiles() {
    return !this.#keeps && this.#queue.busy;
  }

  #show(item) {
    this.#rows.show(item, { keeps: this.#keeps });
    if (item.state === "done") this.#loadSoon();
    else if (item.state === "cancelled") this.#cancelled(item);
    else if (item.state === "refused") this.#refused(item);
    if (item.state === "sending" && item.converted && !item.converted.told) this.#converted(item);
  }

  #converted({ name, file, converted }) {
    converted.told = true;
    const { width, height, from } = converted;
    const values = { file: name, size: `${width} × ${height}`, type: typeName(file.type) };
    this.#announce(say(from === file.type ? "shrunk" : "converted", values), true);
  }

  #refused({ name, problem, batch }) {
    if (!batch || this.#told++ >= MOST_TOLD) return;
    this.#announce(say("refused", { file: name, why: problem.sentence }));
  }

  // The server may have stored it already when it was cancelled.
  #cancelled({ name, stop }) {
    if (!stop) return;
    this.#announce(say("cancelled", { file: name }));
    this.#loadSoon();
  }

  // Several uploads that end while the pictures are loaded need one more load.
  #loadSoon() {
    if (this.#loading) return;
    this.#loading = true;
    inTurn(() => {
      this.#loading = false;
      return this.#pictures.load();
    }).catch(() => {});
  }

  // Whether it is a picture that is not loaded yet.
  #isNew({ state, imageUrl }) {
    return state === "done" && !this.#pictures.entries.some(({ image }) => image.url === imageUrl);
  }

  // Pictures whose deletion can still be undone count on the server: deletes them for good.
  #makeRoom() {
    if (!this.#pictures.entries.some(({ hidden }) => hidden)) return false;
    return inTurn(async () => {
      this.#pictures.commit();
      await this.#pictures.saveNow();
      return this.#pictures.room > 0;
    });
  }

  async #settled(items) {
    const count = (wanted) => items.filter(({ state }) => state === wanted).length;
    const [done, present] = [count("done"), count("present")];
    if (done) await this.#pictures.orderAdded((urls) => inChosenOrder(items, urls)).catch(() => {});
    const [first] = items.filter(({ state }) => state === "present");
    if (present === 1) this.#announce(say("present", { file: first.name }), true);
    if (done || items.length > 1) {
      this.#announce(say(present ? "uploadedPresent" : "uploaded", { done, present, count: items.length }));
    }
    this.#told = 0;
  }
}

function typeName(type) {
  return type.split("/")[1].toUpperCase().replace("WEBP", "WebP");
}

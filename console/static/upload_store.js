// Keeps files that wait to be uploaded in the browser (IndexedDB), so that a reload or a crash of the page loses none.
//
// Each record belongs to the tab that added it. A tab holds a lock of its own while it lives (Web Locks), so another tab
// takes over its records only after it is closed or reloaded, and no two tabs send the same file.

const DATABASE = "vetrina-uploads";
const ITEMS = "items"; // id → record
const FILES = "files"; // id → File; apart, because a change of a record would copy the file
const LOCK = "vetrina-tab-";
const KEPT_MS = 7 * 24 * 60 * 60_000;

export class UploadStore {
  #user;
  #failed;
  #tab = crypto.getRandomValues(new Uint32Array(4)).join("-");
  #holding = null;
  #watched = new Set();
  #adopted = false;

  // user: whose files these are; those of others are removed.
  // failed(): called when the browser keeps nothing, or has no room for a file.
  constructor(user, failed = () => {}) {
    this.#user = user;
    this.#failed = failed;
  }

  // Resolves to whether the record and its file, or no file, are kept.
  async put(record, file) {
    try {
      await this.#hold();
      await transaction("readwrite", (items, files) => {
        items.put({ ...record, user: this.#user, owner: this.#tab, keptAt: Date.now() });
        if (file) files.put(file, record.id);
        else files.delete(record.id);
      });
      return true;
    } catch {
      this.#failed();
      return false;
    }
  }

  // Changes a record that is kept. The file stays.
  async update(record) {
    await transaction("readwrite", async (items) => {
      const kept = await answer(items.get(record.id));
      if (kept) items.put({ ...kept, ...record });
    }).catch(() => {});
  }

  async remove(ids) {
    if (ids.length) await removeAll(ids).catch(() => {});
  }

  // Calls take(records), once or several times, with the records of tabs that are closed: `file` is a File or null.
  // A tab that is open hands its records over when it closes.
  async adopt(productId, take) {
    if (!navigator.locks && this.#adopted) return;
    this.#adopted = true;
    try {
      const all = await transaction("readonly", (items) => answer(items.getAll()));
      const outdated = ({ user, keptAt }) => user !== this.#user || keptAt < Date.now() - KEPT_MS;
      await this.remove(all.filter(outdated).map(({ id }) => id));
      const mine = ({ owner }) => owner === this.#tab || this.#watched.has(owner);
      const others = all.filter((each) => !outdated(each) && !mine(each) && wanted(each, productId));
      for (const owner of new Set(others.map((each) => each.owner))) this.#watch(owner, productId, take);
    } catch {
      // Nothing is kept in this browser.
    }
  }

  #hold() {
    this.#holding ??= hold(LOCK + this.#tab);
    return this.#holding;
  }

  async #watch(owner, productId, take) {
    this.#watched.add(owner);
    await this.#hold();
    const takeOver = () =>
      transaction("readwrite", async (items, files) => {
        const all = await answer(items.getAll());
        const left = all.filter((each) => each.owner === owner && each.user === this.#user && wanted(each, productId));
        for (const each of left) items.put({ ...each, owner: this.#tab });
        return Promise.all(left.map(async (each) => ({ ...each, file: (await answer(files.get(each.id))) ?? null })));
      });
    const records = await (navigator.locks ? navigator.locks.request(LOCK + owner, takeOver) : takeOver());
    this.#watched.delete(owner);
    if (records.length) take(records);
    else await this.adopt(productId, take); // another tab was quicker: this one waits for that one
  }
}

// Removes everything, for example when the user signs out.
export async function forgetUploads() {
  await transaction("readwrite", (items, files) => {
    items.clear();
    files.clear();
  }).catch(() => {});
}

function removeAll(ids) {
  return transaction("readwrite", (items, files) => {
    for (const id of ids) {
      items.delete(id);
      files.delete(id);
    }
  });
}

function wanted(record, productId) {
  return productId === null || record.productId === productId;
}

// Resolves when the lock is held, which it is until the page is gone. Without Web Locks (plain http) it resolves at once.
function hold(name) {
  if (!navigator.locks) return Promise.resolve();
  return new Promise((held, failed) => {
    navigator.locks.request(name, () => new Promise(() => held())).catch(failed);
  });
}

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(ITEMS, { keyPath: "id" });
      request.result.createObjectStore(FILES);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

// Runs work(items, files), and resolves to its result when all of it is stored.
async function transaction(mode, work) {
  const database = await open();
  const running = database.transaction([ITEMS, FILES], mode);
  const over = new Promise((resolve, reject) => {
    running.oncomplete = resolve;
    running.onabort = () => reject(running.error);
  });
  const [result] = await Promise.all([work(running.objectStore(ITEMS), running.objectStore(FILES)), over]);
  return result;
}

function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

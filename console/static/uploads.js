// Uploads files one after the other; each has a row that shows its progress.

import { Problem, inTurn, problemOf, renewing, say } from "./api.js";
import { recognize } from "./file_types.js";
import { MOST_BYTES, fit } from "./preparation.js";

const TIMEOUT_MS = 120_000;

export class Uploads {
  #pictures;
  #rows;
  #template;
  #most;
  #input;
  #announce;
  #all;
  #open = new Set();
  #failed = new Map(); // row → how to try again, or null
  #unreachable = new Map(); // row → how to try again, if the server could not be reached
  #signedOut = false;
  #count = 0;
  #done = 0;
  #present = 0;

  constructor(pictures, { rows, all, template, input, most, announce }) {
    this.#pictures = pictures;
    this.#rows = rows;
    this.#template = template;
    this.#input = input;
    this.#most = most;
    this.#announce = announce;
    this.#all = all;
    all.addEventListener("click", ({ target }) => this.#forAll(target.closest("[data-do]")?.dataset.do));
    addEventListener("online", () => this.#goOn());
    addEventListener("beforeunload", (event) => this.#open.size && event.preventDefault());
  }

  add(files) {
    this.#signedOut = false;
    if (!this.#open.size) this.#count = this.#done = this.#present = 0;
    this.#count += files.length;
    for (const file of files) this.#start(file, this.#row(file));
  }

  async #start(file, row) {
    this.#open.add(row);
    this.#forget(row);
    row.show(say("waiting"), 0);
    try {
      const created = await inTurn(async () => this.#send(await checked(file), row));
      if (created) this.#done += 1;
      else this.#present += 1;
      row.element.remove();
    } catch (problem) {
      await this.#fail(file, row, problem instanceof Problem ? problem : new Problem(0));
    }
    this.#open.delete(row);
    if (!this.#open.size && this.#done) {
      const numbers = { done: this.#done, count: this.#count, present: this.#present };
      this.#announce(say(this.#present ? "uploadedPresent" : "uploaded", numbers));
    }
  }

  async #fail(file, row, problem) {
    // Who did not sign in again is not asked again for each of the files that wait.
    if (problem.status === 401) this.#signedOut = true;
    const again = () => {
      this.#signedOut = false;
      this.#focusInput(); // the retry button, which has the focus, disappears
      this.#start(file, row);
    };
    const type = problem.status === 413 ? (await recognize(file)).type : null;
    if (type) row.fail(say("problem.tooBigOffer"), () => this.#startSmaller(file, row), say("shrink"));
    else row.fail(problem.sentence, problem.mayPass && again);
    this.#failed.set(row, problem.mayPass ? again : null);
    if (problem.status === 0) this.#unreachable.set(row, again);
    this.#showAll();
    this.#announce(say("refused", { file: file.name, why: problem.sentence }));
  }

  async #startSmaller(file, row) {
    this.#focusInput();
    row.show(say("shrinking"), 0);
    const smaller = await fit(file).catch(() => null);
    if (!smaller) return row.fail(say("problem.tooBig"), null);
    const size = `${smaller.converted.width} × ${smaller.converted.height}`;
    this.#announce(say("shrunk", { file: file.name, size }), true);
    this.#start(smaller.file, row);
  }

  // Tries again what failed without the network, as soon as the network is back.
  #goOn() {
    for (const again of [...this.#unreachable.values()]) again();
  }

  #forget(row) {
    this.#failed.delete(row);
    this.#unreachable.delete(row);
    this.#showAll();
  }

  #showAll() {
    this.#all.hidden = this.#failed.size < 2;
    this.#all.querySelector('[data-do="retry"]').hidden = ![...this.#failed.values()].some(Boolean);
  }

  #forAll(action) {
    if (!action) return;
    for (const [row, again] of [...this.#failed]) {
      if (action === "retry") {
        again?.();
      } else {
        row.element.remove();
        this.#forget(row);
      }
    }
    this.#focusInput();
  }

  // The input is hidden if the product is full.
  #focusInput() {
    if (this.#input.checkVisibility()) this.#input.focus();
    else document.getElementById("content").focus();
  }

  async #send(file, row) {
    if (this.#signedOut) throw new Problem(401);
    if (this.#pictures.count >= this.#most) {
      // Pictures whose deletion can still be undone count on the server; delete them for good first.
      this.#pictures.commit();
      await this.#pictures.saveNow();
      if (this.#pictures.count >= this.#most) throw new Problem(422);
    }
    this.#announce(say("uploading", { file: file.name }));
    const created = await renewing((secret) => post(this.#pictures.path, file, secret, row));
    if (!created) this.#announce(say("present", { file: file.name }), true);
    await this.#pictures.load();
    return created;
  }

  #row(file) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    const [state, bar] = [element.querySelector(".upload-state"), element.querySelector("progress")];
    const [retry, dismiss] = element.querySelectorAll("button");
    element.querySelector(".upload-name").textContent = file.name;
    bar.setAttribute("aria-label", file.name);
    dismiss.addEventListener("click", () => {
      const next = element.nextElementSibling ?? element.previousElementSibling;
      element.remove();
      this.#forget(handle);
      const button = next?.querySelector("button:not([hidden])");
      if (button) button.focus();
      else this.#focusInput();
    });
    this.#rows.append(element);
    const handle = {
      element,
      show(text, percent) {
        element.classList.remove("failed");
        [bar.hidden, retry.hidden, dismiss.hidden] = [false, true, true];
        state.textContent = text;
        bar.value = percent;
      },
      fail(text, again, label = say("tryAgain")) {
        element.classList.add("failed");
        [bar.hidden, retry.hidden, dismiss.hidden] = [true, !again, false];
        state.textContent = text;
        retry.textContent = label;
        retry.onclick = again || null;
      },
    };
    return handle;
  }
}

// The file with the type that its bytes have, whatever its name says. Throws a Problem before anything is sent.
async function checked(file) {
  if (file.size > MOST_BYTES) throw new Problem(413);
  const { type, problem } = await recognize(file);
  if (problem) throw Object.assign(new Problem(415), { key: `problem.${problem}` });
  return new File([file], file.name, { type });
}

// Uploads with XMLHttpRequest, because fetch() does not report upload progress. Resolves to whether the picture
// was new.
function post(path, file, secret, row) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("file", file);
  // With ifExists=skip the same picture is not stored twice, so a retry after a lost answer is safe.
  request.open("POST", `/api/v1${path}/images?ifExists=skip`);
  request.setRequestHeader("Authorization", `Bearer ${secret}`);
  request.timeout = TIMEOUT_MS;
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    const percent = Math.floor((100 * loaded) / total);
    row.show(percent < 100 ? say("percent", { percent }) : say("checking"), percent);
  });
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      const { status, responseText } = request;
      if (status === 200 || status === 201) resolve(status === 201);
      else reject(problemOf(status, responseText));
    });
    for (const event of ["error", "timeout", "abort"]) {
      request.addEventListener(event, () => reject(new Problem(0)));
    }
    request.send(form);
  });
}

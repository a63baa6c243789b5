// Calls the public API with a token of the signed-in user. The token is stored in this module only.

import { signInAgain } from "./session.js";

// The words of the page's templates, in its language.
const blocks = document.querySelectorAll('script[type="application/json"]');
const words = Object.assign({}, ...Array.from(blocks, (block) => JSON.parse(block.textContent)));

export function say(key, values = {}) {
  return words[key]?.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// A failed call of the API. Status 0 means that there was no answer. `key` names a sentence in script_words.html.
// `retryAfter` is the number of seconds after which the server asks to try again, or 0.
export class Problem extends Error {
  constructor(status, error = "", retryAfter = 0) {
    super(error || String(status));
    this.status = status;
    this.retryAfter = retryAfter;
    this.key = `problem.${name(status, error)}`;
  }

  get sentence() {
    return say(this.key);
  }

  get mayPass() {
    return [0, 401].includes(this.status) || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const BY_TEXT = {
  "Image is corrupt or incomplete": "corrupt",
  "Image has too many pixels": "tooManyPixels",
  "Image has too many chunks, segments or scans": "tooManyParts",
  "No file provided. Send as multipart/form-data with field name 'file'.": "empty",
  "Daily write limit reached. It resets at midnight UTC.": "budget",
  "This workspace has reached its quota of products. Delete products, or ask for a higher quota.": "quota",
  "This workspace has reached its quota of images. Delete images, or ask for a higher quota.": "quota",
  "This workspace has reached its quota of bytes. Delete images, or ask for a higher quota.": "quota",
};
const BY_STATUS = {
  0: "unreachable",
  401: "signedOut",
  403: "notAllowed",
  404: "gone",
  408: "unreachable",
  409: "duplicateModel",
  412: "changed",
  413: "tooBig",
  415: "notAPicture",
  422: "full",
  429: "tooOften",
};

function name(status, error) {
  return BY_TEXT[error] ?? BY_STATUS[status] ?? (status >= 500 ? "unavailable" : "other");
}

// `retryAfter` is the header of this name. A date in it counts as none: the server and its proxies send seconds.
export function problemOf(status, text, retryAfter = null) {
  const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : 0;
  try {
    return new Problem(status, JSON.parse(text).error, seconds);
  } catch {
    return new Problem(status, "", seconds);
  }
}

const TIMEOUT_MS = 40_000;
const RENEW_BEFORE_MS = 60_000;

let held = null;
let asked = null;

export async function token() {
  if (held && performance.now() < held.until - RENEW_BEFORE_MS) return held.secret;
  asked ??= askOrSignIn().finally(() => (asked = null));
  return asked;
}

export function tokenInHand() {
  return held?.secret;
}

export function dropToken() {
  held = null;
}

// Without a session, all calls wait until the user has signed in again.
async function askOrSignIn() {
  try {
    return await ask();
  } catch (problem) {
    if (problem.status !== 401 || !(await signInAgain().catch(() => false))) throw problem;
    return ask();
  }
}

async function ask() {
  const csrf = document.querySelector('meta[name="csrf-token"]').content;
  let response;
  try {
    response = await answer("/console/token", { method: "POST", headers: { "X-CSRF-Token": csrf } });
  } catch (problem) {
    // 400: the CSRF token belongs to an earlier session, because someone signed in again in another tab.
    throw problem.status === 400 ? new Problem(401) : problem;
  }
  const { accessToken, expiresIn } = await response.json();
  held = { secret: accessToken, until: performance.now() + 1000 * expiresIn };
  return accessToken;
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  } catch {
    throw new Problem(0);
  }
  if (!response.ok && response.status !== 304) {
    const text = await response.text().catch(() => "");
    throw problemOf(response.status, text, response.headers.get("Retry-After"));
  }
  return response;
}

// Runs `work` with a token, and once more with a new token if the first was revoked or expired early.
export async function renewing(work) {
  const secret = await token();
  try {
    return await work(secret);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    // Another call may have dropped it, and renewed it, meanwhile.
    if (held?.secret === secret) dropToken();
    return work(await token());
  }
}

export function call(method, path, { body, headers = {} } = {}) {
  return renewing((secret) =>
    answer(`/api/v1${path}`, {
      method,
      headers: { Authorization: `Bearer ${secret}`, ...(body && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
    }),
  );
}

// Runs writes to a product one after the other, so that each starts from the version that the last one made.
let last = Promise.resolve();

export function inTurn(work) {
  const result = last.then(work);
  last = result.catch(() => {});
  return result;
}

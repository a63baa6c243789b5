// Looks at files before anything is sent: whether the server takes them, and whether a product has them already.

import { inspect } from "./preparation.js";

// Inspects items, and calls changed(item) after each.
export async function inspectAll(items, changed) {
  for (const item of items) {
    await inspectItem(item);
    changed(item);
  }
}

// Computes the SHA-256 of the items that a product may have already. `signal` ends it early: the rest is compared when
// it is sent.
export async function compareAll(batch, items, changed, signal) {
  for (const item of items) {
    if (signal.aborted) return;
    if (item.problem || item.digest) continue;
    const group = batch.groups.find((each) => each.items.includes(item));
    const mayBeThere = group?.product?.hashes.size || group?.items.some((other) => isTwin(item, other));
    if (!mayBeThere) continue;
    item.digest = await digestOf(await item.file.arrayBuffer().catch(() => null));
    changed(item);
  }
}

function isTwin(item, other) {
  return other !== item && other.file.size === item.file.size;
}

async function inspectItem(item) {
  try {
    await inspect(item.file);
  } catch (problem) {
    if (problem.offer) item.offer = problem.offer;
    else item.problem = problem;
  }
}

// Resolves to the SHA-256 in hex, or to null: browsers compute it only on pages that were opened by https or on this
// machine. Without it, the server compares the pictures after it has received them.
export async function digestOf(bytes) {
  if (!bytes || !crypto.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The files that were dropped or chosen, with their paths: { file, path }. Those that systems leave are left out.

import { isClutter } from "./bulk_names.js";

// Of an <input type="file">; one with `webkitdirectory` gives the paths below the chosen folder.
export function filesOfInput(input) {
  const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  return files.filter(({ path }) => !path.split("/").some(isClutter));
}

// Of a drop, folders included. Must be called in the handler of the event: afterwards its data is gone.
// counted(number) tells how many files have been found so far. What can't be read is left out.
export async function filesOfDrop(transfer, counted = () => {}) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  // A file that a script or another program hands over may have no entry.
  const loose = entries.length ? [] : [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = loose.filter(({ path }) => !isClutter(path));
  const waiting = entries;
  while (waiting.length) {
    const entry = waiting.shift();
    if (isClutter(entry.name)) continue;
    if (entry.isDirectory) {
      waiting.push(...(await childrenOf(entry)));
    } else {
      const file = await new Promise((done) => entry.file(done, () => done(null)));
      if (file) found.push({ file, path: entry.fullPath.replace(/^\//, "") });
      counted(found.length);
    }
  }
  return found;
}

// readEntries() gives some of them, 100 in Chromium, until it gives none.
async function childrenOf(folder) {
  const reader = folder.createReader();
  const children = [];
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) return children;
    children.push(...some);
  }
}

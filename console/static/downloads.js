// Saves pictures on the user's device: one as it is, several in a ZIP archive, because browsers drop files when a page
// saves many at once.

import { Problem, say } from "./api.js";
import { zip } from "./zip.js";

export function saveOne(url) {
  const link = document.createElement("a");
  link.href = url;
  // A browser opens a picture of another origin in place of saving it: in a new tab, so that the page stays.
  link.target = "_blank";
  link.rel = "noopener";
  link.download = url.split("/").at(-1);
  link.click();
}

// Saves the pictures { url, path } in an archive with this name; `path` is the picture's in the archive. Returns a sentence
// that says how many were saved. Browsers let a page read the pictures of its own server only: of the others the archive has
// the addresses. Throws a Problem, and saves nothing, if a picture can't be read.
export async function saveArchive(name, pictures) {
  const isOwn = ({ url }) => new URL(url).origin === location.origin;
  const elsewhere = pictures.filter((picture) => !isOwn(picture)).map(({ url }) => url);
  const files = [];
  for (const { url, path } of pictures.filter(isOwn)) files.push({ name: path, bytes: await bytesOf(url) });
  const count = files.length;
  if (elsewhere.length) files.push({ name: "addresses.txt", bytes: new TextEncoder().encode(elsewhere.join("\n")) });
  save(name, zip(files));
  const elsewhereText = elsewhere.length ? say("picturesElsewhere", { count: elsewhere.length }) : "";
  return `${say("picturesSaved", { count })} ${elsewhereText}`.trim();
}

// The path of a product's picture in an archive, from its place in the product: AU-48/01.jpg.
export function pathOf(model, place, url) {
  return `${fileName(model)}/${String(place + 1).padStart(2, "0")}.${url.split(".").at(-1)}`;
}

// A name that is valid on every system.
export function fileName(text) {
  return text.replace(/[\p{Cc}\\/:*?"<>|]/gu, "_").replace(/^[. ]+|[. ]+$/g, "_");
}

async function bytesOf(url) {
  const response = await fetch(url).catch(() => {
    throw new Problem(0);
  });
  if (!response.ok) throw new Problem(response.status);
  return new Uint8Array(await response.arrayBuffer());
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The ways in which files come to a page: chosen, from the camera, pasted, and dropped, also as a picture of another page.

import { encode } from "./shrink.js";
import { MOST_BYTES } from "./preparation.js";

const TYPES = ",image/heic,image/heif,image/avif,.heic,.heif,.avif";

// take(files): gets the files.
// taken({ file, converted }): gets a picture that was copied from another page, before take().
// refused(): the browser may not read the picture of the other page.
export function takeFiles({ zone, input, camera, take, taken, refused }) {
  // iOS converts HEIC pictures itself if a page does not ask for HEIC, and does it better.
  if (!CSS.supports("-webkit-touch-callout", "none")) input.accept += TYPES;
  camera.parentElement.hidden = false; // the style shows it on devices with a touch screen only
  for (const each of [input, camera]) {
    each.addEventListener("change", () => {
      take([...each.files]);
      each.value = "";
    });
  }
  addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length && !document.querySelector("dialog[open]")) take([...clipboardData.files]);
  });
  onDrop(zone, async (data) => {
    const files = [...data.files];
    const address = files.length ? null : addressIn(data);
    if (files.length) return take(files);
    const made = address && (await copyPicture(address));
    if (!made) return refused();
    if (made.converted) taken(made);
    take([made.file]);
  });
}

// Handles drops on the whole page: by default, a file dropped outside the zone would replace the page.
function onDrop(zone, drop) {
  let own = false; // a picture of this page is dragged
  document.addEventListener("dragstart", () => (own = true), true);
  document.addEventListener("dragend", () => (own = false), true);
  const isTaken = ({ dataTransfer, target }) => {
    const types = dataTransfer?.types ?? [];
    if (own || document.querySelector("dialog[open]")) return false;
    // Text and links that are dropped on a text field belong there.
    return types.includes("Files") || (types.includes("text/uri-list") && !target.closest?.("input, textarea"));
  };
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      if (!isTaken(event)) return;
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => event.relatedTarget === null && zone.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (!isTaken(event)) return;
    event.preventDefault();
    zone.classList.remove("over");
    drop(event.dataTransfer);
  });
}

// The address of a picture that was dragged from another page. Around a picture there may be a link, whose address is
// another one: the HTML has that of the picture.
function addressIn(data) {
  const html = new DOMParser().parseFromString(data.getData("text/html"), "text/html");
  const source = html.querySelector("img[src]")?.getAttribute("src");
  return source ?? data.getData("text/uri-list").split(/\r?\n/).find((line) => line && !line.startsWith("#"));
}

// Resolves to { file, converted } or to null. The page's policy forbids scripts to connect to other servers, and stays as
// it is: the browser loads the picture as an image that the other server lets everyone read (CORS), and draws it.
async function copyPicture(address) {
  const url = URL.canParse(address, document.baseURI) ? new URL(address, document.baseURI) : null;
  if (!url || !["https:", "data:", location.protocol].includes(url.protocol)) return null;
  const name = url.protocol === "data:" ? "" : decodeURIComponent(url.pathname.split("/").at(-1));
  if (url.origin === location.origin) return own(url, name);
  const image = new Image();
  image.crossOrigin = "anonymous";
  image.src = url.href;
  try {
    await image.decode();
    const type = /\.jpe?g$/i.test(name) ? "image/jpeg" : null;
    return await encode(await createImageBitmap(image), { name: name || "picture" }, type, MOST_BYTES);
  } catch {
    return null;
  }
}

// A picture of this server, as it is.
async function own(url, name) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) return null;
  return { file: new File([await response.blob()], name), converted: null };
}

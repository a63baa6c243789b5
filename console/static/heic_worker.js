// A worker that decodes HEIC pictures with libheif, which is WebAssembly. It gets a File, and answers with an ImageBitmap
// or null. Its answers of the server have a policy of their own that allows WebAssembly (console/rendering.py).

const FOLDER = "/console/static/vendor/libheif";
const MOST_PIXELS = 100_000_000;

let library = null;
console.log = () => {}; // libheif writes there why it can't decode a file, which the page says in its own words

self.onmessage = async ({ data: file }) => {
  const picture = await decode(file).catch(() => null);
  postMessage(picture, picture ? [picture] : []);
};

async function decode(file) {
  library ??= load();
  const { HeifDecoder } = await library;
  const bytes = await file.arrayBuffer();
  const pictures = new HeifDecoder().decode(new Uint8Array(bytes));
  const picture = pictures.find((each) => each.is_primary()) ?? pictures[0];
  // libheif applies the orientation of the container, which is the one that counts in HEIC.
  const [width, height] = [picture.get_width(), picture.get_height()];
  if (width * height > MOST_PIXELS) return null;
  const image = new ImageData(width, height, { colorSpace: colorSpaceOf(bytes) });
  const shown = await new Promise((done) => picture.display(image, done));
  for (const each of pictures) each.free();
  return shown && createImageBitmap(image);
}

async function load() {
  importScripts(`${FOLDER}/libheif.js`);
  const response = await fetch(`${FOLDER}/libheif.wasm`);
  if (!response.ok) throw new Error(String(response.status));
  return self.libheif({ wasmBinary: await response.arrayBuffer() });
}

// The colour space of the samples, by the first `colr` box (ISO/IEC 14496-12 section 12.1.5): phones write Display P3, as
// colour primaries 12 (ITU-T H.273) or as an ICC profile of this name. Everything else is taken to be sRGB.
function colorSpaceOf(bytes) {
  const head = new Uint8Array(bytes, 0, Math.min(bytes.byteLength, 65_536));
  const text = Array.from(head, (byte) => String.fromCharCode(byte)).join("");
  const start = text.indexOf("colr");
  if (start < 4) return "srgb";
  const box = text.slice(start + 4, start - 4 + new DataView(bytes).getUint32(start - 4));
  const primaries = box.startsWith("nclx") ? 256 * box.charCodeAt(4) + box.charCodeAt(5) : 0;
  const profile = /^(prof|rICC)/.test(box) ? box.replaceAll("\0", "") : ""; // the name can be in UTF-16
  return primaries === 12 || profile.includes("Display P3") ? "display-p3" : "srgb";
}

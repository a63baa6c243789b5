// Decodes HEIC pictures: with the browser's own decoder if it has one (Safari), else with libheif in a worker, which
// loads the decoder (1.5 MB) when the first picture needs it.

const WORKER = "/console/static/heic_worker.js";
const IDLE_MS = 30_000;

let worker = null;
let idle = 0;

// Whether the browser could run the decoder.
export function canDecodeHeic() {
  return typeof WebAssembly === "object" && typeof Worker === "function";
}

// Resolves to an ImageBitmap, upright, or to null if the file can't be decoded. One call at a time.
export async function decodeHeic(file) {
  const own = await createImageBitmap(file).catch(() => null);
  if (own || !canDecodeHeic()) return own;
  clearTimeout(idle);
  worker ??= new Worker(WORKER);
  const picture = await ask(worker, file);
  if (picture) idle = setTimeout(end, IDLE_MS);
  else end(); // after a failure its memory is not to be trusted
  return picture;
}

function ask(running, file) {
  return new Promise((resolve) => {
    running.onmessage = ({ data }) => resolve(data);
    running.onerror = (event) => {
      event.preventDefault();
      resolve(null);
    };
    running.postMessage(file);
  });
}

// Gives the memory of the decoder back, which only grows.
function end() {
  worker?.terminate();
  worker = null;
}

// The sources of an <img> element: the sizes of a picture, so that the browser loads no more than it shows.

const FALLBACK_WIDTH = 320;
const RETRY_MS = 3000;

// Shows a picture small. `sizes` is the attribute of the element, which the template sets.
export function showSmall(element, image) {
  const sizes = image.sizes ?? [];
  const fallback = sizes.find(({ width }) => width >= FALLBACK_WIDTH) ?? sizes.at(-1);
  show(element, image, sizes, (fallback ?? image).url);
}

// Shows a picture as large as its box, at most in its own size.
export function showLarge(element, image) {
  const sizes = image.sizes ?? [];
  const all = sizes.length ? [...sizes, { url: image.url, width: image.width }] : [];
  show(element, image, all, image.url);
}

function show(element, image, sources, fallback) {
  const srcset = sources.map(({ url, width }) => `${url} ${width}w`).join(", ");
  if (element.getAttribute("src") === fallback && (element.getAttribute("srcset") ?? "") === srcset) return;
  if (image.width) [element.width, element.height] = [image.width, image.height];
  else for (const name of ["width", "height"]) element.removeAttribute(name);
  delete element.dataset.failures;
  element.srcset = srcset;
  element.src = fallback;
}

// A size that the server can't make at the moment is requested once more, then the original is shown.
// `original(element)` is the URL of the original.
export function recoverSizes(original) {
  const recover = ({ target }) => {
    if (!(target instanceof HTMLImageElement) || !target.srcset) return;
    const failures = Number(target.dataset.failures ?? 0) + 1;
    target.dataset.failures = failures;
    const { srcset } = target;
    setTimeout(() => {
      if (!target.isConnected || target.srcset !== srcset) return;
      if (failures === 1) {
        target.srcset = srcset;
      } else if (original(target)) {
        target.removeAttribute("srcset");
        target.src = original(target);
      }
    }, RETRY_MS);
  };
  document.addEventListener("error", recover, true); // the event does not bubble
}

// Small pictures of files that wait to be uploaded. A row gets its own when it is in view, one after the other, because
// a picture is decoded whole for it.

const SIDE = 96; // pixels of the canvas; the style shows it half as large
const files = new WeakMap(); // place → File
let last = Promise.resolve();

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    last = last.then(() => draw(target)).catch(() => {});
  }
});

// Replaces what the element holds by the picture of the file, if the browser can decode it.
export function showThumbnail(place, file) {
  files.set(place, file);
  seen.observe(place);
}

async function draw(place) {
  if (!place.isConnected) return;
  const picture = await createImageBitmap(files.get(place));
  const scale = Math.max(SIDE / picture.width, SIDE / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  picture.close();
  place.replaceChildren(canvas);
}

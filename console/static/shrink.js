// Makes a picture that the server takes of one that it would refuse, in the browser.

const SIDES = [4096, 3072, 2048, 1536, 1024];
const QUALITY = 0.9;
const SAMPLE = 256;

// Resolves to { file, converted }: a file of at most `most` bytes, and its { width, height, type }. Resolves to null if the
// browser can't make one. A JPEG stays a JPEG; others become a JPEG too, unless they have transparency: then a WebP, or a
// PNG in browsers that encode no WebP.
//
// picture: an ImageBitmap, upright. It is closed.
export async function encode(picture, file, type, most) {
  try {
    const wanted = type !== "image/jpeg" && isTransparent(picture) ? "image/webp" : "image/jpeg";
    for (const side of SIDES) {
      const canvas = draw(picture, Math.min(1, side / Math.max(picture.width, picture.height)));
      const blob = canvas && (await new Promise((done) => canvas.toBlob(done, wanted, QUALITY)));
      if (!blob) return null;
      if (blob.size > most) continue;
      const converted = { width: canvas.width, height: canvas.height, type: blob.type };
      return { file: new File([blob], file.name, { type: blob.type }), converted };
    }
    return null;
  } finally {
    picture.close();
  }
}

function draw(picture, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  if (!context) return null;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Looks at a small copy, in which a pixel is the mean of those that it stands for.
function isTransparent(picture) {
  const canvas = draw(picture, Math.min(1, SAMPLE / Math.max(picture.width, picture.height)));
  const pixels = canvas?.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data ?? [];
  for (let place = 3; place < pixels.length; place += 4) if (pixels[place] < 255) return true;
  return false;
}

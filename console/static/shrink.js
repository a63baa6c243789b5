// Makes a picture that is too large for the server smaller, in the browser.

const SIDES = [4096, 3072, 2048, 1536, 1024];
const QUALITY = 0.9;

// Resolves to a file of at most `most` bytes, with its size in pixels, or to null if the browser can't make one.
// The orientation is applied. A JPEG stays a JPEG; other types become WebP, which keeps transparency.
export async function shrink(file, type, most) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return null;
  try {
    for (const side of SIDES) {
      const scale = Math.min(1, side / Math.max(picture.width, picture.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      const context = canvas.getContext("2d");
      if (!context) return null;
      context.imageSmoothingQuality = "high";
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      const wanted = type === "image/jpeg" ? type : "image/webp";
      const blob = await new Promise((done) => canvas.toBlob(done, wanted, QUALITY));
      if (blob && blob.size <= most) {
        const small = new File([blob], file.name, { type: blob.type });
        return { file: small, width: canvas.width, height: canvas.height };
      }
    }
    return null;
  } finally {
    picture.close();
  }
}

// What a file is, by its first bytes.

const HEAD = 16;

// Resolves to `{ type }`, the media type of a picture that the server takes, or to `{ problem }`, the key of the
// sentence that says what to do instead.
export async function recognize(file) {
  const bytes = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  if (!text) return { problem: "empty" };
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return { type: "image/png" };
  if (text.startsWith("\xff\xd8")) return { type: "image/jpeg" };
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return { type: "image/webp" };
  if (text.slice(4, 8) === "ftyp") {
    const brand = text.slice(8, 12);
    if (brand.startsWith("avi")) return { problem: "avif" };
    if (/^(hei|hev|mif|msf)/.test(brand)) return { problem: "heic" };
  }
  return { problem: text.startsWith("GIF8") ? "gif" : "notAPicture" };
}

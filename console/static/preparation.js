// What happens to a file before it is sent: its bytes are looked at, and on request it is made smaller or converted.

import { Problem } from "./api.js";
import { recognize } from "./file_types.js";
import { canDecodeHeic, decodeHeic } from "./heic.js";
import { encode } from "./shrink.js";

export const MOST_BYTES = 5 * 1024 * 1024;

// Resolves to { file }, with the type that its bytes have, whatever its name says. Throws a Problem if the server would
// refuse it. Its `offer` says what fit() can do about it: "shrink", "convert", or null.
export async function inspect(file) {
  const { type, problem } = await recognize(file).catch(() => ({ problem: "unreadable" }));
  const converts = problem === "avif" || (problem === "heic" && canDecodeHeic());
  if (problem) throw refusal(415, problem, converts ? "convert" : null);
  if (file.size > MOST_BYTES) throw refusal(413, "tooBig", "shrink");
  return { file: new File([file], file.name, { type, lastModified: file.lastModified }) };
}

// Resolves to { file, converted: { width, height, type, from } }: a picture that the server takes, upright. Throws a Problem
// without an offer if the browser can't make one.
export async function fit(file) {
  const { type, problem } = await recognize(file);
  const picture = problem === "heic" ? await decodeHeic(file) : await createImageBitmap(file).catch(() => null);
  const made = picture && (await encode(picture, file, type, MOST_BYTES));
  if (!made) throw problem ? refusal(415, problem) : refusal(413, "tooBig");
  return { file: made.file, converted: { ...made.converted, from: type ?? problem } };
}

// With an offer, another sentence says so.
function refusal(status, why, offer = null) {
  return Object.assign(new Problem(status), { key: `problem.${why}${offer ? "Offer" : ""}`, offer });
}

// What is known of a picture, in words.

import { say } from "./api.js";

// The browser's regional variant of the page's language, for dates and numbers.
export const language = navigator.languages.find((each) => each.startsWith(document.documentElement.lang));

export function facts({ size, width, height, contentType, createdAt, metadataRemoved, digitalSourceType }) {
  if (!createdAt) return { elsewhere: "" };
  return {
    size: readable(size),
    dimensions: `${width} × ${height}`,
    type: contentType.replace("image/", "").toUpperCase().replace("WEBP", "WebP"),
    date: new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(new Date(createdAt)),
    removed: removed(metadataRemoved ?? []),
    made: digitalSourceType ? made(digitalSourceType) : undefined,
  };
}

// How a picture was made: a term of IPTC's vocabulary in words, or the term itself.
export function made(term) {
  return say(`made.${term}`) ?? term;
}

// That something was removed from the file. The location is named, because it says most about a person.
export function removedInShort({ metadataRemoved }) {
  if (!metadataRemoved?.length) return undefined;
  return say(metadataRemoved.includes("gps") ? "removedLocation" : "removedOthers");
}

// The location comes first, because it says most about a person. A kind may have the same words as another one.
function removed(kinds) {
  const words = kinds.toSorted((a, b) => (b === "gps") - (a === "gps")).map((kind) => say(`removed.${kind}`) ?? kind);
  return words.length ? new Intl.ListFormat(language).format(new Set(words)) : undefined;
}

function readable(bytes) {
  const [value, unit] =
    bytes < 1000 ? [bytes, "byte"] : bytes < 1e6 ? [bytes / 1e3, "kilobyte"] : [bytes / 1e6, "megabyte"];
  const options = { style: "unit", unit, unitDisplay: unit === "byte" ? "long" : "short" };
  return new Intl.NumberFormat(language, { ...options, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

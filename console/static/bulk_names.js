// Which product a file shows, by its name: the rules of moving/names.py and moving/folder.py, in the browser.
// tests/moving/name_cases.json holds both to the same answers.

const PICTURES = new Set(["jpg", "jpeg", "jpe", "jfif", "png", "webp"]);
// Pictures that the server does not take. They are refused with a reason, and not left out.
const OTHER_PICTURES = new Set(
  "gif bmp tif tiff svg avif heic heif jxl psd eps raw dng cr2 cr3 nef arw ico jp2 tga".split(" "),
);
// Files that operating systems and programs leave in every folder.
const CLUTTER = new Set(["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"]);
// Words at the end of a name that say what a picture shows, in English and Italian.
const VIEWS = new Set(
  `back bottom box bw closeup cover detail details front inside label left main open outside pack package
  packaging packshot perspective rear right scene side small large top view white zoom
  alto ambientata aperto basso confezione davanti destra dettaglio dettagli dietro etichetta fronte frontale
  interno esterno lato laterale particolare principale retro scatola sinistra sopra sotto`.split(/\s+/),
);
// Words with which cameras and programs begin the names of files.
const OF_CAMERAS = new Set("img dsc dscf dscn pxl photo foto image immagine picture scan".split(" "));

const SEPARATOR = /[ _-]+/g;
// `_2`, `_02` or ` (2)` at the end of a name.
const NUMBER = /^(?<model>[^\n]*[^ _-])(?:_[0-9]{1,3}| ?\([0-9]{1,3}\))$/u;
const VIEW = /^(?<model>[^\n]*[^ _-])[ _-]+(?<view>\p{L}+)[ _-]?[0-9]{0,3}$/u;

// The text for comparisons without regard to case, as Python's str.casefold() gives it. Each letter is folded by
// itself: the lower case of Σ depends on its place in the word. The dotless ı has a capital that it does not share.
export function fold(text) {
  return Array.from(text, (char) => (char === "ı" ? char : char.toUpperCase().toLowerCase())).join("");
}

// Whether a file or folder is hidden, or one that a system leaves.
export function isClutter(name) {
  return name.startsWith(".") || CLUTTER.has(fold(name));
}

export function isPicture(path) {
  const { extension } = partsOf(path);
  return PICTURES.has(extension) || OTHER_PICTURES.has(extension);
}

// Compares names as people count: `a2` comes before `a10`, without regard to case.
export function byName(one, other) {
  return compare(sortKey(one), sortKey(other)) || compareTexts(one, other);
}

// Compares paths in natural order, in which `A100` comes before `A100-back`.
export function byPath(one, other) {
  const [a, b] = [one, other].map((path) => [...partsOf(path).folders, partsOf(path).stem]);
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const order = byName(a[index], b[index]);
    if (order) return order;
  }
  return a.length - b.length || compareTexts(one, other);
}

// The paths relative to the folder that was chosen, if it was one, as `import folder` takes it. A folder keeps its name
// if it is the model of a product, or if its files have no names of their own: in `A300/front.jpg` it is the model.
export function belowRoot(paths, isKnown) {
  const folders = paths.map((path) => partsOf(path).folders);
  const root = folders[0]?.[0];
  if (root === undefined || folders.some(([first]) => first !== root) || isKnown(root)) return paths;
  const flat = folders.every(({ length }) => length === 1);
  if (flat && paths.every((path) => saysNothing(partsOf(path).stem))) return paths;
  return paths.map((path) => path.slice(path.indexOf("/") + 1));
}

// Every model that the rules ask for, so that all can be looked up beforehand.
export function candidatesOf(paths) {
  const found = new Set();
  for (const path of paths) {
    const { folders, stem } = partsOf(path);
    for (const model of [...folders, stem, ...prefixesOf(stem)]) if (model) found.add(model);
  }
  return [...found];
}

// The model of each path, or null for a file in a folder inside a folder, neither of which is named for a product.
export function modelsOf(paths, isKnown) {
  const stems = new Map(); // folder → the names of its files
  for (const path of paths) {
    const { folder, stem } = partsOf(path);
    stems.set(folder, (stems.get(folder) ?? new Set()).add(stem));
  }
  return new Map(paths.map((path) => [path, modelOfPath(path, stems.get(partsOf(path).folder), isKnown)]));
}

// The new models that differ in case only from another, and that other.
export function otherSpellings(models, isKnown) {
  const first = new Map();
  const found = new Map();
  const inOrder = [...new Set(models)].toSorted((a, b) => isKnown(b) - isKnown(a) || byName(a, b));
  for (const model of inOrder) {
    const folded = fold(model);
    const other = first.get(folded) ?? model;
    first.set(folded, other);
    if (other !== model && !isKnown(model)) found.set(model, other);
  }
  return found;
}

// The folders of a path, and its name without the extension. macOS decomposes names, so they are composed (NFC).
function partsOf(path) {
  const parts = path.split("/");
  const name = parts.pop();
  const dot = name.lastIndexOf(".");
  const hasExtension = dot > 0 && dot < name.length - 1;
  return {
    folder: parts.join("/"),
    folders: parts.map((part) => part.normalize("NFC").trim()),
    stem: (hasExtension ? name.slice(0, dot) : name).normalize("NFC").trim(),
    extension: hasExtension ? name.slice(dot + 1).toLowerCase() : "",
  };
}

function modelOfPath(path, stems, isKnown) {
  const { folders, stem } = partsOf(path);
  const around = folders.toReversed();
  const known = around.find(isKnown);
  if (known !== undefined) return known;
  const own = modelOf(stem, stems, isKnown);
  if (!around.length || isKnown(own)) return own;
  return around.length === 1 ? around[0] : null;
}

// These are tried in turn: the whole name, then its longest part before a separator, that is the model of a known
// product; the longest part that is the name of another file; the name without a number or a view at its end.
function modelOf(stem, stems, isKnown) {
  const prefixes = prefixesOf(stem);
  const known = [stem, ...prefixes].find(isKnown);
  if (known !== undefined) return known;
  const other = prefixes.find((prefix) => stems.has(prefix));
  return other === undefined ? withoutSuffix(stem) : modelOf(other, stems, isKnown);
}

function prefixesOf(stem) {
  return [...stem.matchAll(SEPARATOR)].map(({ index }) => stem.slice(0, index)).filter(Boolean).toReversed();
}

function withoutSuffix(stem) {
  const number = NUMBER.exec(stem);
  if (number) return number.groups.model;
  const view = VIEW.exec(stem);
  return view && VIEWS.has(fold(view.groups.view)) ? view.groups.model : stem;
}

function saysNothing(stem) {
  const words = fold(stem).split(/[ _()-]+/);
  return words.every((word) => /^[0-9]*$/.test(word) || VIEWS.has(word) || OF_CAMERAS.has(word.replace(/[0-9]+$/, "")));
}

// The parts of a name in turn: texts, and runs of digits as numbers.
function sortKey(name) {
  return fold(name).split(/([0-9]+)/).map((part, index) => (index % 2 ? BigInt(part) : part)).filter((part) => part !== "");
}

function compare(one, other) {
  for (let index = 0; index < Math.min(one.length, other.length); index += 1) {
    const [a, b] = [one[index], other[index]];
    if (typeof a !== typeof b) return typeof a === "bigint" ? 1 : -1; // a text comes before a number
    if (a !== b) return a < b ? -1 : 1;
  }
  return one.length - other.length;
}

function compareTexts(one, other) {
  return one === other ? 0 : one < other ? -1 : 1;
}

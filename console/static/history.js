// The history of a product and of each of its pictures: the last changes, loaded when they are shown.

import { Problem, call, say } from "./api.js";
import { language } from "./facts.js";

const DAY_MS = 86_400_000;
const UNITS = [
  ["hour", 3_600_000],
  ["minute", 60_000],
];

// Returns a function that loads the history again if the panel is open and the product has changed since.
export function makeHistory(panel, productId) {
  const [list, note] = [panel.querySelector("ol"), panel.querySelector(".history-note")];
  let [wanted, shown] = [null, null]; // the time of the product's last change

  async function load() {
    const version = wanted;
    shown = version;
    panel.setAttribute("aria-busy", "true");
    try {
      const items = await changesOf(productId);
      list.replaceChildren(...items.map(entry));
      note.textContent = items.length ? "" : say("history.none");
    } catch (problem) {
      shown = null; // the next opening tries again
      note.textContent = (problem instanceof Problem ? problem : new Problem(0)).sentence;
    }
    panel.removeAttribute("aria-busy");
    if (wanted !== version && panel.open && shown !== null) await load();
  }

  panel.hidden = false;
  panel.addEventListener("toggle", () => panel.open && load());
  return (updatedAt) => {
    wanted = updatedAt;
    if (panel.open && wanted !== shown && !panel.hasAttribute("aria-busy")) load();
  };
}

async function changesOf(productId) {
  const response = await call("GET", `/products/${productId}/history`);
  return (await response.json()).data.items;
}

// Shows what the history says of one picture in a list. An element around it is hidden if there is nothing.
export class PictureHistory {
  #productId;
  #version = null;
  #changes = null; // a promise of the changes of #version

  constructor(productId) {
    this.#productId = productId;
  }

  // The time of the product's last change: an earlier answer is out of date.
  set version(updatedAt) {
    if (updatedAt !== this.#version) this.#changes = null;
    this.#version = updatedAt;
  }

  async show(image, list) {
    list.replaceChildren();
    list.parentElement.parentElement.hidden = true;
    list.dataset.url = image.url;
    this.#changes ??= changesOf(this.#productId);
    const changes = await this.#changes.catch(() => []); // the rest of the view does not need it
    if (list.dataset.url !== image.url) return; // another picture is shown by now
    const rows = changes.map((change) => lineOf(change, image)).filter(Boolean);
    list.replaceChildren(...rows);
    list.parentElement.parentElement.hidden = !rows.length;
  }
}

function lineOf({ at, images, actor }, { url }) {
  const found = images.find((image) => image.url === url || (image.imageId && url.includes(`/${image.imageId}.`)));
  if (!found) return null;
  const line = document.createElement("li");
  line.append(`${say(`history.${found.change}`)} `, who(actor), " · ", time(at));
  return line;
}

function entry({ at, action, fields, images, actor, requestId }) {
  const item = document.createElement("li");
  const what = document.createElement("p");
  what.textContent = sentences(action, fields, images).join(" ");
  const details = document.createElement("p");
  details.className = "note";
  details.append(who(actor), " · ", time(at));
  if (requestId) {
    const code = document.createElement("code");
    code.textContent = requestId;
    details.append(" · ", say("history.request"), " ", code);
  }
  item.append(what, details);
  return item;
}

// What has changed. Words for several fields follow one another.
function sentences(action, fields, images) {
  if (["created", "archived", "restored"].includes(action)) return [say(`history.${action}`)];
  const named = fields.map((field) => say(`history.field.${field}`)).filter(Boolean);
  const found = named.length ? [say("history.fields", { fields: new Intl.ListFormat(language).format(named) })] : [];
  for (const change of ["added", "removed", "described"]) {
    const count = images.filter((image) => image.change === change).length;
    if (count) found.push(say(count === 1 ? `history.${change}` : `history.${change}Several`, { count }));
  }
  if (action === "images.reordered") found.push(say("history.reordered"));
  return found.length ? found : [say("history.details")];
}

function who({ kind, name, email, userId }) {
  const user = email ?? (userId ? say("history.someone") : "");
  if (kind === "app") return name ? say("history.app", { app: name, user }) : user;
  if (kind === "apiKey") return name ? say("history.key", { name }) : say("history.aKey");
  if (kind === "command") return name ? say("history.command", { name }) : say("history.aCommand");
  return user;
}

// "3 minutes ago" for a change of the last day, otherwise the date and the time, which are its title in any case.
export function time(at) {
  const element = document.createElement("time");
  const moment = new Date(at);
  const exact = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(moment);
  const ago = Date.now() - moment.getTime();
  const [unit, milliseconds] = UNITS.find(([, length]) => ago >= length) ?? ["second", 1000];
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  element.dateTime = at;
  element.title = exact;
  element.textContent = ago >= DAY_MS ? exact : relative.format(-Math.max(0, Math.floor(ago / milliseconds)), unit);
  return element;
}

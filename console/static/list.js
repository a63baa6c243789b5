// The list of products: shows it anew while the user types or chooses, and keeps its state in the address.

import { recoverSizes } from "./sources.js";

const DELAY_MS = 250;
const PATH = "/console";

const form = document.querySelector("form.search");
const byId = (id) => document.getElementById(id);
let timer = 0;
let running = null;

// Texts that the user types one after the other are one step back; each choice is its own.
let typing = false;

for (const button of form.querySelectorAll("button")) button.hidden = true;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
form.addEventListener("input", ({ target }) => {
  clearTimeout(timer);
  timer = setTimeout(search, target.type === "search" ? DELAY_MS : 0, target.type === "search");
});
addEventListener("popstate", () => {
  typing = false;
  show(location.pathname + location.search).then(fillForm);
});
recoverSizes(() => "");

function search(typed = false) {
  clearTimeout(timer);
  const filled = [...new FormData(form)].filter(([, value]) => value.trim());
  const address = `${PATH}${filled.length ? `?${new URLSearchParams(filled)}` : ""}`;
  if (address === location.pathname + location.search) return;
  history[typing && typed ? "replaceState" : "pushState"](null, "", address);
  typing = typed;
  show(address);
}

// Loads a state of the list into the page; returns the loaded page, or null if a later call took over.
// Listeners of the event "shown" of the document adapt to it.
async function show(address) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  try {
    const response = await fetch(address, { signal: mine.signal });
    const url = new URL(response.url);
    if (!response.ok || url.pathname !== PATH) throw new Error(response.status);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (running !== mine) return null;
    for (const id of ["results", "found"]) byId(id).replaceWith(page.getElementById(id));
    // The server leads from a page that is not there any more to the last one.
    if (response.redirected) history.replaceState(null, "", url.pathname + url.search);
    announce(byId("found").textContent);
    document.dispatchEvent(new Event("shown"));
    return page;
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
    return null;
  }
}

export function reload() {
  return show(location.pathname + location.search);
}

export function announce(text) {
  byId("found-live").textContent = text;
}

// The controls of the form as they belong to the loaded page.
function fillForm(page) {
  for (const field of page?.querySelectorAll("form.search [name]") ?? []) form.elements[field.name].value = field.value;
}

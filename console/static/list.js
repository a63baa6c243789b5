// The list of products: shows the hits while the user types or changes a filter, and keeps the address current.

const DELAY_MS = 250;

const form = document.querySelector("form.search");
let timer = 0;
let running = null;

for (const button of form.querySelectorAll("button")) button.hidden = true;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
form.addEventListener("input", ({ target }) => {
  clearTimeout(timer);
  timer = setTimeout(search, target.type === "search" ? DELAY_MS : 0);
});
addEventListener("popstate", () => location.reload());

async function search() {
  clearTimeout(timer);
  running?.abort();
  running = new AbortController();
  const filled = [...new FormData(form)].filter(([, value]) => value.trim());
  const address = `/console${filled.length ? `?${new URLSearchParams(filled)}` : ""}`;
  try {
    const response = await fetch(address, { signal: running.signal });
    if (!response.ok || response.redirected) return location.assign(address);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const id of ["results", "found"]) document.getElementById(id).replaceWith(page.getElementById(id));
    history.replaceState(null, "", address);
    document.getElementById("found-live").textContent = document.getElementById("found").textContent;
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
  }
}

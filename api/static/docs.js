// Starts Swagger UI, lets it follow the chosen theme or the colour scheme of the browser, and corrects its markup for assistive
// technology: it puts links into buttons, starts its headings at the third level and leaves fields unnamed.

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function followColourScheme() {
  const { classList, dataset } = document.documentElement;
  classList.toggle("dark-mode", dataset.theme ? dataset.theme === "dark" : dark.matches);
}

function set(element, name, value) {
  // Only a change is written, since each one calls the observer again.
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function fieldName(field) {
  if (field.id === "servers") return "Server";
  if (field.classList.contains("examples-select-element")) return "Example";
  const parameter = field.closest("[data-param-name]");
  return parameter ? parameter.dataset.paramName : "Media type";
}

function correct(root) {
  // A click anywhere on the button opens the call, and the address of the page follows.
  for (const link of root.querySelectorAll("button a[href]")) link.removeAttribute("href");
  for (const heading of root.querySelectorAll("h3.opblock-tag, .models > h4")) set(heading, "aria-level", "2");
  for (const heading of root.querySelectorAll(".opblock h4")) set(heading, "aria-level", "3");
  for (const heading of root.querySelectorAll(".opblock h5")) set(heading, "aria-level", "4");
  for (const field of root.querySelectorAll("select, input, textarea")) {
    // The label around the list of servers holds no text but that of the list.
    if (field.id === "servers" || !field.labels?.length) {
      set(field, "aria-label", fieldName(field));
    }
  }
  for (const region of root.querySelectorAll("table[role=region]")) {
    set(region, "aria-label", region.id.replaceAll("_", " "));
  }
  for (const code of root.querySelectorAll("pre")) set(code, "tabindex", "0");
}

const page = document.getElementById("page");
new MutationObserver(() => correct(page)).observe(page, {
  attributes: true,
  attributeFilter: ["href"],
  childList: true,
  subtree: true,
});
dark.addEventListener("change", followColourScheme);
followColourScheme();
window.SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});

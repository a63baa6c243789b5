// Closes the menu of the header at a click beside it, at Escape, and when the focus leaves it. Changes the theme without
// loading the page again, so that nothing on it is lost.

const menu = document.querySelector("details.menu");

const html = document.documentElement;

function show(theme) {
  if (theme) html.dataset.theme = theme;
  else delete html.dataset.theme;
  document.querySelector("meta[name=color-scheme]").content = theme || "light dark";
  for (const button of menu.querySelectorAll("button[name=theme]")) {
    button.ariaPressed = String(button.value === theme);
  }
}

async function choose(form, button) {
  const before = html.dataset.theme ?? "";
  show(button.value);
  const body = new FormData(form, button);
  // The answer redirects to this page, which need not be loaded.
  const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => null);
  if (answer?.type !== "opaqueredirect") show(before);
}

function close() {
  menu.open = false;
}

if (menu) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) close();
  });
  menu.addEventListener("submit", (event) => {
    if (event.submitter?.name !== "theme") return;
    event.preventDefault();
    choose(event.target, event.submitter);
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    close();
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) close();
  });
}

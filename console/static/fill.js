// The choice between whole pictures and pictures that fill their squares. The browser remembers it.

const KEY = "vetrina.fill";

export function makeFillToggle(button, gallery) {
  const show = (filled) => {
    gallery.classList.toggle("filled", filled);
    button.setAttribute("aria-pressed", String(filled));
  };
  button.addEventListener("click", () => {
    const filled = button.getAttribute("aria-pressed") !== "true";
    show(filled);
    try {
      localStorage.setItem(KEY, filled ? "1" : "");
    } catch {
      // The browser allows no storage: the choice lasts as long as the page.
    }
  });
  show(remembered());
  button.hidden = false;
}

function remembered() {
  try {
    return localStorage.getItem(KEY) === "1";
  } catch {
    return false;
  }
}

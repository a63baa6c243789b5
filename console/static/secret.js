// The copy button beside a secret that is shown once.

import { copy } from "./copy.js";

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copy(field.value)) {
      button.textContent = button.dataset.done;
      document.querySelector("[data-copied]").textContent = button.dataset.done;
    } else {
      field.select();
    }
  });
  field.addEventListener("focus", () => field.select());
}

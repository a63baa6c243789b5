// Creates a product through the API.

import { Problem, call } from "./api.js";

const dialog = document.getElementById("product-dialog");
const form = document.getElementById("product-form");
const problem = form.querySelector(".problem");
const opener = document.getElementById("new-product");

opener.hidden = false;
opener.addEventListener("click", () => {
  problem.hidden = true;
  dialog.showModal();
});
form.querySelector("[data-close]").addEventListener("click", () => dialog.close());

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  problem.hidden = true;
  try {
    const response = await call("POST", "/products", { body: fields() });
    location.assign(`/console/products/${(await response.json())._id}`);
  } catch (error) {
    problem.textContent = (error instanceof Problem ? error : new Problem(0)).sentence;
    problem.hidden = false;
    button.disabled = false;
  }
});

function fields() {
  const { name, model, category } = Object.fromEntries(new FormData(form));
  const sent = { name: name.trim(), model: model.trim(), category };
  if (!sent.name || !sent.model) {
    const incomplete = new Problem(400);
    incomplete.key = "problem.incomplete";
    form.elements[sent.name ? "model" : "name"].focus();
    throw incomplete;
  }
  return sent;
}

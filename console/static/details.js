// The details of a product: shows them, and edits, archives, restores and deletes the product.

import { Problem, say } from "./api.js";

const EDITED = ["name", "model", "category", "description", "defaultFieldValues"];

const byId = (id) => document.getElementById(id);

// Returns a function that shows the details of a product.
export function makeDetails({ pictures, mayWrite, announce, toasts, tell }) {
  const status = byId("product-status");
  const words = { active: status.dataset.active, archived: status.dataset.archived };

  function show(product) {
    document.title = document.title.replace(byId("product-name").textContent, () => product.name);
    byId("product-name").textContent = product.name;
    byId("product").dataset.name = product.name;
    byId("product-model").textContent = product.model;
    byId("product-description").textContent = product.description ?? "";
    byId("product-description").hidden = !product.description;
    status.textContent = words[product.status];
    status.classList.toggle("off", product.status === "archived");
    showFields(product.defaultFieldValues);
    if (!mayWrite) return;
    const option = [...byId("edit-category").options].find(({ value }) => value === product.category);
    byId("product-category").textContent = option?.textContent ?? product.category;
    byId("archive").hidden = product.status === "archived";
    byId("restore").hidden = product.status !== "archived";
  }

  async function change(body, before, message) {
    await pictures.change(body);
    announce(message);
    const undo = () =>
      pictures
        .change(before)
        .then(() => announce(say("changeUndone")))
        .catch(tell);
    toasts.add(message, { undo });
  }

  if (!mayWrite) return show;
  byId("product-actions").hidden = false;
  for (const [id, to, from] of [
    ["archive", "archived", "active"],
    ["restore", "active", "archived"],
  ]) {
    byId(id).addEventListener("click", async () => {
      await change({ status: to }, { status: from }, say(to)).catch(tell);
      (byId(id).hidden ? byId("edit") : byId(id)).focus();
    });
  }
  editProduct(pictures, change);
  deleteProduct(pictures);
  return show;
}

const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function showFields(values) {
  const rows = Object.entries(values).map(([name, value]) => {
    const row = document.createElement("tr");
    const [header, cell] = [document.createElement("th"), document.createElement("td")];
    header.scope = "row";
    header.textContent = name;
    cell.textContent = textOf(value);
    row.append(header, cell);
    return row;
  });
  byId("product-fields").hidden = rows.length === 0;
  byId("product-fields").querySelector("tbody").replaceChildren(...rows);
}

function editProduct(pictures, change) {
  const [form, fields] = [byId("edit-form"), byId("edit-fields")];
  let opened = null; // the product that the form was filled with; others may change it meanwhile

  function addField(key = "", value = "") {
    const row = byId("field-template").content.firstElementChild.cloneNode(true);
    const [name, text] = row.querySelectorAll("input");
    name.value = key;
    text.value = textOf(value);
    row.querySelector("button").addEventListener("click", () => {
      row.remove();
      byId("add-field").focus();
    });
    // A value that is not a text stays what it is, unless the user writes something else.
    row.field = () => [name.value.trim(), typeof value === "string" ? text.value : parsed(text.value)];
    fields.append(row);
    return name;
  }

  byId("add-field").addEventListener("click", () => addField().focus());
  byId("edit").addEventListener("click", () => {
    const { product } = pictures;
    opened = product;
    for (const name of ["name", "model", "category"]) form.elements[name].value = product[name];
    form.elements.description.value = product.description ?? "";
    fields.replaceChildren();
    for (const [key, value] of Object.entries(product.defaultFieldValues)) addField(key, value);
    open(form);
  });
  submitted(form, async () => {
    const before = pictures.product;
    const values = [...fields.children].map((row) => row.field()).filter(([key]) => key);
    const wanted = {
      name: form.elements.name.value.trim(),
      model: form.elements.model.value.trim(),
      category: form.elements.category.value,
      description: form.elements.description.value.trim() || null,
      defaultFieldValues: Object.fromEntries(values),
    };
    if (!wanted.name || !wanted.model) throw Object.assign(new Problem(400), { key: "problem.incomplete" });
    const changed = EDITED.filter((name) => JSON.stringify(wanted[name]) !== JSON.stringify(opened[name]));
    const contested = changed.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(opened[name]));
    const only = (from) => Object.fromEntries(changed.map((name) => [name, from[name]]));
    try {
      if (contested.length) throw new Problem(412);
      if (changed.length) await change(only(wanted), only(before), say("saved"));
    } catch (problem) {
      // The form shows the conflict. If the user saves again, it replaces the values that the product has now.
      opened = { ...opened, ...only(pictures.product) };
      throw problem;
    }
    form.closest("dialog").close();
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function deleteProduct(pictures) {
  const form = byId("delete-form");
  const [name, button] = [form.elements.name, form.querySelector("[type=submit]")];
  name.addEventListener("input", () => (button.disabled = name.value.trim() !== pictures.product.name));
  byId("delete").addEventListener("click", () => {
    form.querySelector(".name").textContent = pictures.product.name;
    name.value = "";
    button.disabled = true;
    open(form);
  });
  submitted(form, async () => {
    if (name.value.trim() !== pictures.product.name) return;
    try {
      await pictures.deleteProduct();
    } catch (problem) {
      // The role allows it, as the button is shown; so it is the plan that does not.
      throw problem.status === 403 ? Object.assign(problem, { key: "problem.planKeeps" }) : problem;
    }
    location.assign(document.querySelector(".breadcrumb a").href);
  });
}

function open(form) {
  form.querySelector(".problem").hidden = true;
  form.closest("dialog").showModal();
}

// Runs `work` when the form is submitted, and shows its problem in the form.
function submitted(form, work) {
  const [problem, button] = [form.querySelector(".problem"), form.querySelector("[type=submit]")];
  form.querySelector("[data-close]").addEventListener("click", () => form.closest("dialog").close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await work();
    } catch (error) {
      problem.textContent = (error instanceof Problem ? error : new Problem(0)).sentence;
      problem.hidden = false;
    }
    button.disabled = false;
  });
}

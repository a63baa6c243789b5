// The products to which pictures go: looked up, searched and made through the public API.

import { call } from "./api.js";
import { fold } from "./bulk_names.js";

// The limits of `GET /api/v1/products?model=…` and of the address of a request.
const MODELS_AT_ONCE = 100;
const LONGEST_QUERY = 3000;
export const LONGEST_MODEL = 100;
const HITS = 8;
const MOST_SIMILAR = 100;

// What is needed of a product: `urls` are those of its pictures, and `hashes` says which of them has which SHA-256.
function productOf(json) {
  const hashes = new Map(json.images.filter(({ sha256 }) => sha256).map(({ sha256, url }) => [sha256, url]));
  const { _id: id, name, model, imageUrls: urls, status } = json;
  return { id, name, model, urls, hashes, archived: status === "archived" };
}

// Resolves to the products of exactly these models, by their models.
export async function productsOf(models) {
  const found = new Map();
  for (const query of queriesOf(models.filter((model) => model && Array.from(model).length <= LONGEST_MODEL))) {
    for (const product of await list(`${query}&limit=${MODELS_AT_ONCE}`)) found.set(product.model, product);
  }
  return found;
}

function queriesOf(models) {
  const queries = [];
  let parameters = [];
  let length = 0;
  for (const model of models) {
    const parameter = `model=${encodeURIComponent(model.toWellFormed())}`;
    if (parameters.length === MODELS_AT_ONCE || length + parameter.length > LONGEST_QUERY) {
      queries.push(parameters.join("&"));
      [parameters, length] = [[], 0];
    }
    parameters.push(parameter);
    length += parameter.length + 1;
  }
  return parameters.length ? [...queries, parameters.join("&")] : queries;
}

export function search(text, most = HITS) {
  return list(`search=${encodeURIComponent(text.toWellFormed().slice(0, 200))}&limit=${most}`);
}

// Resolves to the product whose model differs from this one in case only, or null.
export async function similar(model) {
  const hits = await search(model, MOST_SIMILAR);
  return hits.find((hit) => hit.model !== model && fold(hit.model) === fold(model)) ?? null;
}

async function list(query) {
  const response = await call("GET", `/products?showArchived=true&${query}`);
  return (await response.json()).data.items.map(productOf);
}

// Resolves to the product as it is now, with the tag of this version.
export async function current(id) {
  return versionOf(await call("GET", `/products/${id}`));
}

// Makes a product, or finds the one of this model that someone else has made meanwhile.
export async function make(model, category, key) {
  const options = { body: { name: model, model, category }, headers: { "Idempotency-Key": key } };
  try {
    return await versionOf(await call("POST", "/products", options));
  } catch (problem) {
    const made = problem.status === 409 ? (await productsOf([model])).get(model) : null;
    if (!made) throw problem;
    return current(made.id);
  }
}

// Puts the pictures into this order, if the product is still at the version with this tag.
export async function arrange(product, urls) {
  const options = { body: { imageUrls: urls }, headers: { "If-Match": product.tag } };
  return versionOf(await call("PATCH", `/products/${product.id}`, options));
}

async function versionOf(response) {
  return { ...productOf(await response.json()), tag: response.headers.get("ETag") };
}

// Sends one picture to a product.

import { Problem, problemOf } from "./api.js";

const TIMEOUT_MS = 120_000;

// Resolves to { created, imageUrl, imageUrls }: whether the picture is new to the product, its URL, and the URLs of all
// pictures of the product. Uses XMLHttpRequest, because fetch() does not report the progress of an upload.
//
// progress(percent): of the file; 100 means that the server has it all.
export function postImage(productId, file, secret, { progress, signal }) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("file", file);
  // With ifExists=skip the same picture is not stored twice, so a retry after a lost answer is safe.
  request.open("POST", `/api/v1/products/${productId}/images?ifExists=skip`);
  request.setRequestHeader("Authorization", `Bearer ${secret}`);
  request.timeout = TIMEOUT_MS;
  request.upload.addEventListener("progress", ({ loaded, total }) => progress(Math.floor((100 * loaded) / total)));
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      const { status, responseText } = request;
      if (status !== 200 && status !== 201) {
        return reject(problemOf(status, responseText, request.getResponseHeader("Retry-After")));
      }
      try {
        resolve({ created: status === 201, ...JSON.parse(responseText) });
      } catch {
        reject(new Problem(502)); // something between the browser and the server has answered
      }
    });
    for (const event of ["error", "timeout", "abort"]) {
      request.addEventListener(event, () => reject(new Problem(0)));
    }
    signal.addEventListener("abort", () => request.abort());
    if (signal.aborted) reject(new Problem(0));
    else request.send(form);
  });
}

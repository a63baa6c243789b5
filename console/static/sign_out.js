// Forgets the files that wait in this browser before the user signs out.

import { forgetUploads } from "./upload_store.js";

const PATIENCE_MS = 2_000;

document.addEventListener("submit", async (event) => {
  if (new URL(event.target.action).pathname !== "/console/sign-out") return;
  event.preventDefault();
  await Promise.race([forgetUploads(), new Promise((done) => setTimeout(done, PATIENCE_MS))]);
  event.target.submit();
});

// Opens the dialog of many pictures (bulk.js), by its button or by a drop of files on the page. The rest is loaded then:
// most visits to the list do not need it.

import { filesOfDrop } from "./bulk_files.js";

const opener = document.getElementById("bulk-open");
const dialog = document.getElementById("bulk");
let loading = null;
let bulk = null;

async function load() {
  loading ??= import("./bulk.js").catch((error) => {
    loading = null; // the next attempt loads it again
    throw error;
  });
  bulk = await loading;
  return bulk;
}

opener.hidden = false;
opener.addEventListener("click", async () => (await load()).open());

// A picture of the page that is dragged is none that was dropped.
let dragsOwn = false;
addEventListener("dragstart", () => {
  dragsOwn = true;
});
addEventListener("dragend", () => {
  dragsOwn = false;
});

const hasFiles = ({ dataTransfer }) => !dragsOwn && dataTransfer?.types.includes("Files");
// Before the dialog is loaded, it has no stage.
const takesFiles = () => ["choose", "review", undefined].includes(dialog.dataset.stage) && !otherDialog();
const otherDialog = () => [...document.querySelectorAll("dialog[open]")].some((each) => each !== dialog);

addEventListener("dragover", (event) => {
  if (!hasFiles(event) || !takesFiles()) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.documentElement.classList.add("dropping");
  load().catch(() => {});
});
for (const name of ["dragleave", "drop", "dragend"]) {
  addEventListener(name, ({ relatedTarget }) => {
    if (!relatedTarget) document.documentElement.classList.remove("dropping");
  });
}
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault(); // the browser would open the file in place of the page
  if (!takesFiles()) return;
  const files = filesOfDrop(event.dataTransfer, (count) => bulk?.found(count));
  const { open, take } = await load();
  open();
  take(() => files);
});

// Adds many pictures to many products at once: a folder or files are dropped on the page of products, a table shows which
// file goes to which product, and then they are sent.

import { Problem, say } from "./api.js";
import { Batch } from "./bulk_batch.js";
import { Chooser } from "./bulk_chooser.js";
import { filesOfInput } from "./bulk_files.js";
import { compareAll, inspectAll } from "./bulk_inspection.js";
import { belowRoot, candidatesOf, isPicture } from "./bulk_names.js";
import { current, productsOf, similar } from "./bulk_products.js";
import { Sender } from "./bulk_sender.js";
import { BulkTable, nameOf } from "./bulk_table.js";

const dialog = document.getElementById("bulk");
const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
const chooser = new Chooser(document.getElementById("bulk-chooser"));

let stage = "choose"; // then "reading", "review", "sending" and "result"
let batch;
let table;
let sender = null;
let leftOut = [];
let reading = null; // ends the comparison of files that is under way
let added = false; // whether the list behind the dialog is out of date

start();

function start() {
  batch = new Batch(Number(dialog.dataset.most));
  for (const body of part("table").querySelectorAll("tbody")) body.remove();
  table = new BulkTable(part("table"), batch, act);
  [leftOut, sender] = [[], null];
  part("fits").checked = false;
  batch.category = part("category").value;
  enter("choose");
}

export function open() {
  if (!dialog.open) dialog.showModal();
}

// --- choosing files

for (const input of dialog.querySelectorAll('input[type="file"]')) {
  input.addEventListener("change", () => {
    const files = filesOfInput(input);
    input.value = "";
    take(() => files);
  });
}

// Adds files to the batch: finds their products, and looks at their bytes.
export async function take(read) {
  const mine = batch;
  part("problem").hidden = true;
  enter("reading");
  tell("bulk.reading");
  try {
    const files = await read();
    const pictures = files.filter(({ path }) => isPicture(path));
    leftOut = [...leftOut, ...files.filter(({ path }) => !isPicture(path)).map(({ path }) => path)];
    tell("bulk.lookingUp");
    const items = batch.add(pictures, await lookUp(pictures.map(({ path }) => path)));
    await inspectAll(items, () => {});
    if (mine !== batch) return;
    enter(batch.items.length || leftOut.length ? "review" : "choose");
    if (!batch.items.length) return tell("bulk.nothing");
    describe();
    await compare();
  } catch (error) {
    enter(batch.items.length ? "review" : "choose");
    fail(error);
  }
}

// Says how many files have been found so far.
export function found(count) {
  tell("bulk.found", { count });
}

async function lookUp(paths) {
  // Whether the chosen folder itself counts depends on what is known, so its name is looked up too.
  return productsOf([...new Set([...candidatesOf(paths), ...candidatesOf(belowRoot(paths, () => false))])]);
}

// Finds the pictures that are there already, and new models that differ from others in case only.
async function compare() {
  reading?.abort();
  reading = new AbortController();
  const { signal } = reading;
  await compareAll(batch, batch.items, (item) => showItem(item), signal);
  if (signal.aborted) return;
  show();
  for (const group of batch.groups) {
    if (signal.aborted) return;
    if (group.decision !== "open" || !batch.mayMake(group)) continue;
    group.similar = await similar(group.model);
    if (group.similar && !signal.aborted) show();
  }
  describe();
}

// --- deciding

async function act(action, group, item) {
  const items = item ? [item] : group.items;
  if (action === "similar") return decided(batch.assign(group, items, group.similar));
  if (action === "new") return decided(batch.makeNew(group, items, group.model));
  if (action === "skip") return decided(batch.skip(group, items));
  if (action === "reopen") return decided(batch.reopen(group));
  const title = item ? say("bulk.whereFile", { file: item.path }) : say("bulk.whereGroup", { name: nameOf(group), count: items.length });
  const answer = await chooser.ask(title, batch.mayMake(group) || group.similar ? group.model : lastFolder(group));
  if (!answer) return;
  if (answer.product) decided(batch.assign(group, items, answer.product));
  else decided(answer.skip ? batch.skip(group, items) : batch.makeNew(group, items, answer.model));
}

function lastFolder({ model, folder, product }) {
  return product ? "" : model || folder.split("/").at(-1);
}

function decided(group) {
  show();
  table.focus(group);
  describe();
  compare().catch(fail);
}

part("all").addEventListener("click", ({ target }) => {
  const action = target.closest("button")?.dataset.do;
  if (!action) return;
  for (const group of batch.groups.filter(({ decision }) => decision === "open")) {
    if (action === "skip") batch.skip(group, group.items);
    else if (batch.mayMake(group)) batch.makeNew(group, group.items, group.model);
  }
  show();
  describe();
  part("table").closest(".bulk-body").focus();
});
part("category").addEventListener("change", ({ target }) => (batch.category = target.value));
part("fits").addEventListener("change", ({ target }) => {
  batch.fits = target.checked;
  show();
  describe();
});

// --- sending

for (const [name, work] of Object.entries({
  send,
  retry,
  pause: () => sender.pause(),
  resume: () => sender.resume(),
  stop: () => sender.stop(),
  again: start,
  close: () => dialog.close(),
})) {
  for (const button of dialog.querySelectorAll(`footer [data-do="${name}"], header [data-do="${name}"]`)) {
    button.addEventListener("click", work);
  }
}

async function send() {
  reading?.abort();
  sender = new Sender(batch, {
    changed: (item) => (item ? showItem(item) : stage === "sending" && show()),
    told: tell,
  });
  enter("sending");
  tell("bulk.started");
  await sender.run();
  added ||= batch.counts.added > 0;
  enter("result");
  part("result").focus();
  tell("bulk.result", results());
}

// Sends what was refused for a reason that can go away, and what was not sent. A product may have room by now.
async function retry() {
  for (const item of retryable()) Object.assign(item, { state: "", problem: null, percent: 0 });
  await Promise.all(
    batch.groups.map(async (group) => {
      group.problem = null;
      if (group.product) group.product = await current(group.product.id).catch(() => group.product);
    }),
  );
  send();
}

function retryable() {
  const mayHelp = ({ mayPass, status }) => mayPass || status === 422 || status === 404;
  const rows = batch.groups.flatMap((group) => batch.preview(group));
  const may = ({ item, status }) => status === "full" || (item.state === "refused" && mayHelp(item.problem));
  return rows.filter(may).map(({ item }) => item);
}

dialog.addEventListener("cancel", (event) => stage === "sending" && event.preventDefault());
dialog.addEventListener("close", () => {
  // A browser closes a dialog at the second Escape, whatever the page says to the first.
  if (stage === "sending") return open();
  reading?.abort();
  start();
  if (added) location.reload();
});
addEventListener("beforeunload", (event) => sender?.busy && event.preventDefault());

// --- showing

function enter(next) {
  stage = next;
  dialog.dataset.stage = stage;
  for (const element of dialog.querySelectorAll("[data-in]")) element.hidden = !element.dataset.in.split(" ").includes(stage);
  dialog.setAttribute("aria-busy", String(stage === "reading"));
  show();
}

function show() {
  table.show(stage === "review");
  showItem();
  const { ready } = batch.counts;
  part("newCategory").hidden = stage !== "review" || !batch.groups.some(({ decision, product }) => decision === "new" && !product);
  part("offers").hidden = stage !== "review" || !batch.items.some((item) => item.offer);
  part("offerText").textContent = say("bulk.offers", { count: batch.items.filter((item) => item.offer).length });
  const groups = batch.groups.filter(({ decision }) => decision === "open");
  part("all").hidden = stage !== "review" || groups.length < 2;
  part("allText").textContent = say("bulk.allOpen", { count: groups.length });
  part("all").querySelector('[data-do="new"]').hidden = !groups.some((group) => batch.mayMake(group));
  part("leftOut").hidden = !["review", "result"].includes(stage) || !leftOut.length;
  part("leftOut").querySelector("summary").textContent = say("bulk.leftOut", { count: leftOut.length });
  part("leftOut").querySelector("ul").replaceChildren(...leftOut.map(lineOf));
  const send = dialog.querySelector('footer [data-do="send"]');
  send.textContent = say("bulk.send", { count: ready });
  send.disabled = !ready;
  part("summary").textContent = stage === "review" ? summary() : "";
  if (stage === "result") showResult(ready);
}

function summary() {
  const { ready, open: undecided, offer } = batch.counts;
  const { refused } = results();
  const products = batch.groups.filter((group) => batch.ready(group).length).length;
  const sentences = [say(ready ? "bulk.summary" : "bulk.nothingToAdd", { count: ready, products })];
  if (undecided) sentences.push(say("bulk.undecided", { count: undecided }));
  if (offer) sentences.push(say("bulk.undone", { count: offer }));
  if (refused) sentences.push(say("bulk.refusals", { count: refused }));
  return sentences.join(" ");
}

// Shows an item, and the progress.
function showItem(item = null) {
  if (item) table.refresh(item);
  if (stage !== "sending" || !sender) return;
  const { count, over, bytes, sent } = sender.progress;
  const bar = part("bar");
  [bar.max, bar.value] = [bytes || 1, sent];
  part("progress").textContent = say("bulk.progress", { over, count });
  const why = { paused: "bulk.paused", waiting: sender.problem?.status ? "bulk.busy" : "bulk.offline" }[sender.state];
  const sentence = why ? [sender.state === "paused" ? sender.problem?.sentence : "", say(why)].filter(Boolean).join(" ") : "";
  if (part("why").textContent !== sentence) part("why").textContent = sentence;
  const paused = sender.state === "paused";
  for (const [name, visible] of Object.entries({ pause: !paused, resume: paused, stop: true })) toggle(name, visible);
}

// Hides a button of the footer, or shows it. The focus goes to the one that takes its place.
function toggle(name, visible) {
  const button = dialog.querySelector(`footer [data-do="${name}"]`);
  const focused = document.activeElement === button;
  button.hidden = !visible;
  if (focused && !visible) dialog.querySelector("footer button:not([hidden]):not(:disabled)")?.focus();
}

function results() {
  const { added, present, same, refused, full, skipped, open: undecided, offer, ready } = batch.counts;
  return { added, present: present + same, refused: refused + full, skipped: skipped + undecided + offer, rest: ready };
}

function showResult(rest) {
  const numbers = results();
  part("resultText").textContent = say("bulk.result", numbers);
  part("stopped").textContent = [sender.problem?.sentence, rest ? say("bulk.rest", numbers) : ""].filter(Boolean).join(" ");
  const refused = batch.groups.flatMap((group) => batch.preview(group)).filter(({ status }) => ["refused", "full"].includes(status));
  part("refused").replaceChildren(
    ...refused.map(({ item, status }) => lineOf(say("bulk.refused", { file: item.path, why: item.problem?.sentence ?? say(`bulk.state.${status}`) }))),
  );
  const again = retryable().length + rest;
  const retry = dialog.querySelector('footer [data-do="retry"]');
  retry.hidden = !again;
  retry.textContent = say(rest ? "bulk.goOn" : "bulk.tryAgain", { count: again });
}

function lineOf(text) {
  const line = document.createElement("li");
  line.textContent = text;
  return line;
}

// Says what the table tells at a glance to a screen reader.
function describe() {
  if (stage === "review") part("live").textContent = summary();
}

function tell(key, values = {}) {
  part("live").textContent = say(key, values);
  if (stage === "reading") part("readingText").textContent = say(key, values);
}

function fail(error) {
  const sentence = (error instanceof Problem ? error : new Problem(0)).sentence;
  part("problem").textContent = sentence;
  part("problem").hidden = false;
}

// The page to check photos: a grid that draws only its visible part, keys, and decisions that are sent one by one.
//
// Photos are identified by their sha256. All names are inserted as text, never as markup.

import { createElement } from "./page.js";
import { request } from "./request.js";

const BLOCK = 60; // photos in one request
const REMEMBERED = 5000; // photos whose details are kept
const UNDO_STEPS = 200;
const UNDO_DECISIONS = 100000; // of all steps together
const MANY_CLASSES = 50; // with more of them, people search for a class instead of choosing it from a list
const PARALLEL = 3; // thumbnails at once: with two large photos this leaves one of a browser's 6 connections to decisions
const find = (id) => document.getElementById(id);
const grid = find("grid");

let key = ""; // of the queue
let items = []; // [sha256, reason, suggested label, sha256 of another photo]
let current = 0; // the index of the current item
let selected = new Set(); // indices of items that are decided together
let anchor = 0; // the index where Shift began
let details = new Map(); // sha256 -> {file, label, split, predictions, decision}
let digits = {}; // class -> key
let sending = Promise.resolve(); // one decision after the other
let undoSteps = JSON.parse(sessionStorage.getItem("undo") ?? "[]");
let decided = new Set(); // sha256 of photos that were decided after the queue was opened
let cells = new Map(); // index -> cell, of the items that are drawn
let waiting = []; // pictures of cells that are not loaded yet, in order
let loading = new Set();

const showStatus = (text) => { find("status").textContent = text; };
const showErrors = (promise) => promise.catch((error) => showStatus(error.message));

// Open the last position.
async function begin() {
  const { queues, classes, keys, position } = await request("album");
  digits = keys;
  find("classes").replaceChildren(...classes.map(([, value]) => createElement("option", { value })));
  find("digits").textContent = Object.entries(digits).map(([name, digit]) => `${digit}: ${name}`).join("   ");
  const first = queues.find(([, , count]) => count > 0) ?? classes[0];
  const known = [...queues, ...classes].some(([value]) => value === position.queue);
  await openQueue(known ? position.queue : first[0], position.sha256);
}

// Fill the list of queues, and say how many photos are left. All numbers are the server's.
async function showCounts() {
  const album = await request("album");
  const createOption = ([value, title, count]) => createElement("option", { value, textContent: count < 0 ? title : `${title} (${count})` });
  const few = album.classes.length <= MANY_CLASSES;
  const groups = [["To check", album.queues], ...(few ? [["Classes", album.classes]] : [])];
  find("search").hidden = few;
  find("queues").replaceChildren(...groups.map(([label, options]) => createElement("optgroup", { label }, ...options.map(createOption))));
  find("queues").value = key;
  const count = album.queues.find(([value]) => value === key)?.[2] ?? items.length;
  if (key.startsWith("class:") || key === "left-out") showStatus(`${count} photos`);
  else if (key === "decided") showStatus(`${count} decided`);
  else showStatus(count ? [`${count} left`, album.advice[key]].filter(Boolean).join(". ") : "Nothing is left in this queue. Show another one.");
}

async function openQueue(name, sha256 = "") {
  key = name;
  items = await request(`queue?key=${encodeURIComponent(key)}`);
  selected.clear();
  details.clear();
  decided.clear();
  grid.scrollTop = 0;
  await goTo(Math.max(0, items.findIndex(([other]) => other === sha256)));
  await showCounts();
}

// Request the details of the items from `first` to `last` that are not known yet.
async function loadDetails(first, last) {
  const wanted = items.slice(Math.max(0, first), last).flatMap(([sha256, , , other]) => other ? [sha256, other] : [sha256]);
  const missing = [...new Set(wanted)].filter((sha256) => !details.has(sha256));
  if (details.size > REMEMBERED) details.clear();
  for (let start = 0; start < missing.length; start += BLOCK) {
    const block = await request(`photos?of=${missing.slice(start, start + BLOCK).join(",")}`);
    Object.entries(block).forEach(([sha256, photo]) => details.set(sha256, photo));
  }
}

// The number of columns, and the width and height of a cell in px.
function layOut() {
  const columns = Math.max(2, Math.floor(grid.clientWidth / 150));
  const width = Math.floor(grid.clientWidth / columns);
  return { columns, width, height: width + 50 };
}

// Draw the visible cells and remove the others; return the first and last index.
function draw() {
  const { columns, width, height } = layOut();
  find("all").style.height = `${Math.ceil(items.length / columns) * height}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / height) - 1) * columns;
  const last = Math.min(items.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 1) * columns);
  for (const [index, cell] of cells) {
    if (index < first || index >= last || cell.dataset.sha256 !== items[index][0]) {
      cell.remove();
      cancelLoading(cell.firstChild);
      cells.delete(index);
    }
  }
  for (let index = first; index < last; index += 1) {
    if (!cells.has(index)) cells.set(index, createCell(index));
    const cell = cells.get(index);
    Object.assign(cell.style, { width: `${width}px`, height: `${height}px`, left: `${(index % columns) * width}px`, top: `${Math.floor(index / columns) * height}px` });
    cell.firstChild.style.height = `${width - 14}px`;
    fillCell(cell, index);
  }
  loadPictures();
  if (items.length) grid.setAttribute("aria-activedescendant", `photo-${current}`);
  else grid.removeAttribute("aria-activedescendant");
  return [first, last];
}

// Load the next thumbnails, at most PARALLEL at once.
function loadPictures() {
  while (waiting.length && loading.size < PARALLEL) {
    const picture = waiting.shift();
    loading.add(picture);
    picture.onload = picture.onerror = () => { loading.delete(picture); loadPictures(); };
    picture.src = `thumbnail/${picture.parentNode.dataset.sha256}`;
  }
}

// Visible pictures must not wait for those that are not visible any more.
function cancelLoading(picture) {
  picture.onload = picture.onerror = null;
  picture.removeAttribute("src");
  loading.delete(picture);
  waiting = waiting.filter((other) => other !== picture);
}

function createCell(index) {
  const [sha256] = items[index];
  const cell = createElement("div", { id: `photo-${index}`, className: "cell" }, createElement("img", { alt: "" }), createElement("span"), createElement("span", { className: "decision" }));
  cell.dataset.sha256 = sha256;
  cell.setAttribute("role", "option");
  cell.addEventListener("click", (event) => {
    if (event.shiftKey) selectRange(index);
    else if (event.ctrlKey || event.metaKey) toggle(index);
    else selected.clear();
    if (!event.shiftKey) anchor = index;
    showErrors(goTo(index));
  });
  find("all").append(cell);
  waiting.push(cell.firstChild);
  return cell;
}

function fillCell(cell, index) {
  const photo = details.get(items[index][0]);
  const [label, decision] = photo ? [photo.label, describeDecision(photo)] : ["", ""];
  cell.children[1].textContent = label;
  cell.children[2].textContent = decision;
  cell.classList.toggle("current", index === current);
  cell.setAttribute("aria-selected", String(selected.size ? selected.has(index) : index === current));
  cell.setAttribute("aria-posinset", index + 1);
  cell.setAttribute("aria-setsize", items.length);
  cell.setAttribute("aria-label", photo ? `${photo.file}, labeled ${label}${decision && `, ${decision}`}` : "");
}

function describeDecision({ decision }) {
  if (!decision) return "";
  return { keep: "kept", relabel: `now ${decision.label}`, "leave out": "left out" }[decision.decision];
}

// Make an item the current one, and show its details.
async function goTo(index) {
  current = Math.min(Math.max(0, index), Math.max(0, items.length - 1));
  const { columns, height } = layOut();
  const top = Math.floor(current / columns) * height;
  find("all").style.height = `${Math.ceil(items.length / columns) * height}px`;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
  draw();
  if (items.length) await loadDetails(current, current + 1);
  showDetails();
  await drawWithDetails();
  if (items.length) request("position", { queue: key, sha256: items[current][0] }).catch(() => {});
}

async function drawWithDetails() {
  const [first, last] = draw();
  await loadDetails(first, last);
  draw();
}

function showDetails() {
  find("detail").hidden = items.length === 0;
  if (!items.length) return;
  const [sha256, reason, suggestion, other] = items[current];
  const photo = details.get(sha256);
  if (!photo) return;
  const several = selected.size > 1;
  find("photo").src = `photo/${sha256}`;
  find("photo").alt = photo.file;
  find("other-photo").hidden = !other;
  if (other) Object.assign(find("other-photo"), { src: `photo/${other}`, alt: details.get(other)?.file ?? "" });
  find("label").textContent = several ? `${selected.size} photos` : photo.label;
  find("decision").textContent = several ? "" : describeDecision(photo);
  find("reason").textContent = several ? "" : reason;
  find("accept").hidden = !suggestion || several;
  find("suggestion").textContent = `Relabel as ${suggestion}`;
  find("undo").disabled = !undoSteps.length;
  find("file").textContent = `${photo.split || "in no split"}: ${photo.file}`;
  find("predictions").replaceChildren(...photo.predictions.map((textContent) => createElement("li", { textContent })));
}

// Decide about the selected items, or the current one, and go to the next open one. A key that is pressed before the
// last decision is saved applies to the next photo.
function decide(decision, label = "") {
  sending = sending.then(() => {
    if (!items.length) return null;
    const indices = selected.size ? [...selected] : [current];
    const decisions = indices.map((index) => ({ sha256: items[index][0], decision, label: label ?? items[index][2] }));
    const last = Math.max(...indices);
    return send(key, decisions, (previous) => {
      undoSteps = [...undoSteps, { key, previous }].slice(-UNDO_STEPS);
      while (undoSteps.length > 1 && undoSteps.flatMap((step) => step.previous).length > UNDO_DECISIONS) undoSteps.shift();
      selected.clear();
      const isOpen = (sha256) => !decided.has(sha256) && !details.get(sha256)?.decision;
      const next = items.findIndex(([sha256, , , other], index) => index > last && isOpen(sha256) && isOpen(other));
      return goTo(next < 0 ? last + 1 : next);
    });
  });
}

function undo() {
  sending = sending.then(() => {
    const step = undoSteps.at(-1);
    return step && send(step.key, step.previous, async () => {
      undoSteps = undoSteps.slice(0, -1);
      const { sha256 } = step.previous[0];
      const index = key === step.key ? items.findIndex(([other]) => other === sha256) : -1;
      if (index < 0) await openQueue(step.key, sha256);
      else await goTo(index);
    });
  });
}

async function send(queue, decisions, then) {
  let previous;
  try {
    previous = await request("decide", { queue, decisions });
  } catch (error) {
    showStatus(`This decision is not saved. ${error.message}`);
    return;
  }
  decisions.forEach(({ sha256, decision }) => {
    details.delete(sha256); // the server may have written another one, as keep for the label that the photo has
    decided[decision ? "add" : "delete"](sha256);
  });
  await showErrors(then(previous).then(showCounts));
  saveUndoSteps();
}

// Let the latest steps that the browser has room for survive a reload.
function saveUndoSteps() {
  for (let first = 0; first <= undoSteps.length; first += 1) {
    try {
      sessionStorage.setItem("undo", JSON.stringify(undoSteps.slice(first)));
      return;
    } catch { /* no room: without the oldest step */ }
  }
}

function toggle(index) {
  if (!selected.delete(index)) selected.add(index);
}

function selectRange(index) {
  selected = new Set(Array.from({ length: Math.abs(index - anchor) + 1 }, (_, step) => Math.min(index, anchor) + step));
}

function move(step, extend) {
  const index = Math.min(Math.max(0, current + step), items.length - 1);
  if (extend) selectRange(index);
  else anchor = index;
  showErrors(goTo(index));
}

function zoom() {
  if (!items.length) return;
  Object.assign(find("enlarged"), { src: find("photo").src, alt: find("photo").alt });
  find("large").showModal();
}

const acceptSuggestion = () => { if (items[current]?.[2]) decide("relabel", null); }; // the suggestion at the time of sending
const selectAll = () => { selected = new Set(items.keys()); draw(); showDetails(); };
const selectNone = () => { selected.clear(); draw(); showDetails(); };
const pageLength = () => Math.max(1, Math.floor(grid.clientHeight / layOut().height)) * layOut().columns;
const MOVES = {
  ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => layOut().columns, ArrowUp: () => -layOut().columns,
  PageDown: pageLength, PageUp: () => -pageLength(), Home: () => -items.length, End: () => items.length,
};
const ACTIONS = {
  k: () => decide("keep"), x: () => decide("leave out"), s: acceptSuggestion, u: undo, z: zoom, Escape: selectNone,
  l: () => find("new-label").focus(), " ": () => { toggle(current); draw(); showDetails(); },
};

function handleKey(event) {
  if (find("large").open || event.altKey || event.target.matches("input, select, summary")) return;
  if (event.target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key !== "a") return;
    event.preventDefault();
    selectAll();
    return;
  }
  const [label] = Object.entries(digits).find(([, digit]) => digit === event.key) ?? [];
  if (MOVES[event.key]) move(MOVES[event.key](), event.shiftKey);
  else if (label !== undefined) decide("relabel", label);
  else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", handleKey);
find("keep").addEventListener("click", ACTIONS.k);
find("leave-out").addEventListener("click", ACTIONS.x);
find("accept").addEventListener("click", acceptSuggestion);
find("undo").addEventListener("click", undo);
find("zoom").addEventListener("click", zoom);
find("close").addEventListener("click", () => find("large").close());
find("queues").addEventListener("change", (event) => { showErrors(openQueue(event.target.value)); grid.focus(); });
find("class").addEventListener("change", (event) => {
  const name = event.target.value.trim();
  if ([...find("classes").options].some(({ value }) => value === name)) showErrors(openQueue(`class:${name}`));
  else showStatus(`There is no class ${name}.`);
});
find("new-label").addEventListener("keydown", (event) => { if (event.key === "Escape") grid.focus(); });
find("relabel").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = find("new-label").value.trim();
  if (label) decide("relabel", label);
  find("new-label").value = "";
  grid.focus({ preventScroll: true });
});
grid.addEventListener("scroll", () => requestAnimationFrame(() => showErrors(drawWithDetails())));
window.addEventListener("resize", () => draw());
showErrors(begin().then(() => grid.focus({ preventScroll: true })));

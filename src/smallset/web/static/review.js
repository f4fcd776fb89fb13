// The page on which photos are put right: a grid that draws what is seen of it, keys, and decisions sent one by one.
//
// A photo is named by its digest. All names are text, never markup.

const BLOCK = 60; // photos that are asked about at once
const KEPT = 5000; // photos that are remembered
const UNDONE = 200; // decisions that can be taken back
const FETCHED = 3; // thumbnails at once: with the photo and one beside it that leaves a decision one of a browser's 6 connections
const find = (id) => document.getElementById(id);
const grid = find("grid");

let key = ""; // of the queue
let items = []; // [digest, why, a label that a model gives, the digest of a photo beside it]
let here = 0; // the item that is marked
let chosen = new Set(); // items that are decided together
let from = 0; // where Shift began
let known = new Map(); // digest to {file, label, split, says, decided}
let digits = {}; // class to its key
let sending = Promise.resolve(); // one decision after the other
let undoable = JSON.parse(sessionStorage.getItem("undo") ?? "[]");
let done = new Set(); // digests that are decided since the queue was asked
let cells = new Map(); // of the items that are drawn
let unfetched = []; // pictures of cells, in order
let fetching = new Set();

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

const say = (text) => { find("status").textContent = text; };

async function ask(address, sent) {
  const options = sent && { method: "POST", body: JSON.stringify(sent), headers: { "Content-Type": "application/json" } };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("No answer: the program in the terminal has ended. Start it again; what was decided before is saved.");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.json();
}

const told = (work) => work.catch((error) => say(error.message));

// Which queues there are, and where one was.
async function begin() {
  const album = await ask("/album");
  digits = album.keys;
  const option = ([value, title, count]) => element("option", { value, textContent: count < 0 ? title : `${title} (${count})` });
  const groups = [["Worth a look", album.queues], ["Classes", album.classes]];
  find("queues").replaceChildren(...groups.map(([label, own]) => element("optgroup", { label }, ...own.map(option))));
  find("classes").replaceChildren(...album.classes.map(([, value]) => element("option", { value })));
  find("digits").textContent = Object.entries(digits).map(([name, digit]) => `${digit}: ${name}`).join("   ");
  const all = [...album.queues, ...album.classes].map(([value]) => value);
  const first = album.queues.find(([, , count]) => count > 0) ?? album.classes[0];
  await open(all.includes(album.place.queue) ? album.place.queue : first[0], album.place.digest);
}

async function open(name, digest = "") {
  key = name;
  find("queues").value = key;
  items = await ask(`/queue?key=${encodeURIComponent(key)}`);
  chosen.clear();
  known.clear();
  done.clear();
  grid.scrollTop = 0;
  await go(Math.max(0, items.findIndex(([own]) => own === digest)));
  say(left());
}

function left() {
  if (key.startsWith("class:")) return `${items.length} photos`;
  if (key === "decided") return `${items.length} decided`;
  const open = items.filter(([digest]) => !done.has(digest)).length;
  return open ? `${open} left` : "Nothing left here. Show another queue.";
}

// What the photos of these items are called and how they are labelled, asked for where it is not known.
async function learn(first, last) {
  const wanted = items.slice(Math.max(0, first), last).flatMap(([digest, , , beside]) => beside ? [digest, beside] : [digest]);
  const missing = [...new Set(wanted)].filter((digest) => !known.has(digest));
  if (known.size > KEPT) known.clear();
  for (let at = 0; at < missing.length; at += BLOCK) {
    const found = await ask(`/photos?of=${missing.slice(at, at + BLOCK).join(",")}`);
    Object.entries(found).forEach(([digest, about]) => known.set(digest, about));
  }
}

// How the grid is laid out: columns, and the height of a row, px.
function layout() {
  const columns = Math.max(2, Math.floor(grid.clientWidth / 150));
  const width = Math.floor(grid.clientWidth / columns);
  return { columns, width, height: width + 50 };
}

// Draw the cells that are seen, and take away the others.
function draw() {
  const { columns, width, height } = layout();
  find("all").style.height = `${Math.ceil(items.length / columns) * height}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / height) - 1) * columns;
  const last = Math.min(items.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 1) * columns);
  for (const [index, cell] of cells) {
    if (index < first || index >= last || cell.dataset.digest !== items[index][0]) {
      cell.remove();
      forget(cell.firstChild);
      cells.delete(index);
    }
  }
  for (let index = first; index < last; index += 1) {
    if (!cells.has(index)) cells.set(index, made(index));
    const cell = cells.get(index);
    Object.assign(cell.style, { width: `${width}px`, height: `${height}px`, left: `${(index % columns) * width}px`, top: `${Math.floor(index / columns) * height}px` });
    cell.firstChild.style.height = `${width - 14}px`;
    fill(cell, index);
  }
  fetchMore();
  if (items.length) grid.setAttribute("aria-activedescendant", `photo-${here}`);
  else grid.removeAttribute("aria-activedescendant");
  return [first, last];
}

// Fetch the next thumbnails, as many as may be fetched at once.
function fetchMore() {
  while (unfetched.length && fetching.size < FETCHED) {
    const picture = unfetched.shift();
    fetching.add(picture);
    picture.onload = picture.onerror = () => { fetching.delete(picture); fetchMore(); };
    picture.src = `/thumbnail/${picture.parentNode.dataset.digest}`;
  }
}

// What is not seen any more is not fetched before what is.
function forget(picture) {
  picture.onload = picture.onerror = null;
  picture.removeAttribute("src");
  fetching.delete(picture);
  unfetched = unfetched.filter((other) => other !== picture);
}

function made(index) {
  const [digest] = items[index];
  const cell = element("div", { id: `photo-${index}` }, element("img", { alt: "" }), element("span"), element("span", { className: "done" }));
  cell.className = "cell";
  cell.dataset.digest = digest;
  cell.setAttribute("role", "option");
  cell.addEventListener("click", (event) => {
    if (event.shiftKey) span(index);
    else if (event.ctrlKey || event.metaKey) toggle(index);
    else chosen.clear();
    if (!event.shiftKey) from = index;
    told(go(index));
  });
  find("all").append(cell);
  unfetched.push(cell.firstChild);
  return cell;
}

function fill(cell, index) {
  const about = known.get(items[index][0]);
  const [label, done] = about ? [about.label, decision(about)] : ["", ""];
  cell.children[1].textContent = label;
  cell.children[2].textContent = done;
  cell.classList.toggle("here", index === here);
  cell.setAttribute("aria-selected", String(chosen.size ? chosen.has(index) : index === here));
  cell.setAttribute("aria-posinset", index + 1);
  cell.setAttribute("aria-setsize", items.length);
  cell.setAttribute("aria-label", about ? `${about.file}, labelled ${label}${done && `, ${done}`}` : "");
}

function decision({ decided }) {
  if (!decided) return "";
  return { keep: "kept", relabel: `now ${decided.label}`, "leave out": "left out" }[decided.decision];
}

// Mark an item, and show what there is to say of it.
async function go(index) {
  here = Math.min(Math.max(0, index), Math.max(0, items.length - 1));
  const { columns, height } = layout();
  const top = Math.floor(here / columns) * height;
  find("all").style.height = `${Math.ceil(items.length / columns) * height}px`;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
  draw();
  if (items.length) await learn(here, here + 1);
  show();
  await seen();
  if (items.length) ask("/place", { queue: key, digest: items[here][0] }).catch(() => {});
}

async function seen() {
  const [first, last] = draw();
  await learn(first, last);
  draw();
}

function show() {
  find("detail").hidden = items.length === 0;
  if (!items.length) return;
  const [digest, why, suggested, beside] = items[here];
  const about = known.get(digest);
  if (!about) return;
  const many = chosen.size > 1;
  find("photo").src = `/photo/${digest}`;
  find("photo").alt = about.file;
  find("beside").hidden = !beside;
  if (beside) Object.assign(find("beside"), { src: `/photo/${beside}`, alt: known.get(beside)?.file ?? "" });
  find("label").textContent = many ? `${chosen.size} photos` : about.label;
  find("decision").textContent = many ? "" : decision(about);
  find("why").textContent = many ? "" : why;
  find("take").hidden = !suggested || many;
  find("suggested").textContent = `It is ${suggested}`;
  find("undo").disabled = !undoable.length;
  find("file").textContent = `${about.split || "in no split"}: ${about.file}`;
  find("says").replaceChildren(...about.says.map((textContent) => element("li", { textContent })));
}

// Decide about the items that are chosen, or the one that is marked, and go on to the next that is open. A key that
// comes before the last decision is saved is about the photo after it.
function decide(decision, label = "") {
  sending = sending.then(() => {
    if (!items.length) return null;
    const which = chosen.size ? [...chosen] : [here];
    const decisions = which.map((index) => ({ digest: items[index][0], decision, label: label ?? items[index][2] }));
    const last = Math.max(...which);
    return post(key, decisions, (before) => {
      undoable = [...undoable, { key, before }].slice(-UNDONE);
      chosen.clear();
      const next = items.findIndex(([digest], index) => index > last && !done.has(digest) && !known.get(digest)?.decided);
      return go(next < 0 ? last + 1 : next);
    });
  });
}

function undo() {
  sending = sending.then(() => {
    const step = undoable.at(-1);
    return step && post(step.key, step.before, async () => {
      undoable = undoable.slice(0, -1);
      const { digest } = step.before[0];
      if (key !== step.key || !items.some(([own]) => own === digest)) await open(step.key, digest);
      else await go(items.findIndex(([own]) => own === digest));
    });
  });
}

async function post(queue, decisions, then) {
  try {
    const before = await ask("/decide", { queue, decisions });
    decisions.forEach((one) => {
      const about = known.get(one.digest);
      if (about) about.decided = one.decision ? one : null;
      done[one.decision ? "add" : "delete"](one.digest);
    });
    await then(before);
    sessionStorage.setItem("undo", JSON.stringify(undoable));
    say(left());
  } catch (error) {
    say(error.message);
  }
}

function toggle(index) {
  if (!chosen.delete(index)) chosen.add(index);
}

function span(index) {
  chosen = new Set(Array.from({ length: Math.abs(index - from) + 1 }, (_, step) => Math.min(index, from) + step));
}

function move(step, extend) {
  const index = Math.min(Math.max(0, here + step), items.length - 1);
  if (extend) span(index);
  else from = index;
  told(go(index));
}

function zoom() {
  if (!items.length) return;
  Object.assign(find("enlarged"), { src: find("photo").src, alt: find("photo").alt });
  find("large").showModal();
}

const take = () => { if (items[here]?.[2]) decide("relabel", null); }; // whatever is suggested when its turn comes
const whole = () => { chosen = new Set(items.keys()); draw(); show(); };
const clear = () => { chosen.clear(); draw(); show(); };
const rows = () => Math.max(1, Math.floor(grid.clientHeight / layout().height)) * layout().columns;
const MOVES = {
  ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => layout().columns, ArrowUp: () => -layout().columns,
  PageDown: rows, PageUp: () => -rows(), Home: () => -items.length, End: () => items.length,
};
const ACTS = {
  k: () => decide("keep"), x: () => decide("leave out"), s: take, u: undo, z: zoom, Escape: clear,
  l: () => find("named").focus(), " ": () => { toggle(here); draw(); show(); },
};

function pressed(event) {
  if (find("large").open || event.altKey || event.target.matches("input, select, summary")) return;
  if (event.target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key !== "a") return;
    event.preventDefault();
    whole();
    return;
  }
  const [label] = Object.entries(digits).find(([, digit]) => digit === event.key) ?? [];
  if (MOVES[event.key]) move(MOVES[event.key](), event.shiftKey);
  else if (label !== undefined) decide("relabel", label);
  else if (ACTS[event.key]) ACTS[event.key]();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);
find("keep").addEventListener("click", ACTS.k);
find("out").addEventListener("click", ACTS.x);
find("take").addEventListener("click", take);
find("undo").addEventListener("click", undo);
find("zoom").addEventListener("click", zoom);
find("close").addEventListener("click", () => find("large").close());
find("queues").addEventListener("change", (event) => { told(open(event.target.value)); grid.focus(); });
find("named").addEventListener("keydown", (event) => { if (event.key === "Escape") grid.focus(); });
find("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = find("named").value.trim();
  if (label) decide("relabel", label);
  find("named").value = "";
  grid.focus({ preventScroll: true });
});
grid.addEventListener("scroll", () => requestAnimationFrame(() => told(seen())));
window.addEventListener("resize", () => draw());
told(begin().then(() => grid.focus({ preventScroll: true })));

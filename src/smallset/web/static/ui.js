// The page for the whole workflow. The server sends what has changed, so that all windows show the same.
//
// All names are inserted as text, never as markup.

import { acceptDrops, createElement } from "./page.js";
import { request } from "./request.js";
import { addFiles, listDropped, prepareCamera, startRecording, stopRecording } from "./uploads.js";

const TABS = ["photos", "train", "results", "export", "history"];
const CURVES = ["accuracy", "val_accuracy"];
const ENDED = "No answer: the program in the terminal has ended. Start it again: smallset ui";
const find = (id) => document.getElementById(id);
const setText = (id, text) => { if (find(id).textContent !== text) find(id).textContent = text; }; // screen readers read changes
const showStatus = (text) => setText("status", text);
const formatTime = (seconds) => seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
let state = null;

// Send texts to the server; undefined after an error, which is shown.
async function send(address, body = {}) {
  try {
    showStatus("");
    return await request(address, body);
  } catch (error) {
    showStatus(error.message);
    return undefined;
  }
}

// Fill a list if it has changed; the focus stays where it is.
function fill(id, items, create) {
  const content = JSON.stringify(items);
  if (find(id).dataset.content === content) return;
  find(id).dataset.content = content;
  const focused = find(id).contains(document.activeElement) ? document.activeElement.id : "";
  find(id).replaceChildren(...items.map(create));
  if (focused) find(focused)?.focus();
}

function openTab() {
  const tab = TABS.find((name) => location.hash === `#${name}`) ?? TABS[0];
  TABS.forEach((name) => { find(name).hidden = name !== tab; });
  document.querySelectorAll(".tabs a").forEach((link) => { link.ariaCurrent = link.hash === `#${tab}` ? "page" : null; });
  document.title = `${find(`${tab}-title`).textContent} – ${state.project || "smallset"}`;
  if (location.hash) find(`${tab}-title`).focus();
  if (tab === "history" && state.project) showRuns();
  if (tab === "results" && state.results) find("report").src = "/report";
}

function show(next) {
  const before = state;
  state = next;
  const { project, folder, name, classes, job } = state;
  const isRunning = job?.result === "running";
  setText("title", project || "A new project");
  setText("folder", folder);
  fill("classes", classes, createClass);
  find("create").hidden = Boolean(project) || isRunning || classes.length < 2;
  find("project-name").value ||= name;
  setText("create-command", `smallset init ../${find("project-name").value} --photos photos`);
  showTraining(isRunning);
  showResults(isRunning);
  find("job").hidden = !job;
  setText("job-title", job ? `${job.command}: ${job.result}` : "");
  setText("log", job?.log ?? "");
  if (!before) openTab();
  else if (before.job?.result === "running" && !isRunning) finishJob(job);
}

function showTraining(isRunning) {
  const stages = state.job?.stages ?? [];
  find("start").disabled = !state.project || isRunning;
  find("cancel").hidden = !isRunning;
  find("budget").hidden = state.minutes === null;
  if (document.activeElement !== find("minutes")) showMinutes(state.minutes);
  setText("takes", describeTime(state.job, isRunning));
  find("progress").hidden = !isRunning || !stages.length;
  find("progress").value = stages.filter(({ status }) => ["done", "unchanged"].includes(status)).length / (stages.length || 1);
  fill("stages", stages, ({ name, status, usual }) => createElement("li", { className: status },
    createElement("span", { textContent: name }), createElement("span", { textContent: status === "done" ? `done, ${formatTime(Math.round(usual))}` : status })));
  drawCurves(state.history);
}

function showResults(isRunning) {
  const { results, exports } = state;
  document.querySelectorAll('.tabs a:is([href="/review/"], [href="/try/"])').forEach((link) => { link.hidden = !results; });
  document.querySelectorAll("#formats button").forEach((button) => { button.disabled = !results || isRunning; });
  setText("result", results ?? "There are no results yet. Train first.");
  find("next").hidden = find("report").hidden = !results;
  fill("exports", exports, (name) => createElement("li", {}, createElement("a", { href: `/exports/${encodeURIComponent(name)}`, textContent: name, download: "" })));
}

function finishJob({ command, result }) {
  showStatus(`${command}: ${result}.`);
  find("job").open = result === "failed";
  if (result === "done" && command === "dvc repro") location.hash = "results";
  else if (result === "done" && command.startsWith("smallset init")) location.hash = "train";
  openTab();
}

function describeTime(job, isRunning) {
  const first = state.takes && !state.results ? `The first run takes ${state.takes}.` : "";
  const left = job?.remaining ? `, about ${formatTime(job.remaining)} left` : "";
  if (isRunning) return `Running for ${formatTime(job.seconds)}${left}. You may close this page: the run continues. ${first}`;
  if (!state.project) return "Create the project first.";
  if (job?.result === "interrupted") return "It was interrupted. Train continues where it was.";
  return first;
}

function createClass([name, [photos, recordings]]) {
  const createHint = (text) => createElement("span", { className: "visually-hidden", textContent: ` ${text} ${name}` });
  const input = createElement("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif", id: `files-${name}` });
  input.addEventListener("change", () => { add([...input.files].map((file) => [file, `${name}/${file.name}`])); input.value = ""; });
  const hold = createElement("button", { type: "button", className: "record", id: `record-${name}`, hidden: find("video").hidden }, "Hold to record", createHint(""));
  const begin = (event) => { event.preventDefault(); startRecording(name, send, add); };
  hold.addEventListener("pointerdown", begin);
  hold.addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key) && !event.repeat) begin(event); });
  const words = [count(photos, "photo"), ...(recordings ? [count(recordings, "recording")] : [])].join(", ");
  const item = createElement("li", {}, createElement("h3", { textContent: name }), createElement("p", { textContent: words }),
    createElement("label", { className: "button" }, "Add photos", createHint("of"), input), hold);
  item.dataset.name = name; // where photos are dropped
  return item;
}

// Send photos, [file, path] each, and list those that are skipped.
async function add(photos) {
  let skipped = 0;
  const report = (reason, done) => {
    if (done < photos.length) showStatus(`${done} of ${count(photos.length, "photo")} …`);
    if (!reason) return;
    skipped += 1;
    find("skipped-files").append(createElement("li", { textContent: reason }));
    setText("skipped-title", `Skipped files: ${find("skipped-files").childElementCount}`);
    find("skipped").hidden = false;
  };
  await addFiles(photos, report);
  showStatus(`Added ${photos.length - skipped} of ${count(photos.length, "photo")}.`);
}

// The paths of the files in a selected folder without this folder, unless it is the folder of one class.
function toPaths(photos) {
  const isNested = photos.some(([, path]) => path.split("/").length > 2);
  return photos.map(([file, path]) => [file, isNested ? path.slice(path.indexOf("/") + 1) : path]);
}

function showMinutes(minutes) {
  find("minutes").value = minutes;
  setText("minutes-value", count(minutes, "minute"));
  setText("minutes-command", `params.yaml: fine_tune.minutes: ${minutes}`);
}

// The accuracy after each epoch of fine-tuning, on training and on validation photos.
function drawCurves(rows) {
  find("curves").hidden = !rows.length;
  if (!rows.length) return;
  const values = rows.flatMap((row) => CURVES.map((name) => row[name]));
  const low = Math.min(...values), range = Math.max(...values) - low || 1;
  CURVES.forEach((name) => {
    const points = rows.map((row, index) => `${10 + (280 * index) / Math.max(1, rows.length - 1)},${90 - (80 * (row[name] - low)) / range}`);
    find(name).setAttribute("points", points.join(" "));
  });
  const { epoch, accuracy, val_accuracy: validation } = rows.at(-1);
  setText("chart-title", `Accuracy from ${low.toFixed(3)} to ${(low + range).toFixed(3)} in ${count(rows.length, "epoch")}`);
  setText("chart-caption", `Fine-tuning, epoch ${epoch}: accuracy ${accuracy.toFixed(3)} on training photos (thin line), ${validation.toFixed(3)} on validation photos.`);
}

async function showRuns() {
  const history = await send("/runs");
  if (!history) return;
  find("keep").hidden = !history.changed.length;
  setText("changed", `Changed since the last commit: ${history.changed.join(", ")}`);
  if (document.activeElement !== find("message")) find("message").value = history.message;
  fill("runs", history.runs, createRun);
}

function createRun({ revision, date, subject, result, changes }) {
  const compare = createElement("button", { type: "button", id: `compare-${revision}`, textContent: `Compare ${revision} with now` });
  compare.addEventListener("click", async () => {
    const difference = await send("/diff", { revision });
    find("difference").hidden = !difference;
    setText("difference", `smallset diff ${revision}\n${difference}`);
  });
  const words = [result, ...changes].map((textContent) => createElement("p", { textContent }));
  return createElement("li", {}, createElement("h3", { textContent: `${date} ${subject}` }), ...words, compare);
}

// When a form is submitted, send a text to an address; `then` gets the answer.
function submit(form, address, input, key, then = () => {}) {
  find(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await send(address, { [key]: find(input).value.trim() });
    if (answer !== undefined) then();
  });
}

acceptDrops(async (event) => {
  const name = event.target.closest("[data-name]")?.dataset.name;
  const isOne = event.dataTransfer.items.length === 1;
  const photos = await listDropped(event.dataTransfer.items);
  if (name) add(photos.map(([file]) => [file, `${name}/${file.name}`]));
  else add(isOne ? toPaths(photos) : photos);
});
find("select-folder").addEventListener("change", (event) => {
  add(toPaths([...event.target.files].map((file) => [file, file.webkitRelativePath])));
  event.target.value = "";
});
submit("add-class", "/class", "class-name", "name", () => { find("class-name").value = ""; });
submit("create", "/create", "project-name", "name");
submit("keep", "/keep", "message", "message", showRuns);
find("project-name").addEventListener("input", () => show(state));
find("start").addEventListener("click", () => send("/train"));
find("cancel").addEventListener("click", () => send("/cancel"));
find("minutes").addEventListener("input", (event) => showMinutes(event.target.value));
find("minutes").addEventListener("change", (event) => send("/minutes", { minutes: event.target.value }));
document.querySelectorAll("#formats button").forEach((button) => button.addEventListener("click", () => send("/export", { format: button.value })));
for (const type of ["pointerup", "pointercancel", "keyup", "blur"]) window.addEventListener(type, stopRecording);
window.addEventListener("hashchange", openTab);
prepareCamera(find("camera"), find("video"), showStatus, (isOn) => {
  find("recording-note").hidden = !isOn;
  document.querySelectorAll(".record").forEach((button) => { button.hidden = !isOn; });
});

const events = new EventSource("/events");
events.addEventListener("open", () => showStatus(""));
events.addEventListener("message", ({ data }) => show(JSON.parse(data)));
events.addEventListener("error", () => showStatus(ENDED));

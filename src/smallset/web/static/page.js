// The page that shows predictions for photos, whatever makes the predictions.
//
// A prediction is {labels: [{name, probability}, ...] with the most probable first, ood_score: a number or null (above 1
// the photo is unknown), unknown: true, false or null, prediction_set: names or null, pictures: [{url, alt, caption}, ...]}.
// All names are inserted as text, never as markup.

const SHOWN = 5; // labels of a prediction
const find = (id) => document.getElementById(id);
let waiting = Promise.resolve(); // one photo after the other

// Accept photos, and show for each what `predict` returns (a function of a Blob that returns a promise).
export function start(predict) {
  const add = (files) => Array.from(files).forEach((file) => {
    const article = createArticle(file);
    waiting = waiting.then(() => showPrediction(article, file, predict));
  });
  const files = find("files");
  files.addEventListener("change", () => { add(files.files); files.value = ""; });
  files.disabled = false;
  acceptDrops((event) => add(event.dataTransfer.files));
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
  prepareCamera((photo) => add([photo]));
  showStatus("");
}

export function acceptDrops(handle) {
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault(); // otherwise the browser would open the photo in place of the page
      document.body.classList.toggle("over", type === "dragenter" || type === "dragover");
    });
  }
  document.addEventListener("drop", handle);
}

export function showStatus(text) {
  find("status").textContent = text;
}

export function createElement(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

// A place for the prediction, above the earlier ones.
function createArticle(file) {
  const article = createElement("article", {}, createElement("h2", { textContent: file.name }), createElement("p", { textContent: "Waiting …" }));
  find("answers").prepend(article);
  return article;
}

async function showPrediction(article, file, predict) {
  showStatus(`Predicting ${file.name} …`);
  article.lastChild.textContent = "Predicting …";
  await new Promise((resolve) => setTimeout(resolve, 30)); // lets the browser show these words first
  try {
    const prediction = await predict(file);
    article.replaceChildren(...createContent(file, prediction));
    showStatus(`${file.name}: ${formatVerdict(prediction)}`);
  } catch (error) {
    article.classList.add("error");
    article.lastChild.textContent = error.message;
    showStatus(`${file.name}: ${error.message}`);
  }
}

function formatVerdict({ labels, unknown }) {
  return unknown ? "None of these" : `${labels[0].name}, ${formatPercent(labels[0].probability)}`;
}

function createContent(file, prediction) {
  const pictures = prediction.pictures.map(({ url, alt, caption }) =>
    createElement("figure", {}, createElement("img", { src: url, alt }), createElement("figcaption", { textContent: caption })));
  const words = [createElement("h2", { textContent: file.name }), createElement("p", { className: "verdict", textContent: formatVerdict(prediction) })];
  if (prediction.unknown) {
    words.push(createElement("p", { textContent: "The photo differs from all training photos. The model itself would predict:" }));
  }
  const list = createElement("ol", { className: "labels" }, ...prediction.labels.slice(0, SHOWN).map(createLabel));
  const rest = prediction.labels.length - SHOWN;
  if (rest > 0) words.push(list, createElement("p", { className: "note", textContent: `and ${rest} less probable labels` }));
  else words.push(list);
  return [createElement("div", { className: "pictures" }, ...pictures), createElement("div", {}, ...words, ...createSet(prediction))];
}

function createLabel({ name, probability }) {
  const meter = createElement("meter", { min: 0, max: 1, value: probability });
  meter.setAttribute("aria-label", name);
  return createElement("li", {}, createElement("span", { textContent: name }), meter, createElement("span", { className: "number", textContent: formatPercent(probability) }));
}

function createSet({ unknown, prediction_set: names }) {
  if (names === null || unknown) return [];
  const text = names.length ? `Prediction set: ${names.join(", ")}.` : "The prediction set is empty: no label is as probable as true labels usually are.";
  return [createElement("p", { className: "prediction-set", textContent: text })];
}

// No probability is 0 or 1.
function formatPercent(probability) {
  const text = probability > 0.999 ? "over 99.9" : probability < 0.001 ? "under 0.1" : (100 * probability).toFixed(1);
  return `${text}\u00a0%`;
}

// The button for the camera, where the browser allows it: on this machine, or over https.
function prepareCamera(take) {
  const [button, dialog, video] = [find("camera"), find("viewfinder"), find("video")];
  if (!navigator.mediaDevices?.getUserMedia) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      dialog.showModal();
    } catch (error) {
      showStatus(`The camera cannot be used: ${error.message}`);
    }
  });
  dialog.addEventListener("close", () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  });
  find("cancel").addEventListener("click", () => dialog.close());
  find("take").addEventListener("click", () => {
    if (!video.videoWidth) return; // there is no picture yet
    const canvas = createElement("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take(new File([blob], "camera.png", { type: "image/png" })), "image/png");
    dialog.close();
  });
}

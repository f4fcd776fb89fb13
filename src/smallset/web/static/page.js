// The page on which a model is tried: photos come in, answers are shown, whatever gives them.
//
// An answer is {labels: [{name, probability}, …] with the likeliest first, unlike: true, false or null, possible: names
// or null, pictures: [{url, alt, caption}, …]}. All names are text, never markup.

const SHOWN = 5; // labels of an answer
const find = (id) => document.getElementById(id);
let waiting = Promise.resolve(); // one photo after the other

// Take photos, and show what `answer` (a function of a Blob, to a promise) says of each.
export function start(answer) {
  const ask = (files) => Array.from(files).forEach((file) => {
    const place = placed(file);
    waiting = waiting.then(() => answered(place, file, answer));
  });
  const files = find("files");
  files.addEventListener("change", () => { ask(files.files); files.value = ""; });
  files.disabled = false;
  for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(event, (what) => {
      what.preventDefault(); // else the browser would leave the page for the photo
      document.body.classList.toggle("over", event === "dragenter" || event === "dragover");
    });
  }
  document.addEventListener("drop", (event) => ask(event.dataTransfer.files));
  document.addEventListener("paste", (event) => ask(event.clipboardData.files));
  camera((photo) => ask([photo]));
  say("");
}

export function say(text) {
  find("status").textContent = text;
}

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

// A place for the answer, at the top.
function placed(file) {
  const place = element("article", {}, element("h2", { textContent: file.name }), element("p", { textContent: "Waiting …" }));
  find("answers").prepend(place);
  return place;
}

async function answered(place, file, answer) {
  say(`Looking at ${file.name} …`);
  place.lastChild.textContent = "Looking …";
  await new Promise((shown) => setTimeout(shown, 30)); // or the words would come with the answer
  try {
    const given = await answer(file);
    place.replaceChildren(...shown(file, given));
    say(`${file.name}: ${verdict(given)}`);
  } catch (error) {
    place.classList.add("error");
    place.lastChild.textContent = error.message;
    say(`${file.name}: ${error.message}`);
  }
}

function verdict({ labels, unlike }) {
  return unlike ? "None of these" : `${labels[0].name}, ${percent(labels[0].probability)}`;
}

function shown(file, given) {
  const pictures = given.pictures.map(({ url, alt, caption }) =>
    element("figure", {}, element("img", { src: url, alt }), element("figcaption", { textContent: caption })));
  const words = [element("h2", { textContent: file.name }), element("p", { className: "verdict", textContent: verdict(given) })];
  if (given.unlike) {
    words.push(element("p", { textContent: "The photo is unlike all that the model was trained on. What follows is what it would say all the same." }));
  }
  const list = element("ol", { className: "labels" }, ...given.labels.slice(0, SHOWN).map(line));
  const rest = given.labels.length - SHOWN;
  return [
    element("div", { className: "pictures" }, ...pictures),
    element("div", {}, ...words, list, ...(rest > 0 ? [element("p", { className: "note", textContent: `and ${rest} less likely` })] : []), ...set(given)),
  ];
}

function line({ name, probability }) {
  const meter = element("meter", { min: 0, max: 1, value: probability });
  meter.setAttribute("aria-label", name);
  return element("li", {}, element("span", { textContent: name }), meter, element("span", { className: "number", textContent: percent(probability) }));
}

function set({ possible }) {
  if (possible === null) return [];
  const names = possible.length ? `Possible: ${possible.join(", ")}.` : "No label is as likely as the right one mostly is.";
  return [element("p", { className: "possible", textContent: names })];
}

// No probability is 0 or 1.
function percent(probability) {
  const text = probability > 0.999 ? "over 99.9" : probability < 0.001 ? "under 0.1" : (100 * probability).toFixed(1);
  return `${text}\u00a0%`;
}

// The button to take a photo, where the browser lets: on this machine, or over https.
function camera(take) {
  const [button, window, video] = [find("camera"), find("viewfinder"), find("video")];
  if (!navigator.mediaDevices?.getUserMedia) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      window.showModal();
    } catch (error) {
      say(`The camera cannot be used: ${error.message}`);
    }
  });
  window.addEventListener("close", () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  });
  find("cancel").addEventListener("click", () => window.close());
  find("take").addEventListener("click", () => {
    if (!video.videoWidth) return; // no picture yet
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take(new File([blob], "camera.png", { type: "image/png" })), "image/png");
    window.close();
  });
}

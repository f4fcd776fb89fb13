// Photos on their way to the server: files that somebody selected, and pictures of the camera while a button is held.

const PARALLEL = 4; // uploads at once; a browser has 6 connections to a server, and one has the events
const INTERVAL = 250; // ms between two pictures of a recording
const MOST = 200; // pictures of a recording
let timer = null;
let isHeld = false;

// Upload [file, path] pairs; `report` gets why a file was not stored ("" when it was), and how many are done.
export async function addFiles(photos, report) {
  let next = 0, done = 0;
  const work = async () => {
    while (next < photos.length) report(await upload(...photos[next++]), ++done);
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}

// The reason why a file was not stored; "" when it was.
async function upload(file, path) {
  try {
    const response = await fetch(`/upload?path=${encodeURIComponent(path)}`, { method: "POST", body: file });
    if (!response.ok) return `${path}: ${await response.text()}`;
    return (await response.json()).file ? "" : `${path}: is there already`;
  } catch {
    return `${path}: no answer: the program in the terminal has ended, or the file has been moved`;
  }
}

// [file, path] pairs of what somebody dropped, with the files in folders.
export async function listDropped(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean); // before the first await: then they are gone
  return (await Promise.all(entries.map(listEntry))).flat();
}

async function listEntry(entry) {
  if (entry.isFile) return [[await new Promise((resolve, reject) => entry.file(resolve, reject)), entry.fullPath.slice(1)]];
  const reader = entry.createReader(), photos = [];
  for (let part = [null]; part.length; ) { // browsers list a hundred at a time
    part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    photos.push(...(await Promise.all(part.map(listEntry))).flat());
  }
  return photos;
}

// The button that shows the camera and hides it again, where the browser allows it.
export function prepareCamera(button, video, showStatus, then) {
  if (!navigator.mediaDevices?.getUserMedia) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const isOn = video.hidden;
    try {
      video.srcObject?.getTracks().forEach((track) => track.stop());
      video.srcObject = isOn ? await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }) : null;
      video.hidden = !isOn;
      if (isOn) await video.play();
      button.textContent = isOn ? "Stop the camera" : "Use the camera";
      then(isOn);
    } catch (error) {
      showStatus(`The camera cannot be used: ${error.message}`);
    }
  });
}

// Record a class until `stopRecording`, and add the pictures as one recording.
export async function startRecording(name, send, add) {
  if (isHeld || timer) return;
  isHeld = true;
  const folder = await send("/recording", { name });
  if (!folder) { isHeld = false; return; }
  const pictures = [];
  const take = () => {
    if (pictures.length < MOST) pictures.push(capture(`${folder}/${pictures.length + 1}.jpg`));
    if (isHeld && pictures.length < MOST) return;
    clearInterval(timer);
    timer = null;
    Promise.all(pictures).then(add);
  };
  timer = setInterval(take, INTERVAL);
  take();
}

export function stopRecording() {
  isHeld = false;
}

function capture(path) {
  const video = document.getElementById("video");
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve([blob, path]), "image/jpeg", 0.92));
}

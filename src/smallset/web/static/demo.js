// The model runs in the program that serves this page. The photo is sent to this program on this machine only.

import { start } from "./page.js";

start(async (photo) => {
  let response;
  try {
    response = await fetch(`answer?name=${encodeURIComponent(photo.name)}`, { method: "POST", body: photo });
  } catch {
    throw new Error("No answer: the program in the terminal has ended, or the file is too large or has been moved.");
  }
  if (!response.ok) throw new Error(await response.text());
  const prediction = await response.json();
  return { ...prediction, pictures: prediction.pictures.map((picture) => ({ ...picture, url: toUrl(picture.jpeg) })) };
});

// The address of a picture that was sent as base64.
function toUrl(jpeg) {
  const bytes = Uint8Array.from(atob(jpeg), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

// The model runs in the program that serves this page; the photo is sent there, to this machine, and nowhere else.

import { start } from "./page.js";

start(async (photo) => {
  let response;
  try {
    response = await fetch(`/answer?name=${encodeURIComponent(photo.name)}`, { method: "POST", body: photo });
  } catch {
    throw new Error("No answer: the program in the terminal has ended, or the file is too large or was moved.");
  }
  if (!response.ok) throw new Error(await response.text());
  const answer = await response.json();
  return { ...answer, pictures: answer.pictures.map((one) => ({ ...one, url: drawn(one.jpeg) })) };
});

// The address of a picture whose bytes came as base64.
function drawn(jpeg) {
  const bytes = Uint8Array.from(atob(jpeg), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

// A model on a page of its own: it runs here, in the browser, and no photo leaves it.

import * as ort from "./onnxruntime-web/ort.wasm.bundle.min.js";
import { say, start } from "./page.js";
import { pixels } from "./photo.js";

try {
  const about = await (await fetch("model.json")).json();
  ort.env.wasm.numThreads = 1; // more would need headers that few static servers send
  ort.env.wasm.proxy = true; // in a worker: the page does not freeze
  ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  start((photo) => answer(photo, session, about));
} catch (error) {
  say(`The model cannot be loaded: ${error.message}`);
  throw error;
}

async function answer(photo, session, { classes, side, possible }) {
  const input = new ort.Tensor("float32", await pixels(photo, side), [1, side, side, 3]);
  const output = await session.run({ pixels: input });
  const given = Array.from(output.probability.data);
  const row = given.length === 1 ? [1 - given[0], given[0]] : given; // one sigmoid is P(second class)
  const labels = classes.map((name, label) => ({ name, probability: row[label] }));
  labels.sort((one, other) => other.probability - one.probability);
  return {
    labels,
    unlike: output.unlikeness ? output.unlikeness.data[0] > 1 : null,
    possible: possible === null ? null : labels.filter(({ probability }) => 1 - probability <= possible).map(({ name }) => name),
    pictures: [{ url: URL.createObjectURL(photo), alt: "", caption: "" }],
  };
}

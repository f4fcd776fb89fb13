// A page that runs a model in the browser, so that no photo leaves it.

import * as ort from "./onnxruntime-web/ort.wasm.bundle.min.js";
import { showStatus, start } from "./page.js";
import { readPixels } from "./photo.js";

try {
  const model = await (await fetch("model.json")).json();
  ort.env.wasm.numThreads = 1; // more threads need headers that few static servers send
  ort.env.wasm.proxy = true; // in a worker, so that the page does not freeze
  ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  if (await givesExpectedAnswer(session, model)) start((photo) => predict(photo, session, model));
  else showStatus("This browser computes other probabilities than the model has. Use another browser.");
} catch (error) {
  showStatus(`The model cannot be loaded: ${error.message}`);
  throw error;
}

// Whether this browser predicts for check.png what smallset predicts: some compute wrongly, or change pixels.
async function givesExpectedAnswer(session, model) {
  const { labels, ood_score } = await predict(await (await fetch("check.png")).blob(), session, model);
  const differences = labels.map(({ name, probability }) => probability - model.expected.probabilities[model.classes.indexOf(name)]);
  if (ood_score !== null) differences.push(ood_score / model.expected.ood_score - 1);
  return differences.every((difference) => Math.abs(difference) <= model.expected.tolerance); // false for NaN
}

async function predict(photo, session, { classes, image_size: size, thresholds }) {
  const input = new ort.Tensor("float32", await readPixels(photo, size), [1, size, size, 3]);
  const output = await session.run({ pixels: input });
  const values = Array.from(output.probability.data);
  const probabilities = values.length === 1 ? [1 - values[0], values[0]] : values; // one sigmoid is P(second class)
  const labels = classes.map((name, label) => ({ name, probability: probabilities[label], label }));
  labels.sort((first, second) => second.probability - first.probability);
  const known = thresholds !== null;
  const unknown = known ? output.ood_score.data[0] > 1 : null;
  const members = labels.filter(({ probability, label }) => !unknown && 1 - probability <= thresholds[label]);
  return {
    labels,
    ood_score: known ? output.ood_score.data[0] : null,
    unknown,
    prediction_set: known ? members.map(({ name }) => name) : null,
    pictures: [{ url: URL.createObjectURL(photo), alt: "", caption: "" }],
  };
}

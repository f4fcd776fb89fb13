// A photo's pixels as smallset's own decoder gives them (photos/decoding.py): upright, on white where it is transparent,
// without its colour profile, a large one made smaller first; then resized as TensorFlow does it, bilinear, without
// antialiasing, the aspect ratio given up. A canvas would resize in a way of its own, and labels would change.

const ENOUGH = 1024; // px: a JPEG is divided by 2, 4 or 8 as long as its shorter side keeps so many
const LARGE = 25e6; // pixels; of more, any other photo is divided by the smallest number that suffices
const MOST = 90e6; // pixels that are decoded
const EXIF = 0xe1;
const KEPT = [0xe0, 0xee]; // segments for applications, of a JPEG: what JFIF and Adobe say of its colours

// (side * side * 3) floats, RGB in 0..255, row by row. Error: what is no photo, or none that this browser reads.
export async function pixels(blob, side) {
  const { kind, parts, turn } = plain(new Uint8Array(await blob.arrayBuffer()));
  const bitmap = await decoded(new Blob(parts));
  try {
    return turned(resized(bitmap, divisor(kind, bitmap.width, bitmap.height), side), side, turn);
  } finally {
    bitmap.close();
  }
}

async function decoded(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    throw new Error("This is no photo that this browser can read. JPEG, PNG and WebP will do.");
  }
  if (bitmap.width * bitmap.height > MOST) {
    bitmap.close();
    throw new Error("This photo is too large: at most 90 million pixels are read.");
  }
  return bitmap;
}

// The file in parts without what is no pixel, and how to turn it, by Exif's number: of a JPEG or a PNG. Of other kinds
// the browser sees to both.
function plain(bytes) {
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return { kind: "JPEG", ...segments(bytes) };
    if (bytes[0] === 0x89 && bytes[1] === 0x50) return { kind: "PNG", ...chunks(bytes) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends in the middle: let the browser say what it is
  }
  return { kind: "other", parts: [bytes], turn: 1 };
}

function segments(bytes) {
  const view = new DataView(bytes.buffer);
  const parts = [bytes.subarray(0, 2)];
  let at = 2, exif = 0, xmp = 0;
  while (bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const marker = bytes[at + 1];
    if (marker === 0xff) { at += 1; continue; } // padding
    const segment = bytes.subarray(at, at + 2 + view.getUint16(at + 2));
    const text = marker === EXIF ? latin(segment) : "";
    if (text.startsWith("Exif\0\0", 4)) exif ||= orientation(segment.subarray(10));
    xmp ||= Number(/tiff:Orientation(?:="|>)([0-9])/.exec(text)?.[1] ?? 0);
    if (KEPT.includes(marker) || !((marker >= 0xe0 && marker <= 0xef) || marker === 0xfe)) parts.push(segment);
    at += segment.length;
  }
  parts.push(bytes.subarray(at));
  return { parts, turn: exif || xmp || 1 };
}

function chunks(bytes) {
  const view = new DataView(bytes.buffer);
  const parts = [bytes.subarray(0, 8)];
  let turn = 1;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const chunk = bytes.subarray(at, at + 12 + view.getUint32(at));
    const name = latin(chunk.subarray(4, 8));
    if (name === "eXIf") turn = orientation(chunk.subarray(8)) || 1;
    if (!(chunk[4] & 0x20) || name === "tRNS") parts.push(chunk); // by the case of its first letter, it is needed
    at += chunk.length;
  }
  return { parts, turn };
}

function latin(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}

// Exif's number of how to turn a photo; 0 where it does not say.
function orientation(tiff) {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.length);
  const little = view.getUint16(0) !== 0x4d4d;
  try {
    const start = view.getUint32(4, little);
    for (let number = 0; number < view.getUint16(start, little); number++) {
      const tag = start + 2 + 12 * number;
      if (view.getUint16(tag, little) === 274) return view.getUint16(tag + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // broken metadata are lost, no more
  }
  return 0;
}

// By what both sides are divided first: libjpeg gives the means of 2 x 2, 4 x 4 or 8 x 8 pixels in place of each.
function divisor(kind, width, height) {
  const room = Math.min(Math.floor(width / ENOUGH), Math.floor(height / ENOUGH));
  const scaled = kind === "JPEG" ? [8, 4, 2].find((one) => room >= one) : undefined;
  return scaled ?? Math.ceil(Math.sqrt(Math.max(1, (width * height) / LARGE)));
}

// The two lines (rows or columns) between which each of `side` new ones lies, and where: TensorFlow's half-pixel centres.
function between(length, side) {
  const scale = Math.fround(length / side);
  return Array.from({ length: side }, (_, number) => {
    const at = Math.fround(Math.fround((number + 0.5) * scale) - 0.5);
    const below = Math.floor(at);
    return { low: Math.max(below, 0), high: Math.min(Math.ceil(at), length - 1), share: Math.fround(at - below) };
  });
}

function resized(bitmap, divisor, side) {
  const columns = between(Math.ceil(bitmap.width / divisor), side);
  const rows = between(Math.ceil(bitmap.height / divisor), side);
  const read = reader(bitmap, divisor);
  const result = new Float32Array(side * side * 3);
  rows.forEach((row, y) => {
    const mean = read(row.low, row.high);
    columns.forEach((column, x) => {
      for (let colour = 0; colour < 3; colour++) {
        const upper = mix(mean(row.low, column.low, colour), mean(row.low, column.high, colour), column.share);
        const lower = mix(mean(row.high, column.low, colour), mean(row.high, column.high, colour), column.share);
        result[(y * side + x) * 3 + colour] = mix(upper, lower, row.share);
      }
    });
  });
  return result;
}

function mix(one, other, share) {
  return one + (other - one) * share;
}

// A function that reads a few rows of the divided photo. It gives one of their pixels: a mean, rounded. Few rows at a
// time, for telephones have no canvas for a whole photo.
function reader(bitmap, divisor) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = 2 * divisor;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.fillStyle = "white";
  return (first, last) => {
    const top = first * divisor;
    const height = Math.min((last + 1) * divisor, bitmap.height) - top;
    context.fillRect(0, 0, bitmap.width, height);
    context.drawImage(bitmap, 0, top, bitmap.width, height, 0, 0, bitmap.width, height);
    const { data } = context.getImageData(0, 0, bitmap.width, height);
    return (row, column, colour) => {
      const bottom = Math.min((row + 1) * divisor - top, height);
      const right = Math.min((column + 1) * divisor, bitmap.width);
      let sum = 0, count = 0;
      for (let y = row * divisor - top; y < bottom; y++) {
        for (let x = column * divisor; x < right; x++, count++) sum += data[(y * bitmap.width + x) * 4 + colour];
      }
      return Math.round(sum / count);
    };
  };
}

// The square turned upright. Dividing and resizing treat all sides alike, so it may come last.
function turned(square, side, turn) {
  const end = side - 1;
  const from = {
    2: (x, y) => [end - x, y],
    3: (x, y) => [end - x, end - y],
    4: (x, y) => [x, end - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, end - x],
    7: (x, y) => [end - y, end - x],
    8: (x, y) => [end - y, x],
  }[turn];
  if (!from) return square;
  const result = new Float32Array(square.length);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [column, row] = from(x, y);
      const at = (row * side + column) * 3;
      result.set(square.subarray(at, at + 3), (y * side + x) * 3);
    }
  }
  return result;
}

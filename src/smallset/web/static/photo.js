// The pixels of a photo exactly as smallset's decoder gives them (images/decoding.py): upright, on white where it is
// transparent, converted to sRGB, and a large one reduced first; then resized as TensorFlow does it: bilinear,
// without antialiasing, and without keeping the aspect ratio. A canvas resizes differently, and predictions would change.

const ENOUGH = 1024; // px: a JPEG is divided by 2, 4 or 8 as long as its shorter side keeps this length
const LARGE = 25e6; // pixels; other photos with more are divided by the smallest sufficient number
const MOST = 90e6; // pixels that are decoded
const EXIF = 0xe1;
const COLOR_SEGMENTS = [0xe0, 0xee]; // JFIF and Adobe, which define the colors of a JPEG
const COLOR_CHUNKS = ["tRNS", "iCCP", "sRGB", "gAMA"]; // transparency and colors of a PNG, as in images/color.py

// (size * size * 3) floats, RGB in 0..255, row by row. Throws an Error for a file that this browser cannot read.
export async function readPixels(blob, size) {
  const { kind, parts, orientation } = removeMetadata(new Uint8Array(await blob.arrayBuffer()));
  const bitmap = await decode(new Blob(parts));
  try {
    return rotate(resize(bitmap, findDivisor(kind, bitmap.width, bitmap.height), size), size, orientation);
  } finally {
    bitmap.close();
  }
}

async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "default" });
  } catch {
    throw new Error("This browser cannot read the file as a photo. Use JPEG, PNG or WebP.");
  }
  if (bitmap.width * bitmap.height > MOST) {
    bitmap.close();
    throw new Error("This photo is too large: expected at most 90 million pixels.");
  }
  return bitmap;
}

// The parts of a JPEG or PNG that are needed to decode it, with its colors, and its orientation as in Exif. For other formats, the
// browser handles both.
function removeMetadata(bytes) {
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return { kind: "JPEG", ...readSegments(bytes) };
    if (bytes[0] === 0x89 && bytes[1] === 0x50) return { kind: "PNG", ...readChunks(bytes) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file is truncated: the browser decides about it
  }
  return { kind: "other", parts: [bytes], orientation: 1 };
}

function readSegments(bytes) {
  const view = new DataView(bytes.buffer);
  const parts = [bytes.subarray(0, 2)];
  let start = 2, exif = 0, xmp = 0;
  while (bytes[start] === 0xff && bytes[start + 1] !== 0xda) {
    const marker = bytes[start + 1];
    if (marker === 0xff) { start += 1; continue; } // padding
    const segment = bytes.subarray(start, start + 2 + view.getUint16(start + 2));
    const text = marker === EXIF ? toText(segment) : "";
    if (text.startsWith("Exif\0\0", 4)) exif ||= readOrientation(segment.subarray(10));
    xmp ||= Number(/tiff:Orientation(?:="|>)([0-9])/.exec(text)?.[1] ?? 0);
    const profile = marker === 0xe2 && toText(segment.subarray(4, 16)) === "ICC_PROFILE\0";
    if (profile || COLOR_SEGMENTS.includes(marker) || !((marker >= 0xe0 && marker <= 0xef) || marker === 0xfe)) parts.push(segment);
    start += segment.length;
  }
  parts.push(bytes.subarray(start));
  return { parts, orientation: exif || xmp || 1 };
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer);
  const parts = [bytes.subarray(0, 8)];
  let orientation = 1;
  for (let start = 8; start + 12 <= bytes.length; ) {
    const chunk = bytes.subarray(start, start + 12 + view.getUint32(start));
    const name = toText(chunk.subarray(4, 8));
    if (name === "eXIf") orientation = readOrientation(chunk.subarray(8)) || 1;
    if (!(chunk[4] & 0x20) || COLOR_CHUNKS.includes(name)) parts.push(chunk); // an upper-case first letter marks what is needed
    start += chunk.length;
  }
  return { parts, orientation };
}

function toText(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}

// The orientation in Exif metadata; 0 if there is none.
function readOrientation(tiff) {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.length);
  const little = view.getUint16(0) !== 0x4d4d;
  try {
    const start = view.getUint32(4, little);
    for (let number = 0; number < view.getUint16(start, little); number++) {
      const tag = start + 2 + 12 * number;
      if (view.getUint16(tag, little) === 274) return view.getUint16(tag + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // broken metadata are ignored
  }
  return 0;
}

// The number by which both sides are divided first: libjpeg computes the means of 2 x 2, 4 x 4 or 8 x 8 pixels.
function findDivisor(kind, width, height) {
  const most = Math.min(Math.floor(width / ENOUGH), Math.floor(height / ENOUGH));
  const divisor = kind === "JPEG" ? [8, 4, 2].find((candidate) => most >= candidate) : undefined;
  return divisor ?? Math.ceil(Math.sqrt(Math.max(1, (width * height) / LARGE)));
}

// For each of `size` new lines (rows or columns) the two old ones around it, with TensorFlow's half-pixel centers.
function findNeighbors(length, size) {
  const scale = Math.fround(length / size);
  return Array.from({ length: size }, (_, number) => {
    const position = Math.fround(Math.fround((number + 0.5) * scale) - 0.5);
    const below = Math.floor(position);
    return { low: Math.max(below, 0), high: Math.min(Math.ceil(position), length - 1), share: Math.fround(position - below) };
  });
}

function resize(bitmap, divisor, size) {
  const columns = findNeighbors(Math.ceil(bitmap.width / divisor), size);
  const rows = findNeighbors(Math.ceil(bitmap.height / divisor), size);
  const readRows = createReader(bitmap, divisor);
  const result = new Float32Array(size * size * 3);
  rows.forEach((row, y) => {
    const mean = readRows(row.low, row.high);
    columns.forEach((column, x) => {
      for (let color = 0; color < 3; color++) {
        const upper = interpolate(mean(row.low, column.low, color), mean(row.low, column.high, color), column.share);
        const lower = interpolate(mean(row.high, column.low, color), mean(row.high, column.high, color), column.share);
        result[(y * size + x) * 3 + color] = interpolate(upper, lower, row.share);
      }
    });
  });
  return result;
}

function interpolate(first, second, share) {
  return first + (second - first) * share;
}

// A function that reads a few rows of the divided photo, and returns a function of row, column and color: a rounded
// mean. It reads few rows at a time, because phones have no canvas for a whole photo.
function createReader(bitmap, divisor) {
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
    return (row, column, color) => {
      const bottom = Math.min((row + 1) * divisor - top, height);
      const right = Math.min((column + 1) * divisor, bitmap.width);
      let sum = 0, count = 0;
      for (let y = row * divisor - top; y < bottom; y++) {
        for (let x = column * divisor; x < right; x++, count++) sum += data[(y * bitmap.width + x) * 4 + color];
      }
      return Math.round(sum / count);
    };
  };
}

// The square, upright. Division and resizing treat all sides alike, so this can be the last step.
function rotate(square, size, orientation) {
  const end = size - 1;
  const source = {
    2: (x, y) => [end - x, y],
    3: (x, y) => [end - x, end - y],
    4: (x, y) => [x, end - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, end - x],
    7: (x, y) => [end - y, end - x],
    8: (x, y) => [end - y, x],
  }[orientation];
  if (!source) return square;
  const result = new Float32Array(square.length);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [column, row] = source(x, y);
      const start = (row * size + column) * 3;
      result.set(square.subarray(start, start + 3), (y * size + x) * 3);
    }
  }
  return result;
}

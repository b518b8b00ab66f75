/**
 * Classifies pictures in the browser with an exported model; nothing is sent anywhere.
 *
 *     import { Classifier } from './classifier.js';
 *     const classifier = await Classifier.load('./');
 *     const [best] = await classifier.classify(file);
 *     console.log(best.label, best.probability);
 *
 * Pictures are prepared as they were when the model was evaluated.
 */

const RUNTIME = new URL('./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs', import.meta.url);
const MAX_THREADS = 4;
/** The largest side that a model may ask for, in pixels. */
const MAX_SIDE = 4096;
/** Most pixels that are drawn on a canvas at a time; phones limit it. */
const MAX_CANVAS_PIXELS = 1 << 22;

/** Weights by the distance in pixels; bicubic is Catmull-Rom, as in Pillow. */
const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - x) },
  bicubic: {
    support: 2,
    weight: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0),
  },
};

/**
 * What `load`, `classify` and `prepare` throw; `kind` is one of
 * - `runtime`: ONNX Runtime Web is missing or cannot run here,
 * - `missing`: `model.json` or `model.onnx` could not be fetched,
 * - `model`: they were fetched, and ask for something that this code cannot do,
 * - `picture`: the picture could not be decoded,
 * - `pixels`: it was decoded, and the browser does not give its pixels away.
 */
export class ClassifierError extends Error {
  constructor(kind, message, options) {
    super(message, options);
    this.name = 'ClassifierError';
    this.kind = kind;
  }
}

export class Classifier {
  #ort;
  #session;
  #last = Promise.resolve();

  /**
   * @param {string | URL} folder where `model.onnx` and `model.json` are, relative to the document
   * @param {{ort?: object}} options `ort`: the module `onnxruntime-web/wasm`, if a bundler provides
   *   it; otherwise it is imported from `node_modules` beside this file
   * @returns {Promise<Classifier>}
   */
  static async load(folder = './', { ort } = {}) {
    const base = new URL(folder, globalThis.document?.baseURI ?? import.meta.url);
    const [runtime, manifest, network] = await Promise.all([
      ort ?? importRuntime(),
      fetched(new URL('model.json', base), (response) => response.json()),
      fetched(new URL('model.onnx', base), (response) => response.arrayBuffer()),
    ]);
    if (!Array.isArray(manifest?.labels)) throw new ClassifierError('model', 'model.json has no labels');
    validate(manifest.preprocessing);
    const session = await runtime.InferenceSession.create(new Uint8Array(network)).catch((error) => {
      const kind = /no available backend/i.test(error.message) ? 'runtime' : 'model';
      throw new ClassifierError(kind, error.message, { cause: error });
    });
    return new Classifier(runtime, session, manifest);
  }

  constructor(ort, session, { labels, preprocessing, subject = 'picture', names = {} }) {
    this.#ort = ort;
    this.#session = session;
    /** The classes, in the order of the network's output. */
    this.labels = labels;
    this.preprocessing = preprocessing;
    /** `flower` or `picture`. */
    this.subject = subject;
    /** Names of labels in other languages, by language: `{"zh-CN": {"rose": "玫瑰"}}`. */
    this.names = names;
    /** Version of ONNX Runtime Web. */
    this.runtime = ort.env?.versions?.web ?? '';
  }

  /**
   * All classes with their probabilities, the most likely first.
   * @param {Blob | ImageBitmapSource} picture a file, or anything that `createImageBitmap` takes
   * @returns {Promise<{label: string, probability: number}[]>}
   */
  async classify(picture) {
    const pixels = await this.prepare(picture);
    // A session runs one picture at a time.
    const run = this.#last.then(() => this.#run(pixels));
    this.#last = run.catch(() => {});
    const probabilities = await run;
    const guesses = this.labels.map((label, index) => ({ label, probability: probabilities[index] }));
    return guesses.sort((a, b) => b.probability - a.probability);
  }

  /**
   * What the network sees of a picture: rows of `preprocessing.crop` pixels, 3 bytes (RGB) each.
   * @param {Blob | ImageBitmapSource} picture
   * @returns {Promise<Uint8Array>}
   */
  async prepare(picture) {
    const options = { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' };
    const bitmap = await createImageBitmap(picture, options).catch((error) => {
      throw new ClassifierError('picture', error.message, { cause: error });
    });
    try {
      const plan = planned(bitmap.width, bitmap.height, this.preprocessing);
      return resized(pixelsOf(bitmap, plan), plan);
    } finally {
      bitmap.close();
    }
  }

  /** Frees the memory of the network. */
  async release() {
    await this.#last;
    await this.#session.release();
  }

  async #run(pixels) {
    const { crop } = this.preprocessing;
    const input = new this.#ort.Tensor('uint8', pixels, [1, crop, crop, 3]);
    const { output } = await this.#session.run({ input });
    if (output?.data.length === this.labels.length) return output.data;
    throw new ClassifierError('model', 'the network does not have one output for each label');
  }
}

async function importRuntime() {
  if (typeof WebAssembly !== 'object') throw new ClassifierError('runtime', 'this browser has no WebAssembly');
  const ort = await import(RUNTIME.href).catch((error) => {
    throw new ClassifierError('runtime', error.message, { cause: error });
  });
  // Threads share memory, which browsers allow to isolated pages only.
  const cores = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency ?? 1 : 1;
  ort.env.wasm.numThreads = Math.min(MAX_THREADS, cores);
  return ort;
}

async function fetched(url, read) {
  const file = url.pathname.split('/').pop();
  const response = await fetch(url, { cache: 'no-cache' }).catch((error) => {
    throw new ClassifierError('missing', `${file}: ${error.message}`, { cause: error });
  });
  if (!response.ok) throw new ClassifierError('missing', `${file}: status ${response.status}`);
  return read(response).catch((error) => {
    throw new ClassifierError('model', `${file}: ${error.message}`, { cause: error });
  });
}

function validate(preprocessing) {
  const refuse = (what) => { throw new ClassifierError('model', `preprocessing: ${what}`); };
  // The network normalises by itself.
  const { resize, crop, interpolation, antialias, mean, std, ...others } = preprocessing ?? {};
  for (const [name, value] of Object.entries({ resize, crop })) {
    const isSide = Number.isInteger(value) && value >= 1 && value <= MAX_SIDE;
    if (!isSide) refuse(`${name} is ${value}, it must be 1 to ${MAX_SIDE}`);
  }
  if (resize < crop) refuse(`pictures cannot be resized to ${resize} and cropped to ${crop} pixels`);
  if (!Object.hasOwn(FILTERS, interpolation)) refuse(`interpolation "${interpolation}" is not supported`);
  if (typeof antialias !== 'boolean') refuse(`antialias is ${antialias}, it must be true or false`);
  for (const name of Object.keys(others)) refuse(`"${name}" is not supported`);
}

/**
 * How a picture becomes `crop` x `crop` pixels: its shorter side is resized to `resize`, as
 * torchvision's `Resize` does, and then the centre is cut out. Of both axes, the weights of the
 * pixels that the result needs.
 */
function planned(width, height, preprocessing) {
  const [x, y] = [width, height].map((length) => axis(length, Math.min(width, height), preprocessing));
  // As Pillow 13: the vertical pass first if it takes off more than twice as many rows as columns.
  const rowsFirst = y.lost > 0 && y.lost > 2 * x.lost;
  return { x, y, rowsFirst };
}

function axis(length, short, { resize, crop, interpolation, antialias }) {
  const full = Math.floor((resize * length) / short);
  const scale = length / full;
  const start = roundEven((full - crop) / 2) * scale;
  const lost = length - Math.round((length * crop) / (crop * scale));
  return { ...weights(length, start, crop * scale, crop, FILTERS[interpolation], antialias), lost };
}

/** To the nearest whole number, of two the even one. */
const roundEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/**
 * For each of `count` pixels made of `extent` source pixels from `start` on, where its filter begins
 * and its taps, in fixed point with `precision` bits.
 */
function weights(limit, start, extent, count, filter, antialias) {
  const scale = Math.min(extent, limit - start) / count;
  const stretch = antialias ? Math.max(scale, 1) : 1;
  const radius = filter.support * stretch;
  const rows = Array.from({ length: count }, (_, index) => {
    const centre = start + (index + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - radius));
    const end = Math.min(limit, Math.ceil(centre + radius));
    const weightOf = (_, tap) => filter.weight(Math.abs(first + tap + 0.5 - centre) / stretch);
    const taps = Array.from({ length: end - first }, weightOf);
    const sum = taps.reduce((a, b) => a + b, 0);
    return { first, taps: taps.map((weight) => weight / sum) };
  });
  const largest = Math.max(...rows.map(({ taps }) => Math.max(...taps)));
  let precision = 0;
  while (precision < 21 && Math.round(largest * 2 ** (precision + 1)) < 1 << 15) precision += 1;
  // Halves are rounded away from zero.
  const rounded = (weight) => Math.sign(weight) * Math.round(Math.abs(weight) * 2 ** precision);
  const fixed = rows.map(({ taps }) => Int32Array.from(taps, rounded));
  const from = rows[0].first;
  const length = rows.at(-1).first + fixed.at(-1).length - from;
  return { count, precision, from, length, first: rows.map(({ first }) => first - from), taps: fixed };
}

/** Both passes over RGBA pixels, with rounding to whole values between them as Pillow has it. */
function resized(pixels, { x, y, rowsFirst }) {
  const source = { data: pixels, channels: 4, width: x.length, height: y.length };
  const passes = rowsFirst ? [[y, false], [x, true]] : [[x, true], [y, false]];
  const { data } = passes.reduce((image, [weights, across]) => pass(image, weights, across), source);
  return new Uint8Array(data.buffer);
}

/** Filters RGB or RGBA across its columns or down its rows; the result is RGB. */
function pass({ data, channels, width, height }, { count, precision, first, taps }, across) {
  const [columns, rows] = across ? [count, height] : [width, count];
  const result = new Uint8ClampedArray(3 * columns * rows);
  const step = across ? channels : channels * width;
  const half = 1 << (precision - 1);
  let at = 0;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const index = across ? column : row;
      const window = taps[index];
      let source = channels * (across ? row * width + first[index] : first[index] * width + column);
      let [red, green, blue] = [half, half, half];
      for (let tap = 0; tap < window.length; tap += 1) {
        red += window[tap] * data[source];
        green += window[tap] * data[source + 1];
        blue += window[tap] * data[source + 2];
        source += step;
      }
      result[at] = red >> precision;
      result[at + 1] = green >> precision;
      result[at + 2] = blue >> precision;
      at += 3;
    }
  }
  return { data: result, channels: 3, width: columns, height: rows };
}

/** The RGBA pixels of the part of a picture that is needed. */
function pixelsOf(bitmap, { x, y }) {
  const pixels = new Uint8Array(4 * x.length * y.length);
  const band = Math.max(1, Math.min(y.length, Math.floor(MAX_CANVAS_PIXELS / x.length)));
  const context = new OffscreenCanvas(x.length, band).getContext('2d', { willReadFrequently: true });
  checkReadable(context);
  for (let top = 0; top < y.length; top += band) {
    const rows = Math.min(band, y.length - top);
    context.clearRect(0, 0, x.length, band);
    context.drawImage(bitmap, -x.from, -y.from - top);
    pixels.set(context.getImageData(0, 0, x.length, rows).data, 4 * top * x.length);
  }
  for (let alpha = 3; alpha < pixels.length; alpha += 4) {
    if (pixels[alpha] !== 255) return straightPixelsOf(bitmap, { x, y }, pixels);
  }
  return pixels;
}

/** Against fingerprinting, some browsers give noise instead of pixels. */
function checkReadable(context) {
  context.fillStyle = '#8040c0';
  context.fillRect(0, 0, 1, 1);
  const { data } = context.getImageData(0, 0, 1, 1);
  const isRead = [0x80, 0x40, 0xc0].every((value, channel) => Math.abs(value - data[channel]) < 8);
  if (!isRead) throw new ClassifierError('pixels', 'the browser does not let pages read pixels');
}

/** As `pixelsOf`, with the colours beneath transparency, which a 2D canvas loses. */
function straightPixelsOf(bitmap, { x, y }, pixels) {
  const gl = new OffscreenCanvas(1, 1).getContext('webgl');
  if (!gl) throw new ClassifierError('pixels', 'transparent pictures need WebGL, which this browser does not offer');
  if (Math.max(bitmap.width, bitmap.height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
    throw new ClassifierError('pixels', `a transparent picture of ${bitmap.width} x ${bitmap.height} pixels is too large`);
  }
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  gl.readPixels(x.from, y.from, x.length, y.length, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return pixels;
}

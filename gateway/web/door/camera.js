// Reads QR codes from the camera: with the browser's detector if it has one, otherwise with a decoder in JavaScript that is
// fetched only then.

/** Frames that are decoded in a second. */
const FRAMES_PER_SECOND = 8;
/** The width of a decoded frame in pixels: enough for a code at arm's length, little enough for a slow phone. */
const WIDTH = 800;

/** The camera cannot be used; `code` is "none" or "denied". */
export class NoCamera extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** Shows the camera in `video` and calls `onCode` with each code, until `signal` aborts. */
export async function watch(video, onCode, signal) {
  if (!navigator.mediaDevices?.getUserMedia) throw new NoCamera("none");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    throw new NoCamera(error.name === "NotAllowedError" ? "denied" : "none");
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  if (signal.aborted) return stop();
  signal.addEventListener("abort", stop);
  const read = await reader();
  video.srcObject = stream;
  await video.play();
  let timer;
  const decodeNext = async () => {
    const text = video.readyState >= 2 ? await read(video).catch(() => null) : null;
    if (signal.aborted) return;
    if (text) onCode(text);
    timer = setTimeout(decodeNext, 1000 / FRAMES_PER_SECOND);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  decodeNext();
}

/** Returns a function that reads the code of a video frame, or null if there is none. */
async function reader() {
  const formats = (await globalThis.BarcodeDetector?.getSupportedFormats?.().catch(() => [])) ?? [];
  if (formats.includes("qr_code")) {
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    return async (video) => (await detector.detect(video))[0]?.rawValue ?? null;
  }
  const { default: decode } = await import("../vendor/qr/decode.js");
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return async (video) => {
    canvas.width = Math.min(WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    try {
      return decode(context.getImageData(0, 0, canvas.width, canvas.height));
    } catch {
      // No code in this frame.
      return null;
    }
  };
}

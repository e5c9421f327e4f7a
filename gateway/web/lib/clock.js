// The server's clock: what is on sale, held or over is so by it, and a visitor's device may be minutes off. Each answer's
// `Date` says a time that has been reached there; it runs on by the device's counter, which nobody sets.

const KEPT = "marquee.clock";
/** A device is as good as right within this: the header has no fractions of a second. */
const CLOSE_MS = 2000;

/** The server's time when this page's counter was zero, as late as any answer has shown it; null before the first. */
let zero = null;

/** Learns from an answer. One that was kept on the way has an older date and changes nothing. */
export function learn(response) {
  const said = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isNaN(said)) return;
  const found = said - performance.now();
  if (zero !== null && found <= zero) return;
  zero = found;
  // For the next time that this page opens without a connection.
  const off = now() - Date.now();
  try {
    if (Math.abs(off) > CLOSE_MS) localStorage.setItem(KEPT, String(Math.round(off)));
    else localStorage.removeItem(KEPT);
  } catch {
    // Without storage the device's own clock has to do then.
  }
}

/** Now, in milliseconds as `Date.now()` counts them. */
export function now() {
  return zero === null ? Date.now() + kept() : zero + performance.now();
}

/** Whether a time is past. */
export const isPast = (at) => new Date(at) <= now();

function kept() {
  try {
    return Number(localStorage.getItem(KEPT) ?? 0) || 0;
  } catch {
    return 0;
  }
}

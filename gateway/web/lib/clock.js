// The server's clock, which decides what is on sale, held or over; a visitor's device may be minutes off. Each response's `Date`
// header gives a lower bound of the server's time; it is carried on by the device's monotonic counter.

const KEPT = "marquee.clock";
/** Smaller differences from the device's clock are ignored: the header has no fractions of a second. */
const CLOSE_MS = 2000;

/** The server's time when this page's counter was zero (the latest that any response has shown), or null before the first response. */
let zero = null;

/** Reads the server's time from a response. A cached response has an older date and changes nothing. */
export function learn(response) {
  const said = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isNaN(said)) return;
  const found = said - performance.now();
  if (zero !== null && found <= zero) return;
  zero = found;
  // For a later start of this page without a connection.
  const off = now() - Date.now();
  try {
    if (Math.abs(off) > CLOSE_MS) localStorage.setItem(KEPT, String(Math.round(off)));
    else localStorage.removeItem(KEPT);
  } catch {
    // Without storage such a start uses the device's clock.
  }
}

/** The server's time now, in milliseconds like `Date.now()`. */
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

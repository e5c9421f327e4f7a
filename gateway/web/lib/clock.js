// The server's clock, which decides what is on sale, held or over; a visitor's device may be minutes off. Each response's `Date`
// header gives a lower bound of the server's time; it is carried on by the device's monotonic counter.

const STORAGE_KEY = "marquee.clock";
/** Smaller differences from the device's clock are ignored: the header has no fractions of a second. */
const CLOSE_MS = 2000;

/** The server's time when this page's counter was zero (the latest that any response has shown), or null before the first response. */
let zero = null;

/** Reads the server's time from a response. A cached response has an older date and changes nothing. */
export function syncClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isNaN(date)) return;
  const start = date - performance.now();
  if (zero !== null && start <= zero) return;
  zero = start;
  // For a later start of this page without a connection.
  const off = now() - Date.now();
  try {
    if (Math.abs(off) > CLOSE_MS) localStorage.setItem(STORAGE_KEY, String(Math.round(off)));
    else localStorage.removeItem(STORAGE_KEY);
  } catch {
    // Without storage such a start uses the device's clock.
  }
}

/** The server's time now, in milliseconds like `Date.now()`. */
export function now() {
  return zero === null ? Date.now() + storedOffset() : zero + performance.now();
}

/** Whether a time is past. */
export const isPast = (at) => new Date(at) <= now();

/** Whether a showtime takes place and has not begun; `saleOf` says whether it is sold now. */
export const isOpen = (showtime) => showtime.status === "ON_SALE" && !isPast(showtime.startsAt);

function storedOffset() {
  try {
    return Number(localStorage.getItem(STORAGE_KEY) ?? 0) || 0;
  } catch {
    return 0;
  }
}

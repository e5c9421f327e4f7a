// Waits until the server can be reached again, after a page could not be loaded.

/** Pauses in ms between two tries. The first is short, since most interruptions are; at most half a minute, since the page shows outdated data meanwhile. */
const PAUSES = [1000, 2000, 5000, 10_000, 30_000];
/** A server that answers nothing for so long (ms) is not reached. */
const ANSWER_MS = 5000;

/** How often the address was tried again since a page was last shown. */
let tries = 0;

/** The pause in ms after so many failed tries. */
export const pauseAfter = (failed) => PAUSES[Math.min(failed, PAUSES.length - 1)];

/** A page was shown: the next interruption begins with the shortest pause. */
export const connected = () => (tries = 0);

/** Calls `back()` once when the server answers: after a pause, or as soon as the browser is online or the tab is shown again. */
export function whenReachable(back, signal) {
  let timer;
  let isAsking = false;
  const ask = async () => {
    if (isAsking || signal.aborted) return;
    clearTimeout(timer);
    isAsking = true;
    const isReached = await isReachable();
    isAsking = false;
    if (signal.aborted) return;
    if (isReached) back();
    else wait();
  };
  const wait = () => {
    timer = setTimeout(ask, pauseAfter(tries++));
  };
  addEventListener("online", ask, { signal });
  document.addEventListener("visibilitychange", () => !document.hidden && ask(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  wait();
}

async function isReachable() {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), ANSWER_MS);
  try {
    const response = await fetch("/health/live", { cache: "no-store", signal: timeout.signal });
    return response.status < 500;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

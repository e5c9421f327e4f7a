// Gives held seats back when the last tab of the site is closed, by a worker that outlives it. Held seats that are being paid are kept,
// and so are those of a page that the browser keeps for going back. Without workers a hold ends by its time.

import { bearer } from "../lib/api.js";
import { holds } from "../lib/holds.js";

const WORKER = new URL("./leaving-worker.js", import.meta.url);

let watching = null;

/** Begins to watch, once. */
export function watchLeaving() {
  watching ??= begin();
}

async function begin() {
  const worker = await registered();
  addEventListener("pagehide", (event) => {
    const ids = holds().filter((hold) => !hold.isPaying).map((hold) => hold.id);
    if (!event.persisted && ids.length) worker?.postMessage({ ids, token: bearer() });
  });
  performance.mark("leaving-watched");
}

async function registered() {
  try {
    const registration = await navigator.serviceWorker.register(WORKER);
    // Workers of older versions of the page are not needed any more.
    for (const other of await navigator.serviceWorker.getRegistrations()) {
      if (other !== registration && other.scope.includes("/assets/")) other.unregister();
    }
    return registration.active ?? registration.waiting ?? registration.installing;
  } catch {
    return null;
  }
}

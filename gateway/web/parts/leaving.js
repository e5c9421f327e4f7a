// Leaving releases what is held and not being paid. Going to the provider's page is not leaving, nor is a reload: a page
// that goes cannot tell which it is, so a worker that outlives it waits a moment for it to come back. Where there are no
// workers the hold ends by itself.

import { bearer, call } from "../lib/api.js";

const WORKER = new URL("./leaving-worker.js", import.meta.url);

const watcher = registered();

/** Gives a reservation back when its page is left, unless `keep()` says that it is being paid. Returns what to do then. */
export function leaving(reservation, { signal, keep }) {
  const { id } = reservation;
  let worker = null;
  let done = false;
  const tell = (kind) => worker?.postMessage({ kind, id, token: bearer() });
  watcher.then((found) => {
    worker = found;
    tell("back");
    performance.mark("leaving-watched");
  });
  const release = () => {
    done = true;
    return call("POST", `/v1/reservations/${id}/cancel`, { keepalive: true }).catch(() => {});
  };
  const hidden = (event) => {
    if (done || keep()) return;
    // Kept to come back to: it was left by a link or an address, never by a reload. Such a page's messages go nowhere.
    if (event.persisted) release();
    else tell("left");
  };
  addEventListener("pagehide", hidden, { signal });
  addEventListener("pageshow", () => tell("back"), { signal });
  return () => (done || keep() ? null : release());
}

async function registered() {
  try {
    const registration = await navigator.serviceWorker.register(WORKER);
    // Those of older versions of the page have nothing left to wait for.
    for (const other of await navigator.serviceWorker.getRegistrations()) {
      if (other !== registration && other.scope.includes("/assets/")) other.unregister();
    }
    return registration.active ?? registration.waiting ?? registration.installing;
  } catch {
    return null;
  }
}

// Releases a hold that is not being paid when its page is left. Going to the provider's page is not leaving, and neither is a
// reload: a page that unloads cannot tell which it is, so a worker that outlives it waits a moment for it to come back. Without
// workers the hold expires by itself.

import { bearer, call } from "../lib/api.js";

const WORKER = new URL("./leaving-worker.js", import.meta.url);

const watcher = registered();

/** Releases a reservation when its page is left, unless `keep()` returns true. Returns a function to call when the router leaves the page. */
export function leaving(reservation, { signal, keep }) {
  const { id } = reservation;
  let worker = null;
  let done = false;
  const notifyWorker = (kind) => worker?.postMessage({ kind, id, token: bearer() });
  watcher.then((found) => {
    worker = found;
    notifyWorker("back");
    performance.mark("leaving-watched");
  });
  const release = () => {
    done = true;
    return call("POST", `/v1/reservations/${id}/cancel`, { keepalive: true }).catch(() => {});
  };
  const hidden = (event) => {
    if (done || keep()) return;
    // `persisted`: the page is kept for going back, so it was left and not reloaded. Messages of such a page are not delivered.
    if (event.persisted) release();
    else notifyWorker("left");
  };
  addEventListener("pagehide", hidden, { signal });
  addEventListener("pageshow", () => notifyWorker("back"), { signal });
  return () => (done || keep() ? null : release());
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

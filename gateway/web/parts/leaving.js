// Leaving releases what is held and not being paid. Going to the provider's page is not leaving, nor is a reload; where a
// browser cannot tell a reload from a closed tab, the hold ends by itself instead.

import { call } from "../lib/api.js";

/** A reload is announced just before the page goes. */
const ANNOUNCED = 3000;

/** Gives a reservation back when its page is left, unless `keep()` says that it is being paid. Returns what to do then. */
export function leaving(reservation, { signal, keep }) {
  let reloaded = 0;
  let done = false;
  const release = (keepalive) => {
    if (done || keep()) return null;
    done = true;
    return call("POST", `/v1/reservations/${reservation.id}/cancel`, { keepalive }).catch(() => {});
  };
  const announced = (event) => {
    // Back to this same page from elsewhere in it is not a reload.
    if (event.navigationType === "reload") reloaded = Date.now();
  };
  const hidden = (event) => {
    const isReload = Date.now() - reloaded < ANNOUNCED;
    if (window.navigation && !isReload && !event.persisted) release(true);
  };
  window.navigation?.addEventListener("navigate", announced, { signal });
  addEventListener("pagehide", hidden, { signal });
  return () => release(false);
}

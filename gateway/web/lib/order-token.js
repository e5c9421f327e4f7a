// The token of a mail's link, which opens its order without a login. It is in the fragment of the address, which no server gets, and
// is moved from there to this tab's storage, so that the address can be shown and shared.

const KEY = "marquee.order.";
const FRAGMENT = /^#token=([\w.-]+)$/;
const PATH = /^\/v1\/reservations\/([0-9a-f-]{36})(?:\/(?:(?:tickets|receipt)(?:\.pdf)?|cancel|cancellation|exchange|customer))?$/;

/** Takes the token of an order out of the address. */
export function takeOrderToken(id) {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return;
  storeOrderToken(id, found[1]);
  history.replaceState(history.state, "", location.pathname + location.search);
}

export const storeOrderToken = (id, token) => sessionStorage.setItem(KEY + id, token);

/** The order that a request for this path is about, if the token of an order may permit it. */
export const orderOf = (path) => PATH.exec(path)?.[1];

/** The token that opens an order, if this tab has one. */
export const orderToken = (id) => (id ? sessionStorage.getItem(KEY + id) : null);

/** Drops a token that opens its order no more: the login decides then. */
export const dropOrderToken = (id) => sessionStorage.removeItem(KEY + id);

/** The order `to` takes the place of `from`: its token opens both. */
export function shareOrderToken(from, to) {
  const token = orderToken(from);
  if (token && to) storeOrderToken(to, token);
}

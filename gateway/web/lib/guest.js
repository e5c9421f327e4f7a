// A visitor who buys without an account. The access token of a guest owns the orders that are made with it, for an hour; it is kept
// in this tab's storage, so that it is there again after the payment page. A login adds the guest's orders to the account.

import { now } from "./clock.js";

const KEY = "marquee.guest";

/** `{userId, token, endsAt}` of this tab's guest, or null. */
export function guest() {
  const stored = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (stored && stored.endsAt > now()) return stored;
  if (stored) dropGuest();
  return null;
}

/** Stores a guest as the server has just made it: `{userId, accessToken, expiresIn}`. */
export function storeGuest({ userId, accessToken, expiresIn }) {
  sessionStorage.setItem(KEY, JSON.stringify({ userId, token: accessToken, endsAt: now() + expiresIn * 1000 }));
}

export const dropGuest = () => sessionStorage.removeItem(KEY);

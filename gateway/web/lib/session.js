// The logged-in user. Pages read `user()` and are notified of changes by `onUser`; logging in and out is done here, by cookie.

import { LOGIN_KEY, Problem, call, hasToken, hasLogin, setSession, onSession, refresh } from "./api.js";
import { dropGuest, guest } from "./guest.js";
import { dropAll } from "./kept.js";
import { dropOrderToken, orderToken } from "./order-token.js";

let present = null;
const listeners = new Set();
const PAGE = { "X-Refresh-Cookie": "true" };

onSession((session) => {
  const before = present?.id;
  present = session?.user ?? null;
  if (!session) dropAll();
  if (before !== present?.id) for (const listener of listeners) listener(present);
});

// Logged in or out in another tab.
addEventListener("storage", (event) => {
  if (event.key !== LOGIN_KEY) return;
  if (event.newValue === null) setSession(null);
  // The seats that this tab holds as a guest go to the account.
  else if (!hasToken()) refresh().then(() => merge(null)).catch(() => {});
});

/** `{id, email, name, role}`, or null. */
export const user = () => present;
export const isStaff = () => present?.role === "ADMIN" || present?.role === "SUPER_ADMIN";
export const isOwner = () => present?.role === "SUPER_ADMIN";

/** The part of a query for the user's own orders: without it staff get everybody's. */
export async function ownOrders() {
  await restore();
  return isStaff() ? { userId: user().id } : {};
}

/** Calls `listener` at each change of the user; returns a function that stops it. */
export function onUser(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Restores this browser's login, if it has one. Never fails: without a server there is no user for now. */
export async function restore() {
  if (hasLogin() && !hasToken()) await refresh().catch(() => {});
  return present;
}

/**
 * Logs in, and adds this tab's guest orders to the account; with `order` also the order of the mail's link that this tab has opened.
 * Returns the problem of adding them, if there was one: the login stands.
 */
export async function logIn(email, password, order) {
  setSession(await call("POST", "/v1/auth/cookie/login", { body: { email, password }, headers: PAGE }));
  return merge(order);
}

/** Opens an account, likewise. By the link of a guest's mail the account keeps the guest's orders itself. */
export async function register(name, email, password, order) {
  const token = orderToken(order);
  const body = { name, email, password, ...(token && { orderToken: token }) };
  setSession(await call("POST", "/v1/auth/cookie/register", { body, headers: PAGE }));
  return merge(null);
}

async function merge(order) {
  const token = guest()?.token;
  const problem = (token && (await mergeBy(token))) || (orderToken(order) && (await mergeBy(orderToken(order))));
  if (!problem) dropGuest();
  return problem || null;
}

/** Adds the orders of a token to the account. Returns the problem, if there was one. */
async function mergeBy(token) {
  try {
    const { reservations } = await call("POST", "/v1/reservations/merge", { body: { token } });
    for (const { id } of reservations) dropOrderToken(id);
  } catch (problem) {
    if (problem instanceof Problem) return problem;
    throw problem;
  }
}

/** Sets a new password with the token of a mailed link, and logs in. */
export async function resetPassword(token, password) {
  setSession(await call("POST", "/v1/auth/cookie/reset", { body: { token, password }, headers: PAGE }));
}

export async function logOut() {
  await call("POST", "/v1/auth/cookie/logout", { headers: PAGE }).catch((problem) => {
    // 401: already logged out.
    if (problem.status !== 401) throw problem;
  });
  setSession(null);
}

/** Updates the user after a change of the name. */
export function rename(user) {
  present = user;
  for (const listener of listeners) listener(present);
}

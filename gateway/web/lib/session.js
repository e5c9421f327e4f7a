// Who is here. Pages ask for `user()`, and hear when it changes; logging in and out goes through here, by cookie.

import { KNOWN, call, hasToken, isKnown, keep, onSession, refresh } from "./api.js";

let present = null;
const listeners = new Set();
const PAGE = { "X-Refresh-Cookie": "true" };

onSession((session) => {
  const before = present?.id;
  present = session?.user ?? null;
  if (before !== present?.id) for (const listener of listeners) listener(present);
});

// Logged in or out in another tab.
addEventListener("storage", (event) => {
  if (event.key !== KNOWN) return;
  if (event.newValue === null) keep(null);
  else if (!hasToken()) refresh().catch(() => {});
});

/** `{id, email, name, role}`, or null. */
export const user = () => present;
export const isStaff = () => present?.role === "ADMIN" || present?.role === "SUPER_ADMIN";
export const isOwner = () => present?.role === "SUPER_ADMIN";

/** Hears each change of who is here; returns what stops it. */
export function onUser(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Goes on with this browser's login, if it has one. Never fails: without the house one is nobody for now. */
export async function restore() {
  if (isKnown() && !hasToken()) await refresh().catch(() => {});
  return present;
}

export async function logIn(email, password) {
  keep(await call("POST", "/v1/auth/cookie/login", { body: { email, password }, headers: PAGE }));
}

export async function register(name, email, password) {
  keep(await call("POST", "/v1/auth/cookie/register", { body: { name, email, password }, headers: PAGE }));
}

export async function logOut() {
  await call("POST", "/v1/auth/cookie/logout", { headers: PAGE }).catch((problem) => {
    // Whoever is logged out already wanted just that.
    if (problem.status !== 401) throw problem;
  });
  keep(null);
}

/** The account changed by itself: a new name. */
export function rename(user) {
  present = user;
  for (const listener of listeners) listener(present);
}

// The logged-in user. Pages read `user()` and are notified of changes by `onUser`; logging in and out is done here, by cookie.

import { LOGIN_KEY, call, hasToken, hasLogin, setSession, onSession, refresh } from "./api.js";

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
  if (event.key !== LOGIN_KEY) return;
  if (event.newValue === null) setSession(null);
  else if (!hasToken()) refresh().catch(() => {});
});

/** `{id, email, name, role}`, or null. */
export const user = () => present;
export const isStaff = () => present?.role === "ADMIN" || present?.role === "SUPER_ADMIN";
export const isOwner = () => present?.role === "SUPER_ADMIN";

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

export async function logIn(email, password) {
  setSession(await call("POST", "/v1/auth/cookie/login", { body: { email, password }, headers: PAGE }));
}

export async function register(name, email, password) {
  setSession(await call("POST", "/v1/auth/cookie/register", { body: { name, email, password }, headers: PAGE }));
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

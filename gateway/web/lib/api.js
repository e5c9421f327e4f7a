// Requests to the public REST API. The access token is kept here, in memory; the refresh token is in a cookie that no
// script can read. A refused request throws a `Problem`; a request without a response is repeated only if that is safe.

import { now, syncClock } from "./clock.js";
import { dropGuest, guest, storeGuest } from "./guest.js";
import { dropOrderToken, orderOf, orderToken, storeOrderToken } from "./order-token.js";
import { language } from "./text.js";

/** An error response (RFC 9457), or no response at all (`code` "offline"). */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? problem.code);
    Object.assign(this, problem);
  }
}

/** Without an answer of our server: no connection, or a proxy whose server is away. */
export const isOffline = (problem) => problem instanceof Problem && [0, 502, 503, 504].includes(problem.status);

/** A module that could not be loaded is a lost connection, too; other errors are returned as they are. */
export function withoutModule(error) {
  const isImport = error instanceof TypeError && /module/i.test(error.message);
  return isImport ? new Problem({ status: 0, code: "offline", detail: error.message }) : error;
}

const REFRESH = "/v1/auth/cookie/refresh";
/** The storage key that says, also to other tabs, that this browser has a login. Not a secret. */
export const LOGIN_KEY = "marquee.login";
/** Pauses in ms before a read is repeated when the server is away or the connection breaks; after that the user decides. */
const PAUSES = [400, 1200];
/** The longest time (ms) from holding seats to paying for them. */
const ORDER_MS = 25 * 60_000;

let access = null;
let listener = () => {};

/** Calls `callback(session | null)` at each login, and at its end. */
export function onSession(callback) {
  listener = callback;
}

export const hasLogin = () => localStorage.getItem(LOGIN_KEY) !== null;
export const hasToken = () => access !== null;
/** Whether requests are made for somebody: a login, or a guest. */
export const isSomebody = () => hasLogin() || guest() !== null;
/** The access token, for workers and uploads. */
export const bearer = () => access ?? guest()?.token ?? null;

/** Stores a login, or removes it (`null`). */
export function setSession(session) {
  access = session?.accessToken ?? null;
  if (session) localStorage.setItem(LOGIN_KEY, "1");
  else localStorage.removeItem(LOGIN_KEY);
  listener(session);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
/** A new idempotency key. Over plain http browsers have no `randomUUID`. */
export const newKey = () => crypto.randomUUID?.() ?? `${performance.now()}-${Math.random()}`;

/**
 * One request. `options`: query, body, key (idempotency), keepalive, signal, headers, cache, form (instead of a JSON body), isPublic
 * (the same for everybody: it neither waits for the login nor sends it, so that the answer which the page's HTML has preloaded is used),
 * order (the id of the order that it is about, where the path does not name it).
 * The answer's JSON, or the blob of a PDF or CSV.
 */
export async function call(method, path, options = {}) {
  const key = options.key ?? (method === "GET" ? undefined : newKey());
  // Repeating is safe for reads, and for writes whose idempotency key the server stores.
  const again = method === "GET" || options.key !== undefined;
  // The token of an order does not correct its address.
  const order = options.order ?? (method === "PATCH" ? undefined : orderOf(path));
  if (!access && hasLogin() && !options.isPublic && !path.startsWith("/v1/auth/")) await refresh().catch(() => {});
  for (let tried = 0; ; tried++) {
    try {
      return await send(method, path, { ...options, key, order });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      const isRefused = [401, 403, 404].includes(problem.status) && problem.code !== "receipt-not-ready";
      if (method === "GET" && isRefused && orderToken(order)) {
        dropOrderToken(order);
        continue;
      }
      // An order that the login could not take over, since it was being paid, is still the guest's.
      if (method === "GET" && problem.status === 404 && order && access && guest() && !options.asGuest) {
        storeOrderToken(order, guest().token);
        options = { ...options, asGuest: true };
        continue;
      }
      // A token contains whether the address was confirmed when the token was issued; a new token may differ.
      const isStale = problem.code === "email-unproven" || (problem.status === 401 && problem.code.startsWith("token-"));
      const isOld = isStale && access && !options.refreshed;
      // A refused password, or link of a mail, says nothing about the guest.
      if (problem.status === 401 && !access && !path.startsWith("/v1/auth/") && !orderToken(order)) dropGuest();
      if (isOld) {
        await refresh();
        options = { ...options, refreshed: true };
      } else if (again && isOffline(problem) && tried < PAUSES.length && !options.signal?.aborted) {
        await pause(PAUSES[tried]);
      } else {
        throw problem;
      }
    }
  }
}

export const get = (path, query, options) => call("GET", path, { query, ...options });
export const post = (path, body, options) => call("POST", path, { body, ...options });
export const put = (path, body, options) => call("PUT", path, { body, ...options });
export const patch = (path, body, options) => call("PATCH", path, { body, ...options });
export const remove = (path, options) => call("DELETE", path, options);

async function send(method, path, { query, body, form, key, keepalive, signal, headers, cache, isPublic, order }) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const url = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const head = { ...(!isPublic && { Accept: "application/json" }), ...headers };
  // The page's language, not the browser's: mails are written in it.
  if (method !== "GET") head["Accept-Language"] = language;
  const token = orderToken(order) || access || (!hasLogin() && !path.startsWith("/v1/auth/") && guest()?.token);
  if (token && !isPublic) head.Authorization = `Bearer ${token}`;
  if (key) head["Idempotency-Key"] = key;
  if (body !== undefined) head["Content-Type"] = "application/json";
  const content = form ?? (body === undefined ? undefined : JSON.stringify(body));
  let response;
  try {
    response = await fetch(url, { method, headers: head, body: content, keepalive, signal, cache, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, code: "offline", detail: String(error.message) });
  }
  syncClock(response);
  return answer(response);
}

/** Makes this visitor a guest, unless there is a login or a guest whose token is valid for long enough. */
export async function becomeGuest() {
  const before = guest();
  if (hasLogin() || (before && before.endsAt - now() > ORDER_MS)) return;
  const unpaid = before ? await all("/v1/reservations", { status: "PENDING" }) : [];
  for (const { id } of unpaid) storeOrderToken(id, before.token);
  storeGuest(await call("POST", "/v1/auth/guest", { body: {} }));
}

/** A stream of server-sent events that needs the login, which `EventSource` cannot send: an async iterator of `{name, data}`. */
export async function* events(path, signal) {
  if (!access && hasLogin()) await refresh();
  const head = () => ({ Accept: "text/event-stream", Authorization: `Bearer ${access}` });
  let response = await fetch(path, { headers: head(), signal, cache: "no-store" });
  if (response.status === 401 && hasLogin()) {
    await refresh();
    response = await fetch(path, { headers: head(), signal, cache: "no-store" });
  }
  syncClock(response);
  if (!response.ok) await answer(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = (name) => block.split("\n").find((part) => part.startsWith(`${name}: `))?.slice(name.length + 2);
      // A comment, which only keeps the connection open, has no data.
      if (line("data")) yield { name: line("event") ?? "message", data: JSON.parse(line("data")) };
    }
  }
}

async function answer(response) {
  const type = response.headers.get("Content-Type") ?? "";
  const body = type.includes("json") ? await response.json().catch(() => null) : null;
  if (response.ok) return /pdf|csv/.test(type) ? response.blob() : body;
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  throw new Problem({ code: `http-${response.status}`, ...body, status: response.status, retryAfter });
}

let refreshing = null;

/**
 * Gets a new access token by the cookie, one request at a time in all tabs, since a refresh token can be used once. If a page was left
 * before its new cookie arrived, the next page sends the old one again, which the server accepts for some seconds.
 */
export function refresh() {
  refreshing ??= locked(requestToken).finally(() => (refreshing = null));
  return refreshing;
}

function locked(work) {
  return navigator.locks ? navigator.locks.request("marquee.refresh", work) : work();
}

async function requestToken() {
  try {
    const headers = { "X-Refresh-Cookie": "true", Accept: "application/json" };
    // `keepalive`: the request outlives the page, so that the new cookie arrives even then.
    const response = await fetch(REFRESH, { method: "POST", headers, keepalive: true, credentials: "same-origin" });
    setSession(await answer(response));
  } catch (problem) {
    if (problem.status === 401) setSession(null);
    if (problem instanceof Problem) throw problem;
    throw new Problem({ status: 0, code: "offline", detail: String(problem.message) });
  }
}

/** Longer lists are not read whole: they would be several MB. */
const ITEMS_MAX = 5000;

/**
 * Every item of a list, read page by page, up to `most`. The array has `total`, the number of items on the server, so that a page
 * which shows fewer can say so, and `first`, the first response.
 */
export async function all(path, query, { most = ITEMS_MAX, ...options } = {}) {
  const items = [];
  const ids = new Set();
  let first;
  for (let page = 1; ; page++) {
    const answer = await get(path, { pageSize: 100, ...query, page }, options);
    first ??= answer;
    for (const item of answer.items) {
      // An item added meanwhile moves others to the next page.
      if (item.id !== undefined && ids.has(item.id)) continue;
      ids.add(item.id);
      items.push(item);
    }
    if (!answer.items.length || page * answer.pageSize >= answer.total || items.length >= most) return Object.assign(items.slice(0, most), { total: answer.total, first });
  }
}

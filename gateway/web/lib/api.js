// The REST API as everybody has it. The access token lives here, in memory; the refresh token is in a cookie that no
// script can read. A refused request throws a `Problem`; what was lost on the way is sent again only where that is harmless.

import { learn } from "./clock.js";

/** An answer that says no (RFC 9457), or none at all (`code` "offline"). */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? problem.code);
    Object.assign(this, problem);
  }
  /** What is wrong with a field, if anything. */
  of(field) {
    return this.errors?.find((error) => error.field === field)?.message;
  }
}

const REFRESH = "/v1/auth/cookie/refresh";
/** Says, also to other tabs, that this browser has a login. Not a secret. */
export const KNOWN = "marquee.login";
/** Reads are tried again after these pauses when the house is away or the line breaks; then the reader decides. */
const PAUSES = [400, 1200];

let access = null;
let listener = () => {};

/** Calls `heard(session | null)` with each new login, and with its end. */
export function onSession(heard) {
  listener = heard;
}

export const isKnown = () => localStorage.getItem(KNOWN) !== null;
export const hasToken = () => access !== null;
/** For whatever goes on when the page is gone. */
export const bearer = () => access;

/** Takes a login over, or forgets it. */
export function keep(session) {
  access = session?.accessToken ?? null;
  if (session) localStorage.setItem(KNOWN, "1");
  else localStorage.removeItem(KNOWN);
  listener(session);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const newKey = () => crypto.randomUUID?.() ?? `${performance.now()}-${Math.random()}`;

/**
 * One request. `options`: query, body, key (idempotency), keepalive, signal, headers, cache, form (instead of a JSON body), isPublic (a
 * login is not waited for).
 */
export async function call(method, path, options = {}) {
  const key = options.key ?? (method === "GET" ? undefined : newKey());
  // A key makes sending again harmless where the server keeps it; elsewhere only reads are.
  const again = method === "GET" || options.key !== undefined;
  if (!access && isKnown() && !options.isPublic && !path.startsWith("/v1/auth/")) await refresh().catch(() => {});
  for (let tried = 0; ; tried++) {
    try {
      return await send(method, path, { ...options, key });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      // A token says whether the address was proven when the token was made, so a new one may know better.
      const isStale = problem.code === "email-unproven" || (problem.status === 401 && problem.code.startsWith("token-"));
      const isOld = isStale && access && !options.refreshed;
      if (isOld) {
        await refresh();
        options = { ...options, refreshed: true };
      } else if (again && [0, 502, 503, 504].includes(problem.status) && tried < PAUSES.length && !options.signal?.aborted) {
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

async function send(method, path, { query, body, form, key, keepalive, signal, headers, cache }) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const url = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const head = { Accept: "application/json", ...headers };
  if (access) head.Authorization = `Bearer ${access}`;
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
  learn(response);
  return answer(response);
}

/** A stream of server-sent events that needs the login, which `EventSource` cannot send: an async iterator of `{name, data}`. */
export async function* events(path, signal) {
  if (!access && isKnown()) await refresh();
  const head = () => ({ Accept: "text/event-stream", Authorization: `Bearer ${access}` });
  let response = await fetch(path, { headers: head(), signal, cache: "no-store" });
  if (response.status === 401 && isKnown()) {
    await refresh();
    response = await fetch(path, { headers: head(), signal, cache: "no-store" });
  }
  learn(response);
  if (!response.ok) await answer(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = (name) => block.split("\n").find((one) => one.startsWith(`${name}: `))?.slice(name.length + 2);
      // A comment, which only keeps the connection, has no data.
      if (line("data")) yield { name: line("event") ?? "message", data: JSON.parse(line("data")) };
    }
  }
}

async function answer(response) {
  const type = response.headers.get("Content-Type") ?? "";
  const body = type.includes("json") ? await response.json().catch(() => null) : null;
  if (response.ok) return body;
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  throw new Problem({ code: `http-${response.status}`, ...body, status: response.status, retryAfter });
}

let refreshing = null;

/**
 * Buys a new access token with the cookie. One at a time in all tabs: a refresh token works once. Where a page is left before its
 * new cookie came, the next page presents the old one again, which the house takes for some seconds.
 */
export function refresh() {
  refreshing ??= locked(buy).finally(() => (refreshing = null));
  return refreshing;
}

function locked(work) {
  return navigator.locks ? navigator.locks.request("marquee.refresh", work) : work();
}

async function buy() {
  try {
    const headers = { "X-Refresh-Cookie": "true", Accept: "application/json" };
    // It outlives the page, so that the new cookie arrives even then.
    const response = await fetch(REFRESH, { method: "POST", headers, keepalive: true, credentials: "same-origin" });
    keep(await answer(response));
  } catch (problem) {
    if (problem.status === 401) keep(null);
    if (problem instanceof Problem) throw problem;
    throw new Problem({ status: 0, code: "offline", detail: String(problem.message) });
  }
}

/** Longer lists are not read whole: some MB, and more than anybody looks through. */
const MOST = 5000;

/**
 * Every item of a listing, page by page; `most` bounds it. The array's `total` says how many there are, so that a page which shows
 * fewer can say so, and its `first` is the first answer as it came.
 */
export async function all(path, query, { most = MOST, ...options } = {}) {
  const items = [];
  const known = new Set();
  let first;
  for (let page = 1; ; page++) {
    const answer = await get(path, { pageSize: 100, ...query, page }, options);
    first ??= answer;
    for (const item of answer.items) {
      // What was added meanwhile moves others to the next page.
      if (item.id !== undefined && known.has(item.id)) continue;
      known.add(item.id);
      items.push(item);
    }
    if (!answer.items.length || page * answer.pageSize >= answer.total || items.length >= most) return Object.assign(items.slice(0, most), { total: answer.total, first });
  }
}

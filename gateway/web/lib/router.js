// Maps addresses to pages. A page is a module whose default export creates it:
//   async ({params, query, signal}) → {title, node, onShow?, leave?}
// `onShow()` runs when the page is shown, `leave()` before it is replaced, and `signal` aborts with it. Links are plain `<a href>`;
// links to other addresses are left to the browser.

import lost from "../pages/lost.js";
import { Problem, isOffline, withoutModule } from "./api.js";
import { h, replace } from "./dom.js";
import { connected, whenReachable } from "./reconnect.js";
import { loadTexts, t } from "./text.js";
import { setTitle } from "./title.js";

let routes = [];
let main;
let shown = null;
let visit = 0;
/** A page that loads faster than this (ms) needs no loading message. */
const QUIET_MS = 250;
/** After this (ms) the visitor may load the page again: the connection may neither answer nor break. */
const STUCK_MS = 10_000;
/** Counts the reloads since a page was last shown. Kept in the session storage, since a reload forgets everything else. */
const RELOADS_KEY = "marquee.reloads";
/** More reloads by themselves would not help. */
const RELOADS_MAX = 3;

/** Starts the router. `table` is a list of `[pattern, () => import(…)]`; `:name` is a parameter, `*` the rest. */
export function begin(table, outlet, after) {
  routes = table.map(([pattern, load]) => [compile(pattern), load]);
  main = outlet;
  afterwards = after;
  history.scrollRestoration = "manual";
  addEventListener("popstate", (event) => show(event.state?.top ?? 0));
  addEventListener("scroll", noteTop, { passive: true });
  document.addEventListener("click", follow);
  return show(history.state?.top ?? 0, { isFirst: true });
}

let afterwards = () => {};
let noting;

function noteTop() {
  clearTimeout(noting);
  noting = setTimeout(() => history.replaceState({ ...history.state, top: scrollY }, ""), 150);
}

function compile(pattern) {
  const source = pattern.replace(/\/\*$/, "(?:/(?<rest>.*))?").replace(/:(\w+)/g, "(?<$1>[^/]+)");
  return new RegExp(`^${source}/?$`);
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !match(url.pathname)) return;
  if (url.hash && url.pathname === location.pathname) return;
  event.preventDefault();
  go(url.pathname + url.search);
}

function match(path) {
  for (const [pattern, load] of routes) {
    const found = pattern.exec(path);
    if (found) return { load, params: { ...found.groups } };
  }
}

/** Navigates to another address of the page. */
export function go(path, { instead = false } = {}) {
  clearTimeout(noting);
  if (instead) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  return show(0);
}

/** Loads and shows the same page again. */
export const again = () => show(scrollY);

/** Replaces the query of the address without navigating; empty values are left out. */
export function note(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = given.length ? `?${new URLSearchParams(given)}` : "";
  history.replaceState(history.state, "", location.pathname + text);
}

/** The login page, which returns to this address. */
export const loginHere = () => `/login?to=${encodeURIComponent(location.pathname + location.search)}`;

/** Shows the page of the address. A retry leaves the message of the failure in place until the page can be shown. */
async function show(top, { isFirst = false, isRetry = false } = {}) {
  const current = ++visit;
  shown?.leave?.();
  shown?.ended.abort();
  const ended = new AbortController();
  shown = { ended };
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const found = match(location.pathname) ?? { load: async () => ({ default: () => lost() }), params: {} };
  const slow = announceWait({ isCurrent: () => current === visit && !isRetry, isFirst, signal: ended.signal });
  let page;
  try {
    const { default: make } = await found.load();
    page = await make({ params: found.params, query, signal: ended.signal });
    if (page) loaded();
  } catch (error) {
    if (current === visit) page = await failed(error, ended.signal);
  }
  slow();
  if (current !== visit || !page) {
    page?.leave?.();
    return;
  }
  shown = { ended, leave: page.leave };
  if (isRetry && page.isFailure) return;
  setTitle(page.title);
  replace(main, page.node);
  page.onShow?.();
  scrollTo(0, top);
  if (!isFirst) (main.querySelector("h1[tabindex], [data-first]") ?? main).focus({ preventScroll: true });
  afterwards();
}

/** Says that a page is being loaded, and after a while how to load it again. Returns a function that ends this. */
function announceWait({ isCurrent, isFirst, signal }) {
  const slow = setTimeout(() => {
    if (isCurrent() && !isFirst) replace(main, h("p", { class: "opening", role: "status" }, t("wait.page")));
  }, QUIET_MS);
  const stuck = setTimeout(() => {
    if (!isCurrent()) return;
    const status = h("p", { role: "status" }, t("wait.long"));
    const reload = () => {
      status.textContent = t("lost.waiting");
      // Without a connection a reload would end at the browser's own error page.
      whenReachable(() => location.reload(), signal);
    };
    replace(main, h("div", { class: "opening stack" }, status, h("p", {}, h("button", { class: "button", type: "button", on: { click: reload } }, t("lost.again")))));
  }, STUCK_MS);
  return () => {
    clearTimeout(slow);
    clearTimeout(stuck);
  };
}

let failedImports = 0;

function loaded() {
  failedImports = 0;
  connected();
  sessionStorage.removeItem(RELOADS_KEY);
}

/** The page in place of one that failed: the login, or the message that also tries again by itself. Never throws. */
async function failed(error, signal) {
  if (error.name === "AbortError") return null;
  if (error instanceof Problem && error.status === 401) {
    try {
      // The address is kept; it is shown after logging in.
      const [{ default: make }] = await Promise.all([import("../pages/login.js"), loadTexts("wrong")]);
      return await make({ params: {}, query: { to: location.pathname + location.search }, signal });
    } catch (other) {
      error = other;
    }
  }
  const problem = withoutModule(error);
  if (problem !== error) failedImports++;
  if (!(problem instanceof Problem)) console.error(error);
  const isWaiting = isOffline(problem);
  if (isWaiting) whenReachable(retry, signal);
  return { ...lost({ error: problem, again, isWaiting }), isFailure: true };
}

/** The server answers again. Browsers may keep the failure of an import until a reload. */
function retry() {
  const reloads = Number(sessionStorage.getItem(RELOADS_KEY) ?? 0);
  if (failedImports < 2 || reloads >= RELOADS_MAX) return show(scrollY, { isRetry: true });
  sessionStorage.setItem(RELOADS_KEY, String(reloads + 1));
  location.reload();
}

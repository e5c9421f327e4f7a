// Maps addresses to pages. A page is a module whose default export creates it:
//   async ({params, query, signal}) → {title, node, onShow?, leave?}
// `onShow()` runs when the page is shown, `leave()` before it is replaced, and `signal` aborts with it. Links are plain `<a href>`;
// links to other addresses are left to the browser.

import { Problem } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./text.js";

let routes = [];
let main;
let shown = null;
let visit = 0;
/** A page that loads faster than this (ms) needs no loading message. */
const QUIET_MS = 250;

/** Starts the router. `table` is a list of `[pattern, () => import(…)]`; `:name` is a parameter, `*` the rest. */
export function begin(table, outlet, after) {
  routes = table.map(([pattern, load]) => [compile(pattern), load]);
  main = outlet;
  afterwards = after;
  history.scrollRestoration = "manual";
  addEventListener("popstate", (event) => show(event.state?.top ?? 0));
  addEventListener("scroll", noteTop, { passive: true });
  document.addEventListener("click", follow);
  return show(history.state?.top ?? 0, true);
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

async function show(top, first = false) {
  const current = ++visit;
  shown?.leave?.();
  shown?.ended.abort();
  const ended = new AbortController();
  shown = { ended };
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const found = match(location.pathname) ?? { load: () => import("../pages/lost.js"), params: {} };
  const slow = setTimeout(() => {
    if (current === visit && !first) replace(main, h("p", { class: "opening", role: "status" }, t("wait.page")));
  }, QUIET_MS);
  let page;
  try {
    const { default: make } = await found.load();
    page = await make({ params: found.params, query, signal: ended.signal });
  } catch (error) {
    if (current !== visit) return;
    page = await failed(error);
  }
  clearTimeout(slow);
  if (current !== visit || !page) {
    page?.leave?.();
    return;
  }
  shown = { ended, leave: page.leave };
  document.title = page.title ? `${page.title} · Marquee` : "Marquee";
  replace(main, page.node);
  page.onShow?.();
  scrollTo(0, top);
  if (!first) (main.querySelector("h1[tabindex], [data-first]") ?? main).focus({ preventScroll: true });
  afterwards();
}

async function failed(error) {
  if (error.name === "AbortError") return null;
  if (error instanceof Problem && error.status === 401) {
    // The address is kept; it is shown after logging in.
    const { default: make } = await import("../pages/login.js");
    return make({ params: {}, query: { to: location.pathname + location.search }, signal: shown.ended.signal });
  }
  if (!(error instanceof Problem)) console.error(error);
  const { default: make } = await import("../pages/lost.js");
  return make({ error });
}

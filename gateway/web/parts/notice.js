// Notices at the edge of the page, announced by screen readers, and messages within the page.

import { Problem, withoutModule } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { clock, moment, money } from "../lib/format.js";
import { has, t } from "../lib/text.js";

/** How long (ms) a notice is shown: long enough to be read twice. */
const SHOWN_MS = 7000;
/** What may be at the bottom edge of a page; notices are above it. */
const AT_BOTTOM = ".undo-bar, .basket";
let box;
/** The notices that are shown, by their text: `{node, timer, path}`. */
const shown = new Map();

/** Shows a notice for a while, on this page only; or on the next one, where the caller goes there at once. The same text is shown once. */
export function notice(text, kind = "") {
  remove(text);
  place();
  const node = box.appendChild(h("p", { class: `notice ${kind}` }, text));
  const item = { node, timer: setTimeout(() => remove(text), SHOWN_MS) };
  shown.set(text, item);
  setTimeout(() => (item.path = location.pathname));
}

/** Ends the notices of another page. Called when a page is shown. */
export function endNotices() {
  for (const [text, { path }] of shown) if (path !== undefined && path !== location.pathname) remove(text);
}

function remove(text) {
  const item = shown.get(text);
  if (!item) return;
  clearTimeout(item.timer);
  item.node.remove();
  shown.delete(text);
}

/** Puts the box of the notices above everything: within an open dialog, since what is outside of it is inert. */
function place() {
  box ??= h("div", { class: "notices", role: "status", "aria-live": "polite" });
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  const parent = dialog ?? document.body;
  if (box.parentNode !== parent) {
    parent.append(box);
    // A closed dialog is removed, and its notices stay.
    dialog?.addEventListener("close", place, { once: true });
  }
  const bottom = document.querySelector(AT_BOTTOM)?.getBoundingClientRect().top ?? innerHeight;
  box.style.setProperty("--above", `${Math.max(0, innerHeight - bottom)}px`);
}

/** The text of a problem in the reader's language, by its code. The server's own text is for developers and is never shown. */
export function problemText(error, values = {}) {
  const problem = withoutModule(error);
  if (!(problem instanceof Problem)) return t("problem.unknown");
  const { code, seats = [], retryAt, retryAfter = 1 } = problem;
  const placeholders = { seats: seats.join(", "), seconds: retryAfter, at: retryAt && clock(retryAt), moment: retryAt && moment(retryAt), ...amounts(problem), ...given(values) };
  const of = problem.limit?.of ?? (seats.length === 0 && problem.ticketTypes?.length > 0 ? "TYPES" : undefined);
  const key = [`problem.${code}-${of}`, `problem.${code}`].find(has);
  if (key) return t(key, placeholders);
  if (problem.status === 429) return t("problem.too-many", { seconds: problem.retryAfter ?? 1 });
  if (problem.status === 503) return t("problem.away");
  if (problem.status >= 500) return t("problem.ours", { id: problem.requestId ?? "–" });
  return t("problem.other");
}

/** What a problem says of numbers, money and ticket types. */
function amounts({ limit, seats = [], errors: [error] = [], total, ticketTypes: [type, other] = [] }) {
  const shown = (amount) => total && amount !== undefined && money({ ...total, amount });
  const n = limit?.most ?? (error?.code === "ticket-type-most" ? error.max : seats.length || 1);
  return { n, type, other, total: total && money(total), min: shown(error?.min), max: shown(error?.max) };
}

/** The values that are known. */
const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

/** A message within the page. `kind` is bad, good, warn or empty. */
export function message(kind, title, ...more) {
  return h("div", { class: `message ${kind}`, role: kind === "bad" ? "alert" : "status" }, title && h("strong", {}, title), ...more);
}

/** A message if `all` did not read the whole list, otherwise false. */
export function partly(items) {
  return items.length < items.total && message("warn", t("list.partly", { n: items.length, total: items.total }));
}

/** A progress indicator, with what is waited for. */
export function waiting(text, detail) {
  return h(
    "div",
    { class: "waiting", role: "status" },
    h("span", { class: "bulbs", "aria-hidden": "true" }, h("i"), h("i"), h("i"), h("i")),
    h("strong", {}, text),
    detail && h("p", { class: "soft" }, detail),
  );
}

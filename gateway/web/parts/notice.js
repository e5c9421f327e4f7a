// Notices at the edge of the page, announced by screen readers, and messages within the page.

import { Problem } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { has, t } from "../lib/text.js";

/** How long (ms) a notice is shown: long enough to be read twice. */
const SHOWN_MS = 7000;
let box;

/** Shows a notice for a while. */
export function notice(text, kind = "") {
  box ??= document.body.appendChild(h("div", { class: "notices", role: "status", "aria-live": "polite" }));
  const note = box.appendChild(h("p", { class: `notice ${kind}` }, text));
  setTimeout(() => note.remove(), SHOWN_MS);
}

/** The text of a problem in the reader's language, by its code; without a translation the server's text. */
export function problemText(problem, values = {}) {
  if (!(problem instanceof Problem)) return t("problem.unknown");
  const { code, limit, seats = [], retryAt, retryAfter = 1 } = problem;
  const placeholders = { n: limit?.most ?? (seats.length || 1), seats: seats.join(", "), seconds: retryAfter, at: retryAt && clock(retryAt), ...values };
  const key = [`problem.${code}-${limit?.of}`, `problem.${code}`].find(has);
  if (key) return t(key, placeholders);
  if (problem.status === 429) return t("problem.too-many", { seconds: problem.retryAfter ?? 1 });
  if (problem.status === 503) return t("problem.away");
  if (problem.status >= 500) return t("problem.ours", { id: problem.requestId ?? "–" });
  return problem.message;
}

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

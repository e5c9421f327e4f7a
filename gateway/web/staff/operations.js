// Operations: which parts are ready, the live events, the lag of the consumers, and the sagas by state. Events are streamed;
// the rest is read every few seconds while the page is visible.

import { bearer } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { shownCode } from "../lib/code.js";
import { h, replace } from "../lib/dom.js";
import { moment, money, number, time } from "../lib/format.js";
import { again } from "../lib/router.js";
import { locale, t } from "../lib/text.js";
import { message, problemText } from "../parts/notice.js";
import { liveEvents } from "./events.js";
import { badge, fresh, head, pager, poll, table, technical } from "./listing.js";

const STATES = ["awaiting-payment", "paying", "ending", "replacing", "confirmed", "cancelled", "refunding", "refunded", "needs-attention"];
/** Milliseconds between reads. */
const EVERY = 5000;
/** A consumer with a larger lag is highlighted. */
const LAG_FINE = 100;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function operations({ query, signal }) {
  const health = h("div", { class: "tiles parts" });
  const flow = h("div", {});
  const sagas = h("div", { class: "stack" });
  const looked = h("p", { class: "soft" });
  const draw = async () => {
    await Promise.all([parts(health, signal), numbers(flow, signal), sagasSection(sagas, query, signal)]);
    looked.textContent = t("staff.ops.looked", { at: new Intl.DateTimeFormat(locale(), { timeStyle: "medium" }).format(now()) });
  };
  await draw();
  return {
    title: t("staff.place.operations"),
    onShow: () => poll(draw, EVERY, signal),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.operations"), t("staff.ops.about")),
      technical("operations"),
      looked,
      h("section", { class: "stack" }, h("h2", {}, t("staff.ops.health")), health),
      liveEvents(signal),
      h("section", { class: "stack" }, h("h2", {}, t("staff.ops.flow")), flow),
      h("section", { class: "stack" }, h("h2", {}, t("staff.ops.sagas")), sagas),
    ),
  };
}

/** Redraws a section only if its text changed and it does not have the focus, so that a refresh does not disturb its user. */
function show(box, ...content) {
  const made = h("div", {}, content);
  const focused = box.contains(document.activeElement);
  if (made.textContent === box.dataset.shown || focused) return;
  box.dataset.shown = made.textContent;
  replace(box, ...made.childNodes);
}

async function parts(box, signal) {
  let answer;
  try {
    answer = await fresh("/health/ready", {}, { signal });
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!problem.parts) return show(box, message("bad", problemText(problem)));
    answer = problem;
  }
  const names = Object.entries(answer.parts);
  show(box, names.map(([name, part]) => h("div", { class: "card tile", dataset: { well: part.ready } }, h("span", {}, name), badge(t(part.ready ? "staff.ops.well" : "staff.ops.away"), part.ready ? "good" : "bad"), part.detail && h("small", { class: "soft" }, part.detail))));
}

/** Parses Prometheus's text format: `{name, labels, value}`. */
export function samples(text) {
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  return lines.map((line) => {
    const [, name, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    return { name, labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, item]) => [key, item])), value: Number(value) };
  });
}

async function numbers(box, signal) {
  let found;
  try {
    const response = await fetch("/metrics", { headers: { Authorization: `Bearer ${bearer()}` }, signal });
    if (!response.ok) throw new Error(String(response.status));
    found = samples(await response.text());
  } catch {
    if (!signal.aborted) show(box, message("warn", t("staff.ops.no-numbers")));
    return;
  }
  const of = (name, label) => new Map(found.filter((item) => item.name === name).map((item) => [item.labels[label], item.value]));
  const [lag, hand, pending, oldest] = [of("consumer_lag", "consumer"), of("consumer_in_hand", "consumer"), of("outbox_pending", "domain"), of("outbox_oldest_seconds", "domain")];
  const names = [...new Set([...lag.keys(), ...pending.keys()])].sort();
  const value = (map, name, look) => (map.has(name) ? (look?.(map.get(name)) ?? number(map.get(name))) : "–");
  const behind = (item) => (item > LAG_FINE ? badge(number(item), "bad") : number(item));
  show(box, table(t("staff.ops.flow"), [
    [t("staff.ops.host"), (name) => name],
    [t("staff.ops.lag"), (name) => value(lag, name, behind), "number"],
    [t("staff.ops.in-hand"), (name) => value(hand, name), "number"],
    [t("staff.ops.outbox"), (name) => value(pending, name, behind), "number"],
    [t("staff.ops.oldest"), (name) => value(oldest, name, (item) => number(Math.round(item), { style: "unit", unit: "second" })), "number"],
  ], names, t("staff.ops.no-consumers")));
}

async function sagasSection(box, query, signal) {
  const state = STATES.includes(query.state) ? query.state : "";
  try {
    const [counts, page] = await Promise.all([
      Promise.all(STATES.map((item) => fresh("/v1/admin/sagas", { state: item, pageSize: 1 }, { signal }))),
      fresh("/v1/admin/sagas", { state, page: query.page, pageSize: 20 }, { signal }),
    ]);
    const choice = (name, text, count) => h("a", { class: "choice", href: name ? `/staff/operations?state=${name}` : "/staff/operations", "aria-current": name === state ? "true" : undefined }, h("b", {}, number(count)), h("small", {}, text));
    const columns = [
      [t("staff.orders.number"), (item) => h("a", { href: `/staff/orders/${item.reservationId}` }, shownCode(item.code))],
      [t("staff.state"), (item) => badge(t(`staff.saga.${item.state}`), item.attention ? "bad" : item.state === "confirmed" ? "good" : "")],
      [t("staff.ops.version"), (item) => item.version, "number"],
      [t("order.total"), (item) => money(item.total), "number"],
      [t("staff.ops.again"), (item) => (item.deadline ? time(item.deadline, zone) : "–")],
      [t("staff.ops.changed"), (item) => moment(item.updatedAt, zone)],
    ];
    const all = counts.reduce((sum, item) => sum + item.total, 0);
    show(box,
      h("nav", { class: "strip", "aria-label": t("staff.ops.states") }, choice("", t("staff.all"), all), STATES.map((item, at) => choice(item, t(`staff.saga.${item}`), counts[at].total))),
      table(t("staff.ops.sagas"), columns, page.items),
      pager(page, query));
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (problem.status === 401) return again();
    show(box, message("bad", problemText(problem)));
  }
}

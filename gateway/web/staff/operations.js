// Operations: which parts are ready, the live events, the lag of the consumers, and the sagas by state. Events are streamed;
// the rest is read every few seconds while the page is visible.

import { bearer } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { moment, money, number, time } from "../lib/format.js";
import { again } from "../lib/router.js";
import { locale, t } from "../lib/text.js";
import { say, words } from "../parts/notice.js";
import { liveEvents } from "./events.js";
import { badge, fresh, head, pager, poll, short, table } from "./listing.js";

const STATES = ["awaiting-payment", "paying", "ending", "confirmed", "cancelled", "refunding", "refunded", "needs-attention"];
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
    await Promise.all([parts(health, signal), numbers(flow, signal), stories(sagas, query, signal)]);
    looked.textContent = t("staff.ops.looked", { at: new Intl.DateTimeFormat(locale(), { timeStyle: "medium" }).format(now()) });
  };
  await draw();
  return {
    title: t("staff.place.operations"),
    there: () => poll(draw, EVERY, signal),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.operations"), t("staff.ops.about")),
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
    if (!problem.parts) return show(box, say("bad", words(problem)));
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
    return { name, labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, one]) => [key, one])), value: Number(value) };
  });
}

async function numbers(box, signal) {
  let found;
  try {
    const response = await fetch("/metrics", { headers: { Authorization: `Bearer ${bearer()}` }, signal });
    if (!response.ok) throw new Error(String(response.status));
    found = samples(await response.text());
  } catch {
    if (!signal.aborted) show(box, say("warn", t("staff.ops.no-numbers")));
    return;
  }
  const of = (name, label) => new Map(found.filter((one) => one.name === name).map((one) => [one.labels[label], one.value]));
  const [lag, hand, pending, oldest] = [of("consumer_lag", "consumer"), of("consumer_in_hand", "consumer"), of("outbox_pending", "domain"), of("outbox_oldest_seconds", "domain")];
  const names = [...new Set([...lag.keys(), ...pending.keys()])].sort();
  const value = (map, name, look) => (map.has(name) ? (look?.(map.get(name)) ?? number(map.get(name))) : "–");
  const behind = (one) => (one > LAG_FINE ? badge(number(one), "bad") : number(one));
  show(box, table(t("staff.ops.flow"), [
    [t("staff.ops.host"), (name) => name],
    [t("staff.ops.lag"), (name) => value(lag, name, behind), "number"],
    [t("staff.ops.in-hand"), (name) => value(hand, name), "number"],
    [t("staff.ops.outbox"), (name) => value(pending, name, behind), "number"],
    [t("staff.ops.oldest"), (name) => value(oldest, name, (one) => number(Math.round(one), { style: "unit", unit: "second" })), "number"],
  ], names, t("staff.ops.no-consumers")));
}

async function stories(box, query, signal) {
  const state = STATES.includes(query.state) ? query.state : "";
  try {
    const [counts, page] = await Promise.all([
      Promise.all(STATES.map((one) => fresh("/v1/admin/sagas", { state: one, pageSize: 1 }, { signal }))),
      fresh("/v1/admin/sagas", { state, page: query.page, pageSize: 20 }, { signal }),
    ]);
    const choice = (name, text, count) => h("a", { class: "choice", href: name ? `/staff/operations?state=${name}` : "/staff/operations", "aria-current": name === state ? "true" : undefined }, h("b", {}, number(count)), h("small", {}, text));
    const columns = [
      [t("staff.orders.number"), (one) => h("a", { href: `/staff/orders/${one.reservationId}` }, short(one.reservationId))],
      [t("staff.state"), (one) => badge(t(`staff.saga.${one.state}`), one.attention ? "bad" : one.state === "confirmed" ? "good" : "")],
      [t("staff.ops.version"), (one) => one.version, "number"],
      [t("order.total"), (one) => money(one.total), "number"],
      [t("staff.ops.again"), (one) => (one.deadline ? time(one.deadline, zone) : "–")],
      [t("staff.ops.changed"), (one) => moment(one.updatedAt, zone)],
    ];
    const all = counts.reduce((sum, one) => sum + one.total, 0);
    show(box,
      h("nav", { class: "strip", "aria-label": t("staff.ops.states") }, choice("", t("staff.all"), all), STATES.map((one, at) => choice(one, t(`staff.saga.${one}`), counts[at].total))),
      table(t("staff.ops.sagas"), columns, page.items),
      pager(page, query));
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (problem.status === 401) return again();
    show(box, say("bad", words(problem)));
  }
}

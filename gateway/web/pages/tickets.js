// The user's orders: upcoming, past and unpaid.

import { all, get } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, dateParts, list, money, moment, time } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { notice, partly, problemText } from "../parts/notice.js";

/** Past orders that are shown at first. */
const PAST_MOST = 100;

export default async function tickets({ query, signal }) {
  const [upcoming, past] = await Promise.all([all("/v1/reservations", { when: "upcoming" }, { signal }), all("/v1/reservations", { when: "past" }, { signal, most: query.all ? undefined : PAST_MOST })]);
  const ids = [...new Set([...upcoming, ...past].map((order) => order.showtimeId))];
  const found = await Promise.all(ids.map((id) => get(`/v1/showtimes/${id}`, {}, { signal }).catch(() => null)));
  const showtimes = new Map(found.filter(Boolean).map((showtime) => [showtime.id, showtime]));
  const open = upcoming.filter((order) => order.status === "PENDING");
  const sure = upcoming.filter((order) => order.status === "CONFIRMED").sort((a, b) => a.startsAt.localeCompare(b.startsAt));
  const gone = [...upcoming.filter((order) => !["PENDING", "CONFIRMED"].includes(order.status)), ...past];
  const part = (key, orders) => orders.length > 0 && h("section", { class: "stack" }, h("h2", {}, t(key)), h("ul", { class: "stubs", role: "list" }, orders.map((order) => stub(order, showtimes.get(order.showtimeId)))));
  return {
    title: t("tickets.title"),
    node: h(
      "div",
      { class: "stack" },
      h("h1", { tabindex: "-1" }, t("tickets.title")),
      upcoming.length + past.length === 0 && h("div", { class: "nothing" }, h("p", {}, t("tickets.none")), h("a", { class: "button main", href: "/" }, t("lost.home"))),
      part("tickets.open", open),
      part("tickets.upcoming", sure),
      part("tickets.past", gone),
      past.length < past.total && (query.all ? partly(past) : h("a", { class: "button", href: "/tickets?all=1" }, t("tickets.all", { n: past.total }))),
    ),
  };
}

function stub(order, showtime) {
  const zone = showtime?.timeZone ?? "UTC";
  const date = dateParts(dateOf(order.startsAt, zone));
  const isReady = order.status === "CONFIRMED" && !isPast(showtime?.endsAt ?? order.startsAt);
  const open = async (event) => {
    event.currentTarget.disabled = true;
    try {
      await (await import("../parts/tickets.js")).showTickets(order, showtime);
    } catch (problem) {
      notice(problemText(problem), "bad");
    } finally {
      event.target.disabled = false;
    }
  };
  return h(
    "li",
    { class: "stub", dataset: { status: order.status } },
    h("div", { class: "stub-date", "aria-hidden": "true" }, h("small", {}, date.weekday), h("b", {}, date.day), h("small", {}, date.month)),
    h(
      "div",
      { class: "stub-words" },
      h("h3", {}, h("a", { href: `/reservations/${order.id}` }, order.movieTitle)),
      h("p", {}, [moment(order.startsAt, zone), showtime?.auditoriumName].filter(Boolean).join(" · ")),
      h("p", { class: "soft" }, `${t("order.seats")} ${list(order.seats)} · ${price(order.total)}`),
      badge(order),
    ),
    h("div", { class: "stub-actions" },
      order.status === "PENDING" && h("a", { class: "button main", href: `/reservations/${order.id}` }, t(isFree(order.total) ? "tickets.take" : "tickets.pay", { until: time(order.expiresAt, zone) })),
      isReady && showtime && h("button", { class: "button main", type: "button", on: { click: open } }, t("tickets.show"))),
  );
}

function badge(order) {
  const { status } = order;
  const refund = order.refund && !isFree(order.refund.total) && order.refund;
  const problemText = isFree(order.total) ? "tickets.status-free" : "tickets.status";
  const look = { CONFIRMED: "good", PENDING: "warn", REFUNDED: "", CANCELLED: "" }[status];
  const text = refund ? t(`refund.${refund.status}`, { total: money(refund.total) }) : t(`${problemText}.${status}`);
  return h("p", {}, h("span", { class: `badge ${look}` }, text));
}

// The user's orders: upcoming, past and unpaid.

import { all, get } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { shownCode } from "../lib/code.js";
import { h } from "../lib/dom.js";
import { dateOf, dateParts, list, money, moment, time } from "../lib/format.js";
import { holds, onHolds, readHolds } from "../lib/holds.js";
import { isFree, price } from "../lib/price.js";
import { again } from "../lib/router.js";
import { ownOrders } from "../lib/session.js";
import { t } from "../lib/text.js";
import { requestWhileVisible } from "../lib/visible.js";
import { storeOffline } from "../offline/files.js";
import { keepOrders, keptOrders, orStored } from "../offline/orders.js";
import { storedNotice } from "../offline/page.js";
import { typesOf } from "../parts/bill.js";
import { notice, partly, problemText } from "../parts/notice.js";
import { showingText } from "../parts/showing.js";

/** Past orders that are shown at first. */
const PAST_MOST = 100;
/** Pause (ms) between two looks at the unpaid orders. */
const LOOK_MS = 5000;

export default async function tickets({ query, signal }) {
  const stored = await keptOrders();
  return orStored(stored.length > 0, () => load(query, signal), () => storedPage(stored, signal));
}

async function load(query, signal) {
  const own = await ownOrders();
  const [upcoming, past] = await Promise.all([all("/v1/reservations", { when: "upcoming", ...own }, { signal }), all("/v1/reservations", { when: "past", ...own }, { signal, most: query.all ? undefined : PAST_MOST })]);
  const ids = [...new Set([...upcoming, ...past].map((order) => order.showtimeId))];
  const found = await Promise.all(ids.map((id) => get(`/v1/showtimes/${id}`, {}, { signal }).catch(() => null)));
  const showtimes = new Map(found.filter(Boolean).map((showtime) => [showtime.id, showtime]));
  const open = upcoming.filter((order) => order.status === "PENDING");
  const sure = upcoming.filter((order) => order.status === "CONFIRMED").sort((a, b) => a.startsAt.localeCompare(b.startsAt));
  const gone = [...upcoming.filter((order) => !["PENDING", "CONFIRMED"].includes(order.status)), ...past];
  const part = (key, orders) => orders.length > 0 && h("section", { class: "stack" }, h("h2", {}, t(key)), h("ul", { class: "stubs", role: "list" }, orders.map((order) => stub(order, showtimes.get(order.showtimeId)))));
  return {
    title: t("tickets.title"),
    onShow: async () => {
      follow(open, signal);
      // By now the page has fetched the files of this view.
      if (await keepOrders(sure, showtimes)) storeOffline("tickets");
    },
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

/** Shows the page again when an unpaid order is paid or ends, or another one is made. */
function follow(open, signal) {
  const shown = (orders) => orders.map(({ id }) => id).sort().join();
  onHolds(() => shown(holds()) !== shown(open) && again(), signal);
  if (!open.length) return;
  requestWhileVisible(async (visible) => {
    while (!visible.aborted) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      if (!visible.aborted) await readHolds(visible);
    }
  }, signal);
}

/** Without a connection: the tickets that this browser has stored. */
function storedPage(stored, signal) {
  const oldest = stored.reduce((a, b) => (b.at < a.at ? b : a));
  return {
    title: t("tickets.title"),
    node: h("div", { class: "stack" },
      h("h1", { tabindex: "-1" }, t("tickets.title")),
      storedNotice(oldest, signal),
      h("section", { class: "stack" }, h("h2", {}, t("tickets.upcoming")), h("ul", { class: "stubs", role: "list" }, stored.map(({ order, showtime, tickets }) => stub(order, showtime, tickets))))),
  };
}

/** `tickets` are given where they are stored. */
function stub(order, showtime, tickets) {
  const zone = showtime?.timeZone ?? "UTC";
  const date = dateParts(dateOf(order.startsAt, zone));
  const isReady = order.status === "CONFIRMED" && !isPast(showtime?.endsAt ?? order.startsAt);
  const open = async (event) => {
    event.currentTarget.disabled = true;
    try {
      await (await import("../parts/tickets.js")).showTickets(order, showtime, tickets);
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
      h("p", {}, [moment(order.startsAt, zone), showtime?.auditoriumName, showtime && showingText(showtime)].filter(Boolean).join(" · ")),
      h("p", { class: "soft" }, [`${t("order.seats")} ${list(order.seats)}`, typesOf(order.lines ?? []), price(order.total), shownCode(order.code)].filter(Boolean).join(" · ")),
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

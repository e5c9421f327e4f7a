// Tickets on this device: an order that is shown is stored and can be printed; without a connection its page shows what is stored.

import { h } from "../lib/dom.js";
import { full, list, moment } from "../lib/format.js";
import { shownCode } from "../lib/code.js";
import { whenReachable } from "../lib/reconnect.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { typesOf } from "../parts/bill.js";
import { message } from "../parts/notice.js";
import { storeOffline } from "./files.js";
import { keepOrder } from "./orders.js";

/** That this is the stored state, and of when. The page is loaded again as soon as there is a connection. */
export function storedNotice({ at, showtime }, signal) {
  whenReachable(again, signal);
  return message("warn", t("tickets.stored"), h("p", {}, t("tickets.stored-about", { at: moment(at, showtime.timeZone) })), h("p", {}, h("button", { class: "button small", type: "button", on: { click: again } }, t("tickets.try-again"))));
}

/** Stores the tickets of an order that is shown, or deletes them if they are not valid any more, and has the browser print them until `signal` aborts. */
export async function keepTickets(order, showtime, signal) {
  const tickets = await keepOrder(order, showtime).catch(() => undefined);
  if (!tickets || signal.aborted) return;
  storeOffline("tickets");
  const { printable } = await import("../parts/tickets.js");
  if (!signal.aborted) signal.addEventListener("abort", printable(order, showtime, tickets));
}

/** The page of one stored order. */
export function storedOrder(stored, signal) {
  const { order, showtime, tickets } = stored;
  const pairs = [
    ["film", order.movieTitle],
    ["when", full(order.startsAt, showtime.timeZone)],
    ["hall", showtime.auditoriumName],
    ["seats", list(order.seats)],
    ["tickets", typesOf(order.lines ?? [])],
    ["number", shownCode(order.code)],
  ].filter(([, value]) => value);
  const open = h("button", { class: "button main", type: "button", on: { click: async () => (await import("../parts/tickets.js")).showTickets(order, showtime, tickets) } }, t("tickets.show"));
  return {
    title: t("order.title", { title: order.movieTitle }),
    node: h("article", { class: "stack" },
      h("h1", { tabindex: "-1" }, t("tickets.at-hand")),
      storedNotice(stored, signal),
      h("div", { class: "row" }, open),
      h("section", { class: "card" }, h("dl", { class: "pairs" }, pairs.map(([key, value]) => [h("dt", {}, t(`order.${key}`)), h("dd", {}, value)])))),
  };
}

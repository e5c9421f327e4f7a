// An exchange, and what it costs or gives back, in words. The amounts are the server's plan; only the difference of two prices is
// computed here.

import { get, newKey, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { full, list, money } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { bill, linesOf, rows, typesOf } from "./bill.js";
import { ask } from "./dialog.js";
import { message } from "./notice.js";

const minus = (a, b) => ({ ...a, amount: a.amount - b.amount });

/** How much more or less the new seats cost than the old ones. */
export function difference(total, before) {
  const more = minus(total, before);
  if (more.amount === 0) return t("exchange.same");
  return more.amount > 0 ? t("exchange.more", { total: money(more) }) : t("exchange.less", { total: money(minus(before, total)) });
}

/** Whether less comes back than the new seats are cheaper. */
const losesMoney = ({ total, refund, payable }, previous) => payable.amount === 0 && refund.amount < previous.total.amount - total.amount;

/** A message with what is paid, what comes back and when. `plan` is `{total, refund, payable}` for the order `previous`. */
export function exchangeMoney(plan, previous) {
  const { total, refund, payable } = plan;
  const less = minus(previous.total, total);
  const until = h("p", {}, t("exchange.until", { n: previous.seats.length, seats: list(previous.seats) }));
  if (payable.amount > 0) {
    const credit = minus(total, payable);
    const pay = t(isFree(credit) ? "exchange.pay-free" : "exchange.pay", { total: money(payable), price: money(total), credit: money(credit) });
    return message("warn", pay, until);
  }
  if (less.amount < 0) return message("warn", t("exchange.waived", { more: money(minus(total, previous.total)) }), until);
  if (losesMoney(plan, previous)) return message("warn", t(refund.amount > 0 ? "exchange.part-back" : "exchange.nothing-back", { less: money(less), back: money(refund) }));
  if (refund.amount > 0) return message("good", t("exchange.back", { total: money(refund) }), h("p", {}, t("refund.about-REQUESTED")));
  return message("", t(isFree(total) ? "exchange.free" : "exchange.nothing", { total: price(total) }));
}

/** Exchanges the order `previous` for these tickets, only by the plan that the customer accepted. Returns the order, or null if they declined. */
export async function exchange(previous, { showtime, tickets }) {
  const path = `/v1/reservations/${previous.id}/exchange`;
  // The order of the seats decides which type each of them gets.
  const seats = tickets.list().map((ticket) => ticket.seat);
  const plan = await get(path, { showtimeId: showtime.id, seats: seats.join(",") });
  if (!(await confirm(plan, previous, { showtime, tickets }))) return null;
  return post(path, { showtimeId: showtime.id, seats, version: plan.version }, { key: newKey() });
}

/** Shows what the customer gets, and what it costs or gives back, and asks whether to do it. */
async function confirm(plan, previous, { showtime, tickets }) {
  const when = previous.showtimeId !== showtime.id && h("p", {}, `${showtime.movieTitle} · ${full(showtime.startsAt, showtime.timeZone)}`);
  const { orderFee } = tickets.tariff;
  const fees = orderFee.amount > 0 && !isFree(tickets.total()) ? [{ code: "ORDER", name: t("bill.per-order"), price: orderFee }] : [];
  const lines = linesOf(tickets);
  const parts = typesOf(lines) && h("dl", { class: "pairs" }, rows(bill({ lines, fees, total: plan.total })));
  const seats = list(tickets.seats.map((seat) => seat.id));
  const content = h("div", { class: "stack" }, h("p", {}, t("exchange.seats", { old: list(previous.seats), new: seats })), when, parts, exchangeMoney(plan, previous));
  const [action, look] = plan.payable.amount > 0 ? ["exchange.to-pay", "main"] : ["exchange.yes", losesMoney(plan, previous) ? "grave" : "main"];
  return (await ask(t("exchange.title"), content, [["no", t("exchange.no")], ["yes", t(action), look]])) === "yes";
}

// The money of an order for staff: its tickets by type, fees, total and taxes; and each ticket.

import { h } from "../lib/dom.js";
import { money, number } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { bill } from "../parts/bill.js";
import { table } from "./listing.js";

/** One entry of the list of amounts, with more about it. */
export const entry = (text, total, ...more) => h("li", {}, h("div", {}, text, more.filter(Boolean).map((about) => h("p", { class: "soft" }, about))), h("b", {}, total));

/** What the order costs, as entries of that list. */
export const bills = (reservation) => bill(reservation).map((item) => entry(...item));

/** Each ticket, where tickets have types. */
export function tickets({ lines }) {
  if (!lines.some((line) => line.typeName)) return null;
  const of = (line, minor) => money({ ...line.price, amount: minor });
  const columns = [
    [t("staff.order.seat"), (line) => line.seat],
    [t("staff.types.one"), (line) => line.typeName],
    [t("staff.types.reported"), (line) => t(`staff.types.${line.reportedAs ?? "FULL"}`)],
    [t("staff.order.price"), (line) => price(line.price), "number"],
    [t("staff.order.surcharge"), (line) => (line.surcharge ? of(line, line.surcharge) : "–"), "number"],
    [t("staff.order.tax"), (line) => (line.tax?.rate ? `${of(line, line.tax.amount)} (${number(line.tax.rate / 100_000, { style: "percent", maximumFractionDigits: 3 })})` : "–"), "number"],
  ];
  return h("details", { class: "fold" }, h("summary", {}, t("staff.order.by-seat")), table(t("staff.order.by-seat"), columns, lines));
}

/** The captured money without all refunds, settled or not. */
export function left({ captured, refunds }) {
  return { ...captured, amount: refunds.reduce((sum, item) => sum - item.total.amount, captured.amount) };
}

/** Whether money was captured; a free order has nothing to refund. */
export const isPaid = ({ captured }) => Boolean(captured) && !isFree(captured);

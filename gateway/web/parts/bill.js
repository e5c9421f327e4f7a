// What an order is made of: its tickets by type, fees, the total and the taxes in it; and the type of a single ticket.

import { h } from "../lib/dom.js";
import { list, money, number } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { price } from "../lib/price.js";
import { nameIn, t } from "../lib/text.js";

const sum = (lines) => ({ ...lines[0].price, amount: lines.reduce((sum, { price }) => sum + price.amount, 0) });
const counted = (n, type) => t("types.count", { n, type });

/** Lines of one type each, in the order of their first ticket; those of plain prices have no name. */
const byType = (lines) => [...groupBy(lines.filter((line) => line.typeName), (line) => line.type).values()];

/** 2 × Adult and 1 × Child, of `[[n, name]]`. */
export const countedText = (pairs) => list(pairs.filter(([n]) => n > 0).map(([n, name]) => counted(n, name)));

/** The same for the lines of an order; an empty text where they have plain prices. */
export const typesOf = (lines) => countedText(byType(lines).map((of) => [of.length, of[0].typeName]));

/** Tickets that are being chosen as lines of an order, with names in the reader's language. */
export const linesOf = (tickets) => tickets.priced().map((line) => ({ ...line, typeName: nameIn(line.name) }));

/** Pairs for a `dl`: tickets by type, fees, the total with its taxes, and what pays for it in an exchange. An order of plain prices has only the total. */
export function bill({ lines, fees = [], total, taxes = [], credit, waived, due }) {
  const types = byType(lines).map((of) => [counted(of.length, of[0].typeName), price(sum(of)), of[0].proof && t("types.proof", { proof: of[0].proof })]);
  const extra = [...groupBy(fees, (fee) => fee.code).values()].map((of) => [of.length > 1 ? counted(of.length, of[0].name) : of[0].name, price(sum(of))]);
  const tickets = types.length === 0 && extra.length > 0 ? [[t("order.tickets"), money(sum(lines))]] : types;
  const tax = ({ rate, tax }) => t("bill.tax", { rate: number(rate / 100_000, { style: "percent", maximumFractionDigits: 3 }), tax: money({ ...total, amount: tax }) });
  const paid = [credit && [t("order.credit"), money(credit)], waived && [t("order.waived"), money(waived)], credit && due && [t("order.due"), money(due)]];
  return [...tickets, ...extra, [t("order.total"), price(total), ...taxes.map(tax)], ...paid.filter(Boolean)];
}

/** The rows of a `dl`. */
export const rows = (pairs) => pairs.map(([name, value, ...more]) => [h("dt", {}, name), h("dd", {}, value, more.filter(Boolean).map((text) => h("small", { class: "soft" }, text)))]);

/** The type of the ticket for a seat and what to show for it at the door: Student · please show: student card. Or an empty text. */
export function ticketText({ lines = [] }, seat) {
  const line = lines.find((line) => line.seat === seat);
  return [line?.typeName, line?.proof && t("types.proof", { proof: line.proof })].filter(Boolean).join(" · ");
}

/** The names of the ticket types that a problem means, as an order's lines have them. */
export function namesOf({ ticketTypes = [] }, lines) {
  const [type, other] = ticketTypes.map((code) => lines.find((line) => line.type === code)?.typeName || undefined);
  return { type, other };
}

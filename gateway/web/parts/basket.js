// The bar below the hall: who is coming, the chosen seats with their sum and fees, and the button to continue.

import { h, replace } from "../lib/dom.js";
import { list, money } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { isPlain } from "../lib/tariff.js";
import { t } from "../lib/text.js";
import { linesOf, typesOf } from "./bill.js";
import { waiting } from "./notice.js";
import { who } from "./who.js";

/**
 * `previous` is the order that is exchanged and `exchange` the module for it; `state` is the sign of the live connection. `hold()`
 * continues, `clear()` removes the choice; `changed()` and `refused(sentence)` as in `who`.
 */
export function basket({ tickets, previous, exchange, state, hold, clear, changed, refused }) {
  // In an exchange the types stay as they are.
  const types = previous ? null : who(tickets, { changed, refused });
  const line = h("div", { class: "basket-line" });
  /** The types of an exchange, and how the sum differs from that of the order before. */
  const before = () => [typesOf(linesOf(tickets)), exchange.difference(tickets.total(), previous.total)].filter(Boolean).join(" · ");
  const fees = h("small", { class: "basket-fees soft" });
  const button = (look, text, work, disabled) => h("button", { class: `button ${look}`, type: "button", disabled, on: { click: work } }, text);
  return {
    node: h("div", { class: "basket" }, types?.node, line, fees),
    /** `seats` are the chosen ones in the hall's order. */
    draw(seats) {
      const hasChoice = seats.length > 0;
      types?.draw();
      replace(line,
        h("div", { class: "basket-words" }, h("strong", {}, hasChoice && price(tickets.total())), h("span", {}, hasChoice ? list(seats) : t("seats.none")), hasChoice && previous && h("small", { class: "soft" }, before())),
        state,
        seats.length > 1 && button("bare small", t("seats.clear"), clear),
        button("main", t(previous ? "seats.exchange-action" : "seats.hold"), hold, !hasChoice));
      fees.textContent = hasChoice ? feesOf(tickets) : "";
    },
    /** While the seats are being held. */
    wait(seats) {
      if (types) types.node.hidden = true;
      replace(line, waiting(t("seats.holding", { seats: list(seats) })));
    },
    focus: () => line.querySelector("button")?.focus(),
  };
}

/** That the sum is what is paid, with all fees; and which fee each order has. */
function feesOf(tickets) {
  const { orderFee } = tickets.tariff;
  if (isPlain(tickets.tariff) || isFree(tickets.total())) return "";
  return [t("seats.fees-included"), orderFee.amount > 0 && t("seats.order-fee", { fee: money(orderFee) })].filter(Boolean).join(" · ");
}

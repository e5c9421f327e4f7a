// What stands around a hall: what its seats mean and cost, and the choice of the best seats.

import { h } from "../lib/dom.js";
import { money } from "../lib/format.js";
import { price } from "../lib/price.js";
import { t } from "../lib/text.js";

/** The items of the legend: kinds of seats with the price first shown, states, and the fee of an order. `isMine`: some seats are the user's. */
export function legend(seats, { isMine, orderFee }) {
  const kinds = new Map(seats.filter((seat) => seat.price).map((seat) => [seat.kind, seat.price]));
  const sample = (state, kind = "STANDARD") => h("span", { class: "seat sample", "aria-hidden": "true", dataset: { state, kind } });
  const states = ["chosen", ...(isMine ? ["mine"] : []), "held", "sold"];
  const items = [
    ...[...kinds].map(([kind, seatPrice]) => [sample("free", kind), `${t(`kind.${kind}`)} ${price(seatPrice)}`]),
    ...states.map((state) => [sample(state), t(`seats.state.${state}`)]),
    ...(orderFee.amount > 0 ? [[null, t("price.order-fee", { fee: money(orderFee) })]] : []),
  ];
  return items.map(([seat, text]) => h("li", {}, seat, h("span", {}, text)));
}

/** The best 2 together: a number up to `most`, and a button that calls `pick(number)`. */
export function bestRow(most, pick) {
  const count = h("select", { class: "input", id: "best-count", "aria-label": t("seats.best-count") }, Array.from({ length: most }, (_, at) => h("option", { value: at + 1, selected: at === 1 }, at + 1)));
  return h("div", { class: "row best" }, h("span", {}, t("seats.best")), count, h("span", {}, t("seats.together")), h("button", { class: "button", type: "button", on: { click: () => pick(count.value) } }, t("seats.pick")));
}

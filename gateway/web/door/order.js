// The seats of an order whose code was typed at the door, each with its answer or a button that lets its holder in. The code is
// no secret and is not signed, so the order is read from the server: without it no code is of use.

import { all } from "../lib/api.js";
import { shownCode } from "../lib/code.js";
import { h, replace } from "../lib/dom.js";
import { list, time } from "../lib/format.js";
import { t } from "../lib/text.js";
import { partsOf } from "../parts/seat.js";
import { admit, removeAdmission, seen } from "./book.js";
import { typeOf } from "./type.js";

/** The order with this code, or undefined. */
export async function findOrder(code, signal) {
  const [order] = await all("/v1/reservations", { code }, { signal, cache: "no-cache" });
  return order;
}

/** A list of the order's seats. `refusal(claims)` says why a paid seat is not for now; `onChange(kind)` follows each admission. */
export function orderSeats(order, zone, refusal, onChange) {
  const claims = order.seats.map((seat) => ({ sub: order.id, show: order.showtimeId, seat }));
  const refused = (one) => (order.status === "CONFIRMED" ? refusal(one)?.code : order.status === "PENDING" ? "unpaid" : "cancelled");
  const open = () => claims.filter((one) => !refused(one) && !seen(one));
  const seats = h("ul", { class: "door-seats", role: "list" });
  const whole = h("p", {});
  const button = (text, look, work) => h("button", { class: `button ${look}`, type: "button", on: { click: work } }, text);
  const letIn = (some) => () => {
    some.forEach((one) => admit(one));
    draw();
    onChange("good");
  };
  const takeBack = (one) => () => {
    removeAdmission(one);
    draw();
    onChange();
  };
  const answer = (one) => {
    const at = seen(one);
    if (refused(one)) return h("b", {}, t(`door.maybe.${refused(one)}`));
    if (!at) return button(t("door.let-in"), "main", letIn([one]));
    return [h("b", {}, t("door.in-since", { at: time(at, zone) })), " ", button(t("door.undo"), "small", takeBack(one))];
  };
  const draw = () => {
    replace(seats, claims.map((one) => {
      const { row, number } = partsOf(one.seat);
      const line = order.lines.find((line) => line.seat === one.seat);
      const type = line?.typeName ? typeOf(line.type, line) : null;
      return h("li", { dataset: { state: refused(one) ? "refused" : seen(one) ? "in" : "open" } }, h("span", {}, t("door.seat-of", { row, number }), type), h("span", {}, answer(one)));
    }));
    replace(whole, open().length > 1 && button(t("door.let-all-in", { n: open().length }), "main", letIn(open())));
  };
  draw();
  return [h("p", { class: "door-word" }, t("tickets.order", { code: shownCode(order.code) })), h("p", { class: "unseen" }, list(order.seats)), seats, whole];
}

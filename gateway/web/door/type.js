// What the door says of a ticket's type: its name, and what to ask for. The names are stored on the device; a type that has been
// deleted since has the name that its order has, or else only its code.

import { h } from "../lib/dom.js";
import { nameIn, t } from "../lib/text.js";
import { ticketType } from "./book.js";

/** An element, or null for a ticket of plain prices. `line` is the ticket's line of the order, where that is known. */
export function typeOf(code, line) {
  if (!code) return null;
  const { name, proof } = ticketType(code) ?? {};
  const ask = nameIn(proof) || line?.proof;
  return h("span", { class: "door-type" }, h("b", {}, nameIn(name) || line?.typeName || code), ask && " · ", ask && h("span", {}, t("types.ask", { proof: ask })));
}

// A guest's order: asking for its address before paying, and afterwards correcting it or keeping the order in an account. The forms are
// loaded when they are needed.

import { h, replace } from "../lib/dom.js";
import { isPast } from "../lib/clock.js";
import { orderToken } from "../lib/order-token.js";
import { t } from "../lib/text.js";

/** A place for the form that asks for the address of `order` and then calls `pay(order)`; `failed(problem)` where it cannot be loaded. */
export function customerForm(order, due, pay, { failed, signal }) {
  const place = h("div", {});
  const load = async () => {
    const { customerForm: make } = await import("./customer.js");
    const made = await make(order, due, pay);
    if (signal.aborted) return;
    replace(place, made);
    // The address is all that is missing.
    made.querySelector("input").focus();
  };
  load().catch(failed);
  return place;
}

/** Where a guest's tickets are, and what to do with the order. `isOwner`: the reader may correct its address; `done(order)` gets it then. */
export function guestOrder(order, isOwner, { button, done }) {
  const place = h("div", {});
  const correct = async () => {
    const { addressForm } = await import("./customer.js");
    replace(place, await addressForm(order, done));
    place.querySelector("input").focus();
  };
  const to = `?to=${encodeURIComponent(location.pathname)}${orderToken(order.id) ? `&order=${order.id}` : ""}`;
  return h(
    "section",
    { class: "stack" },
    h("p", {}, t("guest.sent", { email: order.customer?.email })),
    h("div", { class: "row" },
      isOwner && !isPast(order.startsAt) && button(t("guest.correct"), "bare small", correct),
      h("a", { class: "button bare small", href: `/register${to}` }, t("guest.register")),
      h("a", { class: "button bare small", href: `/login${to}` }, t("guest.add"))),
    place,
  );
}

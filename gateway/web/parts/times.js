// Showtimes as links: local time, version and format, auditorium and lowest price, and whether few or no seats are left. One that is
// not sold now is no link, and says why, or when its sale begins.

import { h } from "../lib/dom.js";
import { money, time } from "../lib/format.js";
import { isFree } from "../lib/price.js";
import { t } from "../lib/text.js";
import { saleOf, showingBadges, unsoldText } from "./showing.js";

/** The lowest price of a seat. */
export function least(showtime) {
  // A companion seat is only sold together with another one.
  const prices = Object.entries(showtime.prices).filter(([kind]) => kind !== "COMPANION").map(([, price]) => price);
  return prices.reduce((least, price) => (price.amount < least.amount ? price : least), prices[0]);
}

/** The text for the lowest price, with the fee of an order beside it; for free seats, whether all are free. */
function cost(showtime, least) {
  const fee = showtime.orderFee?.amount > 0 ? ` ${t("price.order-fee", { fee: money(showtime.orderFee) })}` : "";
  if (!isFree(least)) return t("times.from", { price: money(least) }) + fee;
  return t(Object.values(showtime.prices).every(isFree) ? "price.free" : "times.some-free");
}

/** "few left" or "sold out"; nothing while there are plenty, or where the server does not know. */
export function left({ availability }) {
  return (availability === "FEW" || availability === "SOLD_OUT") && h("span", { class: "left", dataset: { left: availability } }, t(`times.${availability}`));
}

/** The seats of a showtime. `exchange` is the id of an order that is moved to it. */
export const seatsOf = (showtime, exchange) => `/showtimes/${showtime.id}${exchange ? `?exchange=${exchange}` : ""}`;

/** `exchange` is the id of an order that is moved to another showtime. */
export function times(showtimes, exchange) {
  const item = (showtime) => {
    const at = time(showtime.startsAt, showtime.timeZone);
    const sale = saleOf(showtime);
    if (sale === "not-yet" || sale === "ended") {
      return h("li", {}, h("span", { class: "time over" }, h("span", {}, h("b", {}, at), " ", showingBadges(showtime)), h("small", {}, `${showtime.auditoriumName} · ${unsoldText(showtime)}`)));
    }
    if (sale !== "open") return h("li", {}, h("span", { class: "time over" }, h("b", {}, at), h("small", {}, unsoldText(showtime))));
    const price = least(showtime);
    return h("li", {},
      h("a", { class: "time", href: seatsOf(showtime, exchange), dataset: { left: showtime.availability ?? "" } },
        h("span", {}, h("b", {}, at), " ", showingBadges(showtime), left(showtime)),
        h("small", {}, [showtime.auditoriumName, price && cost(showtime, price)].filter(Boolean).join(" · "))));
  };
  return h("ul", { class: "times", role: "list" }, showtimes.map(item));
}

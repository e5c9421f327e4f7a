// Showtimes as links: local time, auditorium and lowest price.

import { isPast } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { money, time } from "../lib/format.js";
import { isFree } from "../lib/price.js";
import { t } from "../lib/text.js";

/** Whether seats can still be bought. */
export const isOpen = (showtime) => showtime.status === "ON_SALE" && !isPast(showtime.startsAt);

/** The lowest price of a seat. */
export function least(showtime) {
  // A companion seat is only sold together with another one.
  const prices = Object.entries(showtime.prices).filter(([kind]) => kind !== "COMPANION").map(([, price]) => price);
  return prices.reduce((least, price) => (price.amount < least.amount ? price : least), prices[0]);
}

/** The text for the lowest price; for free seats, whether all are free. */
function cost(showtime, least) {
  if (!isFree(least)) return t("times.from", { price: money(least) });
  return t(Object.values(showtime.prices).every(isFree) ? "price.free" : "times.some-free");
}

/** `exchange` is the id of an order that is moved to another showtime. */
export function times(showtimes, exchange) {
  const item = (showtime) => {
    const at = time(showtime.startsAt, showtime.timeZone);
    if (!isOpen(showtime)) {
      const why = showtime.status === "CANCELLED" ? t("times.cancelled") : t("times.over");
      return h("li", {}, h("span", { class: "time over" }, h("b", {}, at), h("small", {}, why)));
    }
    const price = least(showtime);
    return h("li", {}, h("a", { class: "time", href: `/showtimes/${showtime.id}${exchange ? `?exchange=${exchange}` : ""}` }, h("b", {}, at), h("small", {}, [showtime.auditoriumName, price && cost(showtime, price)].filter(Boolean).join(" · "))));
  };
  return h("ul", { class: "times", role: "list" }, showtimes.map(item));
}

// Showtimes as what one can press: the time by the clock on the cinema's wall, the hall, the least price.

import { h } from "../lib/dom.js";
import { money, time } from "../lib/format.js";
import { t } from "../lib/text.js";

/** Whether seats can still be bought. */
export const isOpen = (showtime) => showtime.status === "ON_SALE" && new Date(showtime.startsAt) > new Date();

/** The least that a seat costs. */
export function least(showtime) {
  // A companion's seat is only sold beside another one.
  const prices = Object.entries(showtime.prices).filter(([kind]) => kind !== "COMPANION").map(([, price]) => price);
  return prices.reduce((least, price) => (price.amount < least.amount ? price : least), prices[0]);
}

export function times(showtimes) {
  const one = (showtime) => {
    const at = time(showtime.startsAt, showtime.timeZone);
    if (!isOpen(showtime)) {
      const why = showtime.status === "CANCELLED" ? t("times.cancelled") : t("times.over");
      return h("li", {}, h("span", { class: "time over" }, h("b", {}, at), h("small", {}, why)));
    }
    const price = least(showtime);
    return h("li", {}, h("a", { class: "time", href: `/showtimes/${showtime.id}` }, h("b", {}, at), h("small", {}, [showtime.auditoriumName, price && t("times.from", { price: money(price) })].filter(Boolean).join(" · "))));
  };
  return h("ul", { class: "times", role: "list" }, showtimes.map(one));
}

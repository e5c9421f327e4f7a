// The times of a movie on other days than the chosen one, as a line of links: also tomorrow 20:15, Fri 17:30.

import { all } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { dateOf, dateParts, later, time } from "../lib/format.js";
import { t } from "../lib/text.js";
import { saleOf, unsoldText } from "./showing.js";
import { left, seatsOf } from "./times.js";

/** Times in the line; the movie's page has all of them. */
const TIMES_MOST = 4;
/** A day that is fewer days ahead is known by its weekday. */
const WEEK = 7;

/** The showtimes of a movie that have not begun. */
export const showtimesOf = (movieId, signal) => all("/v1/showtimes", { movieId }, { signal, isPublic: true });

/** `more` is the address of the movie's page; `isAlso` says that times of the chosen day stand before the line. */
export function others(showtimes, { today, more, isAlso }) {
  const link = (showtime) => {
    const date = dateOf(showtime.startsAt, showtime.timeZone);
    const { weekday, short } = dateParts(date);
    const far = date < later(today, WEEK) ? weekday : `${weekday} ${short}`;
    const day = date === today ? t("days.today") : date === later(today, 1) ? t("days.tomorrow") : far;
    const at = `${day} ${time(showtime.startsAt, showtime.timeZone)}`;
    if (saleOf(showtime) !== "open") return h("span", {}, `${at}, ${unsoldText(showtime)}`);
    return h("a", { href: seatsOf(showtime) }, at, left(showtime));
  };
  const rest = showtimes.length - TIMES_MOST;
  return h("p", { class: "also" },
    isAlso && h("span", {}, t("programme.also")),
    showtimes.slice(0, TIMES_MOST).map(link),
    rest > 0 && h("a", { href: more }, t("programme.more", { n: rest })));
}

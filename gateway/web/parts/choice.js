// The chosen seats and ticket types of a showtime, kept in this tab's session storage over a login and a reload.

import { now } from "../lib/clock.js";

/** A choice older than a usual hold (ms) is forgotten: its seats are likely gone, and the visitor has forgotten it, too. */
const KEPT_MS = 10 * 60_000;
const storageKey = (showtimeId) => `marquee.choice.${showtimeId}`;

/** Stores the chosen seats of a showtime, and how many tickets are of which type but the default one; no seats remove the choice. */
export function storeChoice(showtimeId, seats, types = {}) {
  if (seats.length) sessionStorage.setItem(storageKey(showtimeId), JSON.stringify({ seats, types, at: now() }));
  else sessionStorage.removeItem(storageKey(showtimeId));
}

/** The ids of the seats that were chosen a short while ago, and the types: `{seats, types: {CHILD: 1}}`. */
export function keptChoice(showtimeId) {
  const { seats = [], types = {}, at = 0 } = JSON.parse(sessionStorage.getItem(storageKey(showtimeId)) ?? "{}");
  return now() - at < KEPT_MS ? { seats, types } : { seats: [], types: {} };
}

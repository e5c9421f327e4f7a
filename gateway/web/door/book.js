// Who came in at this door: the first time that each ticket was shown, kept on this device so that a copy is seen without
// a connection and after a reload. Other devices do not know of it: the house has no list of who came in.

import { now } from "../lib/clock.js";

const KEPT = "marquee.door.scans";
const SHOWS = "marquee.door.shows";
/** As long as a ticket holds, and some hours. */
const KEEP_MS = 36 * 3600 * 1000;
/** More than a day of a large house through one door. */
const MOST = 5000;

const nameOf = ({ show, seat, sub }) => `${show} ${seat} ${sub}`;

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}

/** Notes a ticket; returns when it was first shown (ms), or null when that is now. */
export function admit(claims, at = now()) {
  const scans = read(KEPT);
  const first = scans[nameOf(claims)];
  if (first) return first;
  scans[nameOf(claims)] = at;
  const kept = Object.entries(scans).filter(([, seenAt]) => at - seenAt < KEEP_MS).sort((a, b) => b[1] - a[1]).slice(0, MOST);
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(kept)));
  return null;
}

/** When a ticket was first shown here, if it was. */
export const seen = (claims) => read(KEPT)[nameOf(claims)] ?? null;

/** Takes one back, where somebody was let in by mistake. */
export function forget(claims) {
  const scans = read(KEPT);
  delete scans[nameOf(claims)];
  localStorage.setItem(KEPT, JSON.stringify(scans));
}

/** How many came in, of a showtime or in all. */
export const count = (show) => Object.keys(read(KEPT)).filter((name) => !show || name.startsWith(show)).length;

/** Keeps what is on, so that film and screen are told without a connection. */
export function keepShows(showtimes) {
  const brief = showtimes.map(({ id, movieTitle, auditoriumName, startsAt, timeZone, status }) => [id, { movieTitle, auditoriumName, startsAt, timeZone, status }]);
  localStorage.setItem(SHOWS, JSON.stringify(Object.fromEntries(brief)));
}

export const shows = () => read(SHOWS);

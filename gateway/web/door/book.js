// The admissions at this door: when each ticket was first shown. Kept on this device, so that a copy is detected without
// a connection and after a reload. Other devices do not share it: the API has no list of admissions. Also kept are the showtimes and
// ticket types of which a ticket has only the id and the code.

import { now } from "../lib/clock.js";

const SCANS_KEY = "marquee.door.scans";
const SHOWS_KEY = "marquee.door.shows";
const TYPES_KEY = "marquee.door.types";
/** Longer than a ticket is valid. */
const KEEP_MS = 36 * 3600 * 1000;
/** More admissions than one door has in a day. */
const SCANS_MAX = 5000;

const nameOf = ({ show, seat, sub }) => `${show} ${seat} ${sub}`;

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}

/** Records a ticket; returns when it was first shown (ms), or null if it is shown for the first time. */
export function admit(claims, at = now()) {
  const scans = read(SCANS_KEY);
  const first = scans[nameOf(claims)];
  if (first) return first;
  scans[nameOf(claims)] = at;
  const kept = Object.entries(scans).filter(([, seenAt]) => at - seenAt < KEEP_MS).sort((a, b) => b[1] - a[1]).slice(0, SCANS_MAX);
  localStorage.setItem(SCANS_KEY, JSON.stringify(Object.fromEntries(kept)));
  return null;
}

/** When a ticket was first shown at this device, or null. */
export const seen = (claims) => read(SCANS_KEY)[nameOf(claims)] ?? null;

/** Removes an admission that was made by mistake. */
export function removeAdmission(claims) {
  const scans = read(SCANS_KEY);
  delete scans[nameOf(claims)];
  localStorage.setItem(SCANS_KEY, JSON.stringify(scans));
}

/** The number of admissions, of a showtime or in all. */
export const count = (show) => Object.keys(read(SCANS_KEY)).filter((name) => !show || name.startsWith(show)).length;

/** Stores the showtimes, so that movie and auditorium can be shown without a connection. */
export function storeShows(showtimes) {
  const brief = showtimes.map(({ id, movieTitle, auditoriumName, startsAt, timeZone, status }) => [id, { movieTitle, auditoriumName, startsAt, timeZone, status }]);
  localStorage.setItem(SHOWS_KEY, JSON.stringify(Object.fromEntries(brief)));
}

export const shows = () => read(SHOWS_KEY);

/** Stores the ticket types: their names, and what a visitor shows for them. */
export function storeTypes(types) {
  localStorage.setItem(TYPES_KEY, JSON.stringify(Object.fromEntries(types.map(({ code, name, proof }) => [code, { name, proof }]))));
}

/** `{name, proof?}` of a ticket type, each in several languages; or undefined. */
export const ticketType = (code) => read(TYPES_KEY)[code];

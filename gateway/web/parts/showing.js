// What a showtime shows: version and format as short texts in boxes, each with its full words for screen readers; whether it is
// sold now, by the same rule as the hosts', and when the film begins after the advertising.

import { isPast, now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, languageName, list, moment, time } from "../lib/format.js";
import { isStaff } from "../lib/session.js";
import { t } from "../lib/text.js";

/** The kinds of versions, as in the contract. */
export const VERSION_KINDS = ["OV", "DUBBED", "SUBTITLED"];
/** The formats that the server knows. */
export const FORMATS = ["2D", "3D", "4K", "HFR", "IMAX", "IMAX 3D", "DOLBY CINEMA", "4DX", "SCREENX", "D-BOX", "35MM", "70MM"];
/** The ages by which the programme can be filtered. */
export const AGES = ["0", "6", "12", "16"];

/** Original version (English), subtitles: German */
export const versionText = ({ kind, audio, subtitles = [] }) => t(`version.${kind}`, { audio: languageName(audio), subtitles: list(subtitles.map(languageName)) });

/** OV EN, or OV EN/DE with subtitles in the second language. */
const versionShort = ({ kind, audio, subtitles = [] }) => t(`version.short-${kind}`, { audio: audio.toUpperCase(), subtitles: subtitles.map((tag) => tag.toUpperCase()).join("/") });

/** 3D · Original version (English); empty where nothing is known. */
export const showingText = ({ filmVersion, format }) => [format, filmVersion && versionText(filmVersion)].filter(Boolean).join(" · ");

/** A short text in a box; `full` is read instead of it. */
export const box = (short, full, look = "") => h("span", { class: `badge ${look}` }, full === short ? short : [h("span", { "aria-hidden": "true" }, short), h("span", { class: "unseen" }, full)]);

/** Version and format of a showtime in boxes; nothing where they are not known. */
export function showingBadges({ filmVersion, format }) {
  if (!filmVersion && !format) return null;
  return h("span", { class: "badges" }, format && box(format, format), " ", filmVersion && box(versionShort(filmVersion), versionText(filmVersion)));
}

/** Whether seats of a showtime can be bought now: `open`, `not-yet`, `ended`, `begun`, `cancelled` or `draft`. Staff sell until the start. */
export function saleOf({ status, startsAt, onSaleAt, salesEndAt }) {
  if (status !== "ON_SALE") return status === "CANCELLED" ? "cancelled" : "draft";
  if (isPast(startsAt)) return "begun";
  if (salesEndAt && isPast(salesEndAt) && !isStaff()) return "ended";
  return onSaleAt && !isPast(onSaleAt) ? "not-yet" : "open";
}

/** The milliseconds until `saleOf` may change, or null where it will not. */
export function saleChangesIn({ status, startsAt, onSaleAt, salesEndAt }) {
  const left = [startsAt, onSaleAt, salesEndAt].filter(Boolean).map((at) => new Date(at) - now()).filter((ms) => ms > 0);
  return status === "ON_SALE" && left.length ? Math.min(...left) : null;
}

/** Why a showtime is not sold now, in a few words; for its start of the sale “on sale from Fri, 1 May, 10:00”, by the auditorium's clock; today's without the day. */
export function unsoldText(showtime) {
  const { timeZone, onSaleAt: at } = showtime;
  const sale = saleOf(showtime);
  if (sale !== "not-yet") return t({ cancelled: "times.cancelled", ended: "times.ended" }[sale] ?? "times.over");
  const isToday = dateOf(at, timeZone) === dateOf(now(), timeZone);
  return t("times.on-sale-from", { at: isToday ? time(at, timeZone) : moment(at, timeZone) });
}

/** 20:35, when the film begins after the advertising; null where it begins with the show. */
export function filmBegins({ startsAt, timeZone, minutesBeforeFilm = 0 }) {
  return minutesBeforeFilm > 0 ? time(new Date(startsAt).valueOf() + minutesBeforeFilm * 60_000, timeZone) : null;
}

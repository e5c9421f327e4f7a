// When price cards apply: in words, at a time, and over the week. The server decides when a showtime is scheduled, by the same rule
// (`PriceCardFields::applies`); here it is shown beforehand. A browser test compares both. No DOM.

import { list } from "../lib/format.js";
import { locale, t } from "../lib/text.js";

export const WEEKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
/** 5 January 2026 is a Monday. */
const dayOf = (weekday) => new Date(Date.UTC(2026, 0, 5 + WEEKDAYS.indexOf(weekday)));

/** Tue, or with the style `long` Tuesday. */
export const weekdayName = (weekday, style = "short") => new Intl.DateTimeFormat(locale(), { weekday: style, timeZone: "UTC" }).format(dayOf(weekday));

/** The weekday of a date such as 2026-05-01. */
export const weekdayOf = (date) => WEEKDAYS[(new Date(`${date}T00:00Z`).getUTCDay() + 6) % 7];

/** Whether a card applies to shows that begin on this weekday at this time (`HH:MM`: such texts compare as their times do). */
function applies({ weekdays, from, until }, weekday, time) {
  const isBegun = !from || from <= time;
  const isNotOver = !until || time < until;
  const isOverMidnight = from && until && until <= from;
  return (!weekdays || weekdays.includes(weekday)) && (isOverMidnight ? isBegun || isNotOver : isBegun && isNotOver);
}

/** The first card that applies, or undefined. `cards` are in the server's order. */
export const cardAt = (cards, weekday, time) => cards.find((card) => applies(card, weekday, time));

/** When a card applies: “Tuesday before 17:30”. */
export function whenText({ weekdays, from, until }) {
  const isEveryDay = !weekdays || weekdays.length === WEEKDAYS.length;
  const days = isEveryDay ? t("staff.cards.every-day") : list(WEEKDAYS.filter((day) => weekdays.includes(day)).map((day) => weekdayName(day, "long")));
  const kind = from && until ? (until <= from ? "night" : "between") : from ? "from" : until ? "until" : "all";
  return t(`staff.cards.when-${kind}`, { days, from, until });
}

/** The week as rows `{from, until, cards}` of times with the same cards; `cards` has the card of each weekday, or undefined. */
export function week(cards) {
  const marks = [...new Set(["00:00", ...cards.flatMap((card) => [card.from, card.until])])].filter(Boolean).sort();
  const rows = [];
  for (const [at, from] of marks.entries()) {
    const until = marks[at + 1] ?? "24:00";
    const found = WEEKDAYS.map((weekday) => cardAt(cards, weekday, from));
    const before = rows.at(-1);
    if (before?.cards.every((card, day) => card === found[day])) before.until = until;
    else rows.push({ from, until, cards: found });
  }
  return rows;
}

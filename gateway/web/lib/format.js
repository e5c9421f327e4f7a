// Formats money, dates and times in the reader's language and in the showtime's time zone, never the browser's. Formatters
// are cached, since creating one costs more than using it.

import { currency as rulesOf } from "./currencies.js";
import { locale } from "./text.js";

const kept = new Map();

function formatter(kind, options) {
  const key = locale() + kind.name + JSON.stringify(options);
  if (!kept.has(key)) kept.set(key, new kind(locale(), options));
  return kept.get(key);
}

const date = (options) => formatter(Intl.DateTimeFormat, options);

/** `{amount: 2400, currency: "EUR"}` as €24.00, with the number of digits from the server, never the browser's. */
export function money({ amount, currency }) {
  const { digits } = rulesOf(currency);
  const format = formatter(Intl.NumberFormat, { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits });
  return format.format(amount / 10 ** digits);
}

/** The same, shortened: €1.2K. */
export function briefMoney({ amount, currency }) {
  const format = formatter(Intl.NumberFormat, { style: "currency", currency, notation: "compact", minimumFractionDigits: 0, maximumFractionDigits: 1 });
  return format.format(amount / 10 ** rulesOf(currency).digits);
}

/** CHF – Swiss Franc, or only the code if the browser has no name for it. */
export function currencyName(code) {
  const name = formatter(Intl.DisplayNames, { type: "currency", fallback: "none" }).of(code);
  return name ? `${code} – ${name}` : code;
}

export const number = (value, options = {}) => formatter(Intl.NumberFormat, options).format(value);

/** 20:15:30, in this browser's time zone. */
export const clock = (at) => date({ timeStyle: "medium" }).format(new Date(at));

/** 20:15 */
export const time = (at, timeZone) => date({ hour: "2-digit", minute: "2-digit", timeZone }).format(new Date(at));

/** Friday, 1 May */
export const day = (at, timeZone) => date({ weekday: "long", day: "numeric", month: "long", timeZone }).format(new Date(at));

/** Fri, 1 May, 20:15 */
export const moment = (at, timeZone) =>
  date({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone }).format(new Date(at));

/** Friday, 1 May 2026 at 20:15 */
export const full = (at, timeZone) => date({ dateStyle: "full", timeStyle: "short", timeZone }).format(new Date(at));

/** 1 May 2026, of a date without a time such as 2026-05-01. */
export const plainDate = (text) => date({ day: "numeric", month: "long", year: "numeric", timeZone: "UTC" }).format(new Date(`${text}T00:00Z`));

/** The parts of a date: Fri, 1, May, and the last two in the language's order. */
export function dateParts(text) {
  const at = new Date(`${text}T00:00Z`);
  const part = (options) => date({ ...options, timeZone: "UTC" }).format(at);
  return { weekday: part({ weekday: "short" }), day: part({ day: "numeric" }), month: part({ month: "short" }), short: part({ day: "numeric", month: "short" }), long: part({ weekday: "long", day: "numeric", month: "long" }) };
}

/** 2026-05-01: the date of an instant in a time zone. */
export function dateOf(at, timeZone) {
  // Canadian English uses the format of ISO 8601.
  return new Intl.DateTimeFormat("en-CA", { dateStyle: "short", timeZone }).format(new Date(at));
}

/** Whether a text is a day of the calendar, such as 2026-05-01. */
export function isDate(text) {
  const at = new Date(`${text}T00:00Z`);
  return /^\d{4}-\d\d-\d\d$/.test(text ?? "") && !Number.isNaN(at.valueOf()) && at.toISOString().startsWith(text);
}

/** The date `days` days later. */
export function later(text, days) {
  const at = new Date(`${text}T00:00Z`);
  at.setUTCDate(at.getUTCDate() + days);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(0, 10);
}

/** 1 h 36 min */
export function duration(minutes) {
  const unit = (value, name) => formatter(Intl.NumberFormat, { style: "unit", unit: name, unitDisplay: "short" }).format(value);
  const hours = Math.floor(minutes / 60);
  return [hours && unit(hours, "hour"), minutes % 60 && unit(minutes % 60, "minute")].filter(Boolean).join(" ");
}

/** Seconds as 9:05. */
export function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

/** A1, A2 and B3 */
export const list = (items) => formatter(Intl.ListFormat, { type: "conjunction" }).format(items);

/** The name of a language code, or the text itself if it is not a code. */
export function languageName(code) {
  try {
    return /^[a-z]{2,3}(-\w+)*$/i.test(code) ? formatter(Intl.DisplayNames, { type: "language" }).of(code) : code;
  } catch {
    return code;
  }
}

// Parses amounts of money as people type them. The result is the amount that is meant, or an explanation how to write it: a
// separator that may mean thousands or decimals is never guessed.

import { Problem } from "./api.js";
import { currency } from "./currencies.js";
import { money } from "./format.js";
import { locale, t } from "./text.js";

/** The decimal separator of the reader's locale. */
function decimalSign() {
  return new Intl.NumberFormat(locale()).formatToParts(1.5).find((part) => part.type === "decimal").value;
}

/** Formats minor units for an input field, in a form that `readAmount` parses: 1250.00 or 1250,00. */
export function writeAmount(amount, code) {
  const { digits } = currency(code);
  const text = String(amount).padStart(digits + 1, "0");
  return digits ? text.slice(0, -digits) + decimalSign() + text.slice(-digits) : text;
}

/**
 * Parses a text as minor units of a currency: `{amount}`, or `{wrong}` with an explanation. Spaces and apostrophes separate
 * thousands. If there are both points and commas, the last one is the decimal separator. A single one before three digits is
 * ambiguous: it is accepted only if the currency has no decimals, if it cannot mean thousands, or if it is the locale's decimal
 * separator and the currency has three decimals, as the field itself shows them.
 */
export function readAmount(text, code) {
  const { digits } = currency(code);
  const example = writeAmount(1250 * 10 ** digits, code);
  const unreadable = { wrong: t("amount.unreadable", { example }) };
  const typed = text.trim();
  const split = typed.includes("_") ? undefined : parts(typed, digits);
  if (!split) return unreadable;
  if (split.unclear) {
    const [large, small] = [split.unclear.join(""), split.unclear.join(".")];
    const places = { typed, large: writeAmount(Number(large) * 10 ** digits, code), small: writeAmount(Math.round(Number(small) * 10 ** digits), code) };
    return { wrong: t("amount.unclear", places) };
  }
  const { whole, fraction } = split;
  if (fraction.length > digits) return { wrong: t(digits ? "amount.decimals" : "amount.no-decimals", { n: digits, code, example }) };
  const amount = Number(whole + fraction.padEnd(digits, "0"));
  return Number.isSafeInteger(amount) ? { amount } : unreadable;
}

/** `{whole, fraction}`, `{unclear: [before, after]}`, or undefined if the text is not an amount. */
function parts(typed, digits) {
  const text = typed.replace(/(?<=\d)[\s'’](?=\d{3}(?!\d))/g, "_");
  if (!/^[\d.,_]*\d$/.test(text)) return;
  const signs = [...new Set(text.match(/[.,]/g))];
  const last = text.lastIndexOf(signs.length === 2 ? text.match(/[.,](?=[^.,]*$)/)[0] : signs[0]);
  const before = text.slice(0, Math.max(last, 0));
  const after = text.slice(last + 1);
  if (!signs.length) return grouped(text, "_", "");
  // Both separators: thousands, then decimals.
  if (signs.length === 2) return grouped(before, before.includes("_") ? "" : before.match(/[.,]/)[0], after);
  // The same separator several times: it separates thousands.
  if (before.includes(signs[0])) return text.includes("_") ? undefined : grouped(text, signs[0], "");
  if (text.includes("_")) return grouped(before, "_", after);
  const isThousands = after.length === 3 && /^[1-9]\d{0,2}$/.test(before);
  if (!isThousands) return { whole: before || "0", fraction: after };
  if (digits === 0) return { whole: before + after, fraction: "" };
  if (digits === 3 && signs[0] === decimalSign()) return { whole: before, fraction: after };
  return { unclear: [before, after] };
}

/** A whole number, with or without a separator between its groups of three digits. */
function grouped(whole, sign, fraction) {
  const groups = sign ? whole.split(sign) : [whole];
  const isRight = groups.every((group, at) => /^\d+$/.test(group) && (groups.length === 1 || (at ? group.length === 3 : group.length <= 3)));
  return isRight && /^\d*$/.test(fraction) ? { whole: groups.join(""), fraction } : undefined;
}

/** Like `readAmount`, for the price of a seat: 0, or within the limits of its currency. */
export function readPrice(text, code) {
  const read = readAmount(text, code);
  const { least, greatest, step } = currency(code);
  const shown = (amount) => money({ amount, currency: code });
  if (read.wrong || read.amount === 0) return read;
  if (read.amount < least || read.amount > greatest) return { wrong: t("amount.bounds", { least: shown(least), greatest: shown(greatest) }) };
  return whole(read, step, shown);
}

/** Like `readAmount`, for a surcharge or a fee: it is never charged alone, so that it may be less than a price. */
export function readExtra(text, code) {
  const read = readAmount(text, code);
  const { greatest, step } = currency(code);
  const shown = (amount) => money({ amount, currency: code });
  if (read.wrong) return read;
  return read.amount > greatest ? { wrong: t("amount.most", { greatest: shown(greatest) }) } : whole(read, step, shown);
}

/** Like `readAmount`, for a refund. */
export function readRefund(text, code) {
  const read = readAmount(text, code);
  if (read.amount === 0) return { wrong: t("amount.nothing") };
  return read.wrong ? read : whole(read, currency(code).step, (amount) => money({ amount, currency: code }));
}

/** Refuses an amount that is not a multiple of `step` (with three decimals the last one must be 0). */
function whole(read, step, shown) {
  return read.amount % step ? { wrong: t("amount.step", { step: shown(step) }) } : read;
}

/** Throws a problem with a sentence at each field, like a refused request. `wrong` is a list of `[field, text]`. */
export function refuse(wrong) {
  throw new Problem({ status: 422, code: "invalid", errors: wrong.map(([field, text]) => ({ field, text })) });
}

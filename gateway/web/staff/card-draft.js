// A price card as its form has it: amounts and percents are texts as they are typed. Made from the server's card, and turned into what
// the server takes, with an explanation for each text that cannot be read. No DOM.

import { readExtra, readPrice, writeAmount } from "../lib/amount.js";
import { defaultCurrency } from "../lib/currencies.js";
import { number } from "../lib/format.js";
import { t } from "../lib/text.js";
import { invalid } from "../parts/wrong.js";
import { WEEKDAYS } from "./card-match.js";
import { codeOf, everyText, givenTexts } from "./fields.js";

/** The server's rates are in thousandths of a percent. */
const PERCENT = 1000;
/** The server's most ticket types of a card. */
const TYPES_MAX = 30;

/** The draft of a card; of none: that of a new one. */
export function draftOf(card) {
  const currency = card?.currency ?? defaultCurrency();
  const amount = (minor) => writeAmount(minor, currency);
  const rate = (thousandths) => (card ? number(thousandths / PERCENT, { maximumFractionDigits: 3 }) : "");
  const extra = ({ code, name, amount: minor, ...rest }) => ({ code, name: everyText(name), amount: amount(minor), ...rest });
  return {
    name: card?.name ?? "",
    currency,
    // By `type.kind`.
    cells: Object.fromEntries(Object.entries(card?.prices ?? {}).flatMap(([code, kinds]) => Object.entries(kinds).map(([kind, minor]) => [`${code}.${kind}`, amount(minor)]))),
    surcharges: (card?.surcharges ?? []).map((item) => ({ ...extra(item), minutesOver: String(item.minutesOver ?? "") })),
    fees: (card?.fees ?? []).map(extra),
    tax: { tickets: rate(card?.tax.tickets), fees: rate(card?.tax.fees), included: String(card?.tax.included ?? true) },
    weekdays: card?.weekdays ?? WEEKDAYS,
    from: card?.from ?? "",
    until: card?.until ?? "",
  };
}

/** The draft as the server takes it, without position and version; throws a problem with what is wrong in it. */
export function bodyOf(draft) {
  const wrong = [];
  const read = (reader, text, field) => {
    const found = text.trim() ? reader(text, draft.currency) : { code: "required" };
    if (found.wrong || found.code) wrong.push({ field, text: found.wrong, code: found.code });
    return found.amount;
  };
  const prices = {};
  for (const [key, text] of Object.entries(draft.cells)) {
    const [code, kind] = key.split(".");
    if (text.trim()) (prices[code] ??= {})[kind] = read(readPrice, text, `prices.${key}`);
  }
  const body = {
    name: draft.name.trim(),
    currency: draft.currency,
    prices,
    surcharges: extras("surcharges", draft.surcharges, read, wrong).map((item) => ({ ...item, minutesOver: item.minutesOver ? Number(item.minutesOver) : undefined })),
    fees: extras("fees", draft.fees, read, wrong),
    tax: { tickets: read(readPercent, draft.tax.tickets, "tax.tickets"), fees: read(readPercent, draft.tax.fees, "tax.fees"), included: draft.tax.included === "true" },
    weekdays: draft.weekdays.length === WEEKDAYS.length ? undefined : draft.weekdays,
    from: draft.from || undefined,
    until: draft.until || undefined,
  };
  if (!Object.keys(prices).length) wrong.push({ field: "prices", code: "count", min: 1, max: TYPES_MAX });
  if (!draft.weekdays.length) wrong.push({ field: "weekdays", code: "weekdays" });
  if (wrong.length) throw invalid(...wrong);
  return body;
}

/** Surcharges or fees. A new one gets a code from its name, which no other has. */
function extras(list, items, read, wrong) {
  const used = new Set(items.map((item) => item.code).filter(Boolean));
  return items.map((item, at) => {
    const name = givenTexts(item.name);
    if (!name) wrong.push({ field: `${list}[${at}].name`, code: "required" });
    if (item.channels && !item.channels.length) wrong.push({ field: `${list}[${at}].channels`, code: "count-channels" });
    const code = item.code || freeCode(codeOf(name?.en ?? name?.de ?? "") || "EXTRA", used);
    return { ...item, code, name, amount: read(readExtra, item.amount, `${list}[${at}].amount`) };
  });
}

function freeCode(wanted, used) {
  let code = wanted;
  for (let n = 2; used.has(code); n++) code = `${wanted.slice(0, 20)}_${n}`;
  used.add(code);
  return code;
}

/** Parses a percentage with a point or a comma as thousandths of a percent: `{amount}`, or `{wrong}` with an explanation. */
export function readPercent(text) {
  const typed = text.trim().replace(/\s*%$/, "").replace(",", ".");
  const amount = Math.round(Number(typed) * PERCENT);
  const isRate = /^\d{1,3}(\.\d{1,3})?$/.test(typed) && amount <= 100 * PERCENT;
  return isRate ? { amount } : { wrong: t("staff.card.percent-wrong", { example: number(7.7) }) };
}

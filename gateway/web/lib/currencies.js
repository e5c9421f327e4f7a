// The currencies and their rules, by the server's table and never by the browser's: browsers count the digits of some
// currencies otherwise than ISO 4217, and so than the prices that come from the server. Read once, kept in memory.

import { call } from "./api.js";

let rules = null;
let usual = null;
let loading = null;

/** Reads the table, once. Begun with the page, so that it comes while the page's own modules do. */
export function loadCurrencies() {
  loading ??= call("GET", "/v1/currencies", { isPublic: true })
    .then(({ default: code, items }) => {
      rules = new Map(items.map((one) => [one.code, one]));
      usual = code;
    })
    .catch((problem) => {
      // The next page tries again.
      loading = null;
      throw problem;
    });
  return loading;
}

/** `{code, digits, least, greatest, step, cashStep}`; amounts in minor units. */
export function currency(code) {
  const found = rules?.get(code);
  // Without the digits any sum would be a guess.
  if (!found) throw new Error(`the rules of ${code} are not known`);
  return found;
}

/** What a new price is in unless another currency is chosen. */
export const defaultCurrency = () => usual;

/** Every code, the default first. */
export const currencyCodes = () => [usual, ...[...rules.keys()].filter((code) => code !== usual)];

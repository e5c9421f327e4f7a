// The currencies and their rules, from the server's table and never from the browser's: for some currencies browsers use other
// numbers of digits than ISO 4217, and so than the server's prices. Read once, kept in memory.

import { call } from "./api.js";
import { put, read } from "./kept.js";

/** The name of the stored table. */
const NAME = "currencies";

let rules = null;
let usual = null;
let table = null;
let loading = null;

/** Reads the table, once. Called at the start of a page, so that it loads in parallel with the page's module. */
export function loadCurrencies() {
  loading ??= call("GET", "/v1/currencies", { isPublic: true })
    .then(use)
    .catch(async (problem) => {
      // The next page repeats the request.
      loading = null;
      // A browser that stores tickets has the table as well.
      const stored = await read(NAME).catch(() => undefined);
      if (!stored) throw problem;
      use(stored);
    });
  return loading;
}

function use(answer) {
  table = answer;
  rules = new Map(answer.items.map((rule) => [rule.code, rule]));
  usual = answer.default;
}

/** Stores the table for a time without a connection. */
export const storeCurrencies = async () => table && put(NAME, table);

/** `{code, digits, least, greatest, step, cashStep}`; amounts in minor units. */
export function currency(code) {
  const found = rules?.get(code);
  // Without the digits an amount cannot be shown.
  if (!found) throw new Error(`the rules of ${code} are not known`);
  return found;
}

/** The currency of a new price unless another is chosen. */
export const defaultCurrency = () => usual;

/** Every code, the default first. */
export const currencyCodes = () => [usual, ...[...rules.keys()].filter((code) => code !== usual)];

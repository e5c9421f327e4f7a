// What is wrong in a form, as a sentence in the reader's language: made from the code and the parameters of a field's error. The
// server's own messages are English, for developers, and are never shown. Also the checks that need no server. The sentences are the
// texts "wrong", which `app.js` loads with each page that has a form.

import { Problem } from "../lib/api.js";
import { money } from "../lib/format.js";
import { has, t } from "../lib/text.js";

/** The form of an address that the server would accept: one @, something before it, a dot after it, no white space. */
const EMAIL = /^[^\s@<>(),;:\\"[\]]{1,64}@[^\s@<>(),;:\\"[\].-][^\s@<>(),;:\\"[\]]*\.[^\s@<>(),;:\\"[\].]+$/;

/**
 * The sentence for an error `{field, code, min?, max?, step?, currency?, kind?}`, or `{field, text}` with a sentence. `value` is what
 * the field contains, where that is known.
 */
export function wrongText(error, value) {
  if (error.text) return error.text;
  const name = error.field?.split(/[.[]/)[0];
  const code = exact(error, value);
  const key = [`wrong.${code}-${name}`, `wrong.${code}`].find(has) ?? "wrong.other";
  return t(key, parameters(error));
}

/** A problem like that of a refused request, for what the page itself finds: `{field, code, …}` each. */
export const invalid = (...errors) => new Problem({ status: 422, code: "invalid", errors });

/** Some codes need other words for other values: a missing text is not “too short”. */
function exact({ code, min, max, kind }, value) {
  if (code === "price-missing" && !kind) return "price-missing-none";
  if (!["length", "bytes"].includes(code) || value === undefined) return code;
  if (min > 0 && !value.trim()) return "required";
  const length = [...value].length;
  if (code === "length") return length < min ? "too-short" : length > max ? "too-long" : code;
  return code;
}

function parameters({ currency, kind, min, max, step }) {
  const shown = (amount) => amount !== undefined && (currency ? money({ amount, currency }) : String(amount));
  return { min: shown(min), max: shown(max), step: shown(step), kind: kind && t(`kind.${kind}`) };
}

/** What is wrong with a control, so far as the page can say: an error without its field, or undefined. */
export function check(control) {
  const { type, validity, value } = control;
  // A field of a date, a time or a number that is filled half has no value.
  if (validity.badInput) return { code: type === "number" ? "number" : type === "time" ? "time" : "date" };
  const text = type === "password" ? value : value.trim();
  if (!text) return control.required ? { code: "required" } : undefined;
  const { minLength, maxLength } = control;
  if (type === "email" && !EMAIL.test(text)) return { code: "email" };
  if (minLength > 0 && [...text].length < minLength) return { code: "length", min: minLength };
  if (maxLength > 0 && [...text].length > maxLength) return { code: "length", min: Math.max(minLength, 0), max: maxLength };
  if (type === "number" && (Number.isNaN(Number(text)) || validity.stepMismatch)) return { code: "number" };
  if (type === "number" && (validity.rangeUnderflow || validity.rangeOverflow)) return { code: "range", min: Number(control.min), max: Number(control.max) };
}

// Fields that several forms of the staff have: a text in each language, and a choice of several. Also the code that is made from a name.

import { h } from "../lib/dom.js";
import { LANGUAGES, t } from "../lib/text.js";
import { field } from "../parts/form.js";

/** The server's greatest length of such a text. */
const TEXT_MAX = 60;
/** What the server accepts as a code. */
const CODE = /^[A-Z0-9][A-Z0-9_]{0,23}$/;
const CODE_MAX = 24;

export const CHANNELS = ["WEB", "BOX_OFFICE", "API"];
/** The channels as `[value, text]`. */
export const channels = () => CHANNELS.map((channel) => [channel, t(`staff.channel.${channel}`)]);

/** One field for each language, named such as `name.en`. */
export function textsField(name, label, texts) {
  const one = ([code, language]) => field(`${name}.${code}`, `${label} (${language})`, { value: texts[code] ?? "", maxlength: TEXT_MAX, autocomplete: "off", lang: code });
  return h("div", { class: "two", dataset: { field: name } }, Object.entries(LANGUAGES).map(one));
}

/** What those fields contain. */
export function textsIn(box, name) {
  const value = (code) => box.querySelector(`[name="${CSS.escape(`${name}.${code}`)}"]`).value;
  return Object.fromEntries(Object.keys(LANGUAGES).map((code) => [code, value(code)]));
}

/** A text of the server with an entry for each language, as a form has it. */
export const everyText = (texts = {}) => Object.fromEntries(Object.keys(LANGUAGES).map((code) => [code, texts[code] ?? ""]));

/** Only the languages that have a text; undefined without any. */
export function givenTexts(texts) {
  const given = Object.entries(texts).map(([code, text]) => [code, text.trim()]).filter(([, text]) => text);
  return given.length ? Object.fromEntries(given) : undefined;
}

/** A choice of several: `options` are `[value, text]`. */
export function checks(name, legend, options, chosen) {
  const one = ([value, text]) => h("label", { class: "check" }, h("input", { type: "checkbox", name, value, checked: chosen.includes(value) }), text);
  return h("fieldset", { class: "field", dataset: { field: name } }, h("legend", {}, legend), h("div", { class: "row" }, options.map(one)));
}

/** The values that are chosen there. */
export const checkedIn = (box) => [...box.querySelectorAll("input:checked")].map((input) => input.value);

/** One box to check. */
export const check = (name, label, checked) => h("div", { class: "field", dataset: { field: name } }, h("label", { class: "check" }, h("input", { type: "checkbox", name, checked }), label));

/** A code such as CHILD_UNDER_12, made from a name: capital letters and digits; empty if the name has none of them. */
export function codeOf(name) {
  const letters = name.toUpperCase().normalize("NFKD").replace(/\p{M}/gu, "");
  return letters.replace(/[^A-Z0-9]+/g, "_").replace(/^_/, "").slice(0, CODE_MAX).replace(/_$/, "");
}

export const isCode = (text) => CODE.test(text);

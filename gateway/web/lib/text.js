// The words of the page in the reader's language. Every text stands in `text/<language>.js`; a page names it by its key.
// What is missing in a language is told in English, so that nothing is ever blank.

import de from "../text/de.js";
import en from "../text/en.js";

const KEPT = "marquee.language";
const texts = { en: [en], de: [de] };

/** The languages that there are, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

/** The language now. */
export let language = choose();
let plural = new Intl.PluralRules(language);

function choose() {
  const wanted = [localStorage.getItem(KEPT), ...(navigator.languages ?? [])];
  const known = wanted.map((one) => one?.slice(0, 2).toLowerCase()).find((one) => one in texts);
  return known ?? "en";
}

/** For numbers and dates: the browser's own variant of the language where it has one. */
export function locale() {
  return (navigator.languages ?? []).find((one) => one.slice(0, 2).toLowerCase() === language) ?? language;
}

/** Chooses a language for this browser. */
export function speak(wanted) {
  language = wanted in texts ? wanted : "en";
  plural = new Intl.PluralRules(language);
  localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
}

/** More texts, of a part of the page that not everybody loads: `{en: {…}, de: {…}}`. */
export function extend(more) {
  for (const [name, one] of Object.entries(more)) if (!texts[name].includes(one)) texts[name].push(one);
}

function find(name, key) {
  for (const one of texts[name]) {
    const found = key.split(".").reduce((place, part) => place?.[part], one);
    if (found !== undefined) return found;
  }
}

/** The text of a key, with its `{places}` filled. A text with forms is chosen by `values.n`. */
export function t(key, values = {}) {
  let text = find(language, key) ?? find("en", key);
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (place, name) => (values[name] ?? place));
}

/** Whether there is such a text. */
export const has = (key) => find("en", key) !== undefined;

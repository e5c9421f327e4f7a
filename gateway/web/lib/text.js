// Translations. Every text is in `text/<language>.js`, and a page names it by its key. A text that is missing in a language
// is shown in English.

import de from "../text/de.js";
import en from "../text/en.js";

const KEPT = "marquee.language";
const texts = { en: [en], de: [de] };

/** The languages, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

/** The current language. */
export let language = choose();
let plural = new Intl.PluralRules(language);

function choose() {
  const wanted = [localStorage.getItem(KEPT), ...(navigator.languages ?? [])];
  const known = wanted.map((one) => one?.slice(0, 2).toLowerCase()).find((one) => one in texts);
  return known ?? "en";
}

/** The locale for numbers and dates: the browser's variant of the language, if it has one. */
export function locale() {
  return (navigator.languages ?? []).find((one) => one.slice(0, 2).toLowerCase() === language) ?? language;
}

/** Sets the language for this browser. */
export function speak(wanted) {
  language = wanted in texts ? wanted : "en";
  plural = new Intl.PluralRules(language);
  localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
}

/** Adds texts of a part of the page that is loaded on demand: `{en: {…}, de: {…}}`. */
export function extend(more) {
  for (const [name, one] of Object.entries(more)) if (!texts[name].includes(one)) texts[name].push(one);
}

function find(name, key) {
  for (const one of texts[name]) {
    const found = key.split(".").reduce((place, part) => place?.[part], one);
    if (found !== undefined) return found;
  }
}

/** The text of a key, with its `{placeholders}` filled. The plural form is chosen by `values.n`. */
export function t(key, values = {}) {
  let text = find(language, key) ?? find("en", key);
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (place, name) => (values[name] ?? place));
}

/** Whether the key exists. */
export const has = (key) => find("en", key) !== undefined;

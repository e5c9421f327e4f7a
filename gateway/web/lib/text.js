// Translations. Every text is in `text/<language>.js`, and a page names it by its key. A text that is missing in a language
// is shown in English.

import de from "../text/de.js";
import en from "../text/en.js";

const STORAGE_KEY = "marquee.language";
const texts = { en: [en], de: [de] };

/** The languages, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

/** The current language. */
export let language = choose();
let plural = new Intl.PluralRules(language);

function choose() {
  const wanted = [localStorage.getItem(STORAGE_KEY), ...(navigator.languages ?? [])];
  const language = wanted.map((item) => item?.slice(0, 2).toLowerCase()).find((item) => item in texts);
  return language ?? "en";
}

/** The locale for numbers and dates: the browser's variant of the language, if it has one. */
export function locale() {
  return (navigator.languages ?? []).find((item) => item.slice(0, 2).toLowerCase() === language) ?? language;
}

/** Sets the language for this browser. */
export function setLanguage(wanted) {
  language = wanted in texts ? wanted : "en";
  plural = new Intl.PluralRules(language);
  localStorage.setItem(STORAGE_KEY, language);
  document.documentElement.lang = language;
}

/** Adds texts of a part of the page that is loaded on demand: `{en: {…}, de: {…}}`. */
export function extend(more) {
  for (const [name, item] of Object.entries(more)) if (!texts[name].includes(item)) texts[name].push(item);
}

function find(name, key) {
  for (const item of texts[name]) {
    const found = key.split(".").reduce((place, part) => place?.[part], item);
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

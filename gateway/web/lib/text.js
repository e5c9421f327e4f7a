// Translations. Every text is in `text/`, a file for each part of the page and each language, and a page names it by its key. Only
// the texts in the reader's language are loaded.

import { site } from "./site.js";

/** The languages, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch" };
/** Whether the page may be read in a language: the site names those. */
export const isOffered = (code) => code in LANGUAGES && (!site.languages.length || site.languages.includes(code));
/** The cookie with the chosen language. The server reads it, to write the page's HTML in that language and to name its texts there. */
const COOKIE = "marquee.language";
const COOKIE_SECONDS = 365 * 24 * 3600;
/** The language of the page's HTML: the chosen one, or else the browser's. */
const SHELL_LANGUAGE = document.documentElement.lang;

/** The current language. */
export let language = chosen() ?? SHELL_LANGUAGE;
let plural = new Intl.PluralRules(language);

/** The texts of each part that is loaded. */
let texts = new Map();

/** Without a connection the HTML is a stored one, which may be older than the choice. */
function chosen() {
  const tag = document.cookie.split("; ").find((pair) => pair.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1);
  return isOffered(tag) ? tag : undefined;
}

async function read(part, wanted) {
  const { default: found } = await import(`../text/${part && `${part}-`}${wanted}.js`);
  return [part, found];
}

/** Loads the texts of a part of the page: "wrong", "staff", or "" for what every page needs. Their keys can be used after that. */
export async function loadTexts(part) {
  if (texts.has(part)) return;
  const wanted = language;
  const found = await read(part, wanted);
  // Another language may have been chosen meanwhile.
  if (wanted === language) texts.set(...found);
  else await loadTexts(part);
}

/** Loads what every page needs. If the chosen language cannot be loaded, the language of the page's HTML is used: both were stored together. */
export async function loadFirstTexts() {
  try {
    await loadTexts("");
  } catch (error) {
    if (language === SHELL_LANGUAGE) throw error;
    use(SHELL_LANGUAGE);
    await loadTexts("");
  }
}

function use(wanted) {
  language = wanted;
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

/** Changes the language and remembers the choice. Throws, and changes nothing, if the texts cannot be loaded. */
export async function setLanguage(wanted) {
  texts = new Map(await Promise.all([...texts.keys()].map((part) => read(part, wanted))));
  use(wanted);
  document.cookie = `${COOKIE}=${wanted}; Path=/; Max-Age=${COOKIE_SECONDS}; SameSite=Lax`;
}

/** The locale for numbers and dates: the browser's variant of the language, if it has one. */
export function locale() {
  return (navigator.languages ?? []).find((item) => item.slice(0, 2).toLowerCase() === language) ?? language;
}

function find(key) {
  for (const part of texts.values()) {
    const found = key.split(".").reduce((place, name) => place?.[name], part);
    if (found !== undefined) return found;
  }
}

/** The text of a key, with its `{placeholders}` filled. The plural form is chosen by `values.n`. */
export function t(key, values = {}) {
  let text = find(key);
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (place, name) => (values[name] ?? place));
}

/** Whether the key exists. */
export const has = (key) => find(key) !== undefined;

/** A name that the server has in several languages, such as `{en: "Child", de: "Kind"}`: in the reader's, else in English, else in any; empty if there is none. */
export const nameIn = (names = {}) => names[language] ?? names.en ?? Object.values(names)[0] ?? "";

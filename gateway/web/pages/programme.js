// Now showing: the movies of a day, as posters with their times; a search by title covers all days. The filter is in the address.

import { all, get } from "../lib/api.js";
import { isOpen, now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, dateParts, duration, isDate, later } from "../lib/format.js";
import { note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { days } from "../parts/days.js";
import { genreName, ratingBadge } from "../parts/facts.js";
import { message, partly, problemText } from "../parts/notice.js";
import { others, showtimesOf } from "../parts/other-days.js";
import { PARTS, partOf } from "../parts/part-of-day.js";
import { poster } from "../parts/poster.js";
import { AGES, FORMATS, VERSION_KINDS } from "../parts/showing.js";
import { times } from "../parts/times.js";

/** Days to choose from. */
const AHEAD = 10;
/** The search runs after this pause in typing (ms). */
const REST = 250;
/** Posters that are visible at first on a wide screen. */
const EAGER = 5;
/** A search shows at most so many movies: the showtimes of each are another request. */
const FOUND_MOST = 20;
/** The current date by the clock of each auditorium, for the first request: the page does not know the time zone yet. */
const TODAY = "today";

export default async function programme({ query, signal }) {
  const wanted = isDate(query.date) ? query.date : TODAY;
  const oneOf = (known, value) => (known.includes(value) ? value : "");
  const filter = { name: query.name ?? "", genre: query.genre ?? "", date: wanted, part: oneOf(PARTS, query.part), version: oneOf(VERSION_KINDS, query.version), format: oneOf(FORMATS, query.format), age: oneOf(AGES, query.age) };
  const page = { filter, signal, latest: {} };
  // The first view needs no other request: what it shows arrives in parallel, with the genres.
  const first = filter.name ? Promise.resolve() : load(page).catch((problem) => problem);
  const [genres, soon] = await Promise.all([all("/v1/genres", {}, { signal, isPublic: true }), wanted === TODAY && !filter.name ? null : next(signal), first]);
  const shown = await first;
  const open = wanted === TODAY && Array.isArray(shown?.showtimes) ? shown.showtimes.find(isOpen) : null;
  const coming = open ?? soon ?? (await next(signal));
  const zone = coming?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  page.today = dateOf(now(), zone);
  page.first = coming ? dateOf(coming.startsAt, zone) : page.today;
  page.genres = genres;
  if (wanted === TODAY) filter.date = page.first;
  return draw(page, open || wanted !== TODAY ? shown : null);
}

/** The next showtime, which gives the cinema's time zone and the first day with showtimes left. */
const next = async (signal) => (await get("/v1/showtimes", { pageSize: 1 }, { signal, isPublic: true })).items[0];

/** The movies and showtimes of the chosen day. */
async function load({ filter: { genre, date }, signal }) {
  const [movies, showtimes] = await Promise.all([
    all("/v1/movies", { date, genre, sort: "nextShowtime" }, { signal, isPublic: true }),
    all("/v1/showtimes", { date }, { signal, isPublic: true }),
  ]);
  return { movies, showtimes };
}

async function draw(page, loaded) {
  const { filter, today, first } = page;
  const strip = h("div", {});
  const grid = h("div", { "aria-live": "polite", "aria-busy": "true" });
  const title = h("h1", { tabindex: "-1" });

  async function show(loaded) {
    const { date, name } = filter;
    const choices = Array.from({ length: AHEAD }, (_, at) => later(today, at));
    if (!choices.includes(date)) choices.push(date);
    const href = (day) => `/?${new URLSearchParams(kept({ ...filter, date: day }, first))}`;
    replace(strip, days({ days: choices, now: today, chosen: date, href, label: t("programme.days") }));
    title.textContent = name ? t("programme.search", { name }) : date === today ? t("programme.today") : t("programme.day", { day: dateParts(date).long });
    note(kept(filter, first));
    page.latest = {};
    await fill(page, grid, page.latest, loaded);
  }

  strip.addEventListener("click", (event) => {
    const day = event.target.closest("[data-date]")?.dataset.date;
    if (!day || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    filter.date = day;
    show().then(() => strip.querySelector("[aria-current]")?.focus({ preventScroll: true }));
  });
  await show(loaded);
  return { title: t("programme.title"), node: h("div", { class: "programme" }, h("div", { class: "head" }, title), strip, controls(page, () => show()), grid) };
}

/** The filter values for the address: only those that differ from the first view. */
function kept(filter, first) {
  const { date, ...rest } = filter;
  return Object.fromEntries(Object.entries({ ...rest, date: date === first ? "" : date }).filter(([, value]) => value));
}

function controls(page, changed) {
  const { filter } = page;
  let rest;
  const name = h("input", {
    class: "input", id: "filter-name", type: "search", placeholder: t("programme.name-hint"), value: filter.name, autocomplete: "off",
    on: {
      input: (event) => {
        clearTimeout(rest);
        rest = setTimeout(() => {
          filter.name = event.target.value.trim();
          changed();
        }, REST);
      },
    },
  });
  const choice = (id, options, chosen, set) =>
    h("select", { class: "input", id, on: { change: (event) => { set(event.target.value); changed(); } } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const names = page.genres.map((item) => [item.id, genreName(item)]).sort(([, a], [, b]) => a.localeCompare(b));
  const genre = choice("filter-genre", [["", t("programme.all-genres")], ...names], filter.genre, (value) => (filter.genre = value));
  const part = choice("filter-part", [["", t("programme.any-part")], ...PARTS.map((part) => [part, t(`programme.parts.${part}`)])], filter.part, (value) => (filter.part = value));
  const version = choice("filter-version", [["", t("programme.any-version")], ...VERSION_KINDS.map((kind) => [kind, t(`version.kind-${kind}`)])], filter.version, (value) => (filter.version = value));
  const format = choice("filter-format", [["", t("programme.any-format")], ...FORMATS.map((format) => [format, format])], filter.format, (value) => (filter.format = value));
  const ages = AGES.map((age) => [age, age === "0" ? t("movie.rating-0") : t("programme.for-age", { age })]);
  const age = choice("filter-age", [["", t("programme.any-age")], ...ages], filter.age, (value) => (filter.age = value));
  const labelled = (control, key) => h("div", { class: "field" }, h("label", { for: control.id }, t(key)), control);
  return h("search", { class: "filters" }, labelled(name, "programme.name"), labelled(genre, "programme.genre"), labelled(part, "programme.part"), labelled(version, "programme.version"), labelled(format, "programme.format"), labelled(age, "programme.age"));
}

async function fill(page, grid, mine, loaded) {
  grid.setAttribute("aria-busy", "true");
  try {
    if (loaded instanceof Error) throw loaded;
    const content = page.filter.name ? await found(page) : ofDay(page, loaded ?? (await load(page)));
    if (page.latest === mine) replace(grid, content ?? empty(page));
  } catch (problem) {
    if (problem.name === "AbortError" || page.latest !== mine) return;
    replace(grid, message("bad", problemText(problem)));
  } finally {
    if (page.latest === mine) grid.setAttribute("aria-busy", "false");
  }
}

/** The movies of the chosen day, those that begin next first. */
function ofDay(page, { movies, showtimes }) {
  const shown = showtimes.filter((item) => fits(page, item) && (item.status === "ON_SALE" || isOpen(item)));
  const order = (movie) => shown.findIndex((item) => item.movieId === movie.id && isOpen(item));
  const late = (movie) => (order(movie) < 0 ? Infinity : order(movie));
  const own = (movie) => shown.filter((item) => item.movieId === movie.id);
  // A movie all of whose times have another part of the day is not shown.
  const items = movies.filter((movie) => suits(page, movie) && own(movie).length > 0).toSorted((a, b) => late(a) - late(b));
  return items.length > 0 && list(page, items.map((movie) => [movie, own(movie)]));
}

/** Whether a showtime has the chosen part of the day, version and format. */
const fits = ({ filter }, showtime) => (!filter.part || partOf(showtime) === filter.part) && (!filter.version || showtime.filmVersion?.kind === filter.version) && (!filter.format || showtime.format === filter.format);

/** Whether a person of the chosen age may see the movie alone. Without an age rating nobody knows. */
const suits = ({ filter }, movie) => !filter.age || movie.minimumAge <= Number(filter.age);

/** The movies whose title has these words, on all days: first those of the chosen day, then the others. */
async function found(page) {
  const { filter, signal } = page;
  const named = await all("/v1/movies", { name: filter.name, genre: filter.genre, sort: "nextShowtime" }, { signal, isPublic: true, most: FOUND_MOST });
  const movies = named.filter((movie) => suits(page, movie));
  const showtimes = await Promise.all(movies.map((movie) => showtimesOf(movie.id, signal)));
  const isOn = (item) => dateOf(item.startsAt, item.timeZone) === filter.date;
  const rows = movies.map((movie, at) => {
    const fitting = showtimes[at].filter((item) => isOpen(item) && fits(page, item));
    return [movie, fitting.filter(isOn), fitting.filter((item) => !isOn(item))];
  });
  const [here, elsewhere] = [rows.filter(([, own]) => own.length), rows.filter(([, own, rest]) => !own.length && rest.length)];
  if (!here.length && !elsewhere.length) return null;
  return h("div", { class: "found" },
    here.length > 0 && list(page, here),
    elsewhere.length > 0 && h("section", { class: "stack" }, h("h2", {}, t("programme.other-days")), list(page, elsewhere)),
    partly(named));
}

/** Cards of `[movie, times of the chosen day, times of other days]`. */
const list = (page, rows) => h("ul", { class: "posters", role: "list" }, rows.map(([movie, own, rest = []], at) => card(page, movie, own, rest, at < EAGER)));

function card(page, movie, own, rest, eager) {
  const { today, filter, first } = page;
  const facts = [duration(movie.durationMinutes), ratingBadge(movie), ...movie.genres.map(genreName)];
  const day = own.length ? filter.date : dateOf(rest[0].startsAt, rest[0].timeZone);
  // The movie's page shows the same day, and its way back has the filter.
  const href = `/movies/${movie.id}?${new URLSearchParams({ ...kept(filter, first), date: day })}`;
  return h(
    "li",
    { class: "ticketed" },
    h("a", { class: "to-movie", href }, poster(movie, { small: true, eager, silent: true }), h("h2", {}, movie.title)),
    h("ul", { class: "facts", role: "list" }, facts.filter(Boolean).map((fact) => h("li", {}, fact))),
    own.length > 0 && times(own),
    rest.length > 0 && others(rest, { today, more: href, isAlso: own.length > 0 }),
  );
}

function empty({ filter, first }) {
  if (filter.name) return h("div", { class: "nothing" }, h("p", {}, t("programme.none-named")), h("a", { class: "button", href: "/" }, t("programme.next", { day: dateParts(first).long })));
  const filtered = filter.genre || filter.part || filter.version || filter.format || filter.age;
  return h(
    "div",
    { class: "nothing" },
    h("p", {}, t(filtered ? "programme.none-filtered" : "programme.none")),
    h("a", { class: "button", href: filtered ? `/?date=${filter.date}` : "/" }, t(filtered ? "programme.clear" : "programme.next", { day: dateParts(first).long })),
  );
}

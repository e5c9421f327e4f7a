// Now showing: the movies of a day, as posters with their times. The filter is in the address.

import { all, get } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, dateParts, duration, later, time } from "../lib/format.js";
import { note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { days } from "../parts/days.js";
import { message, problemText } from "../parts/notice.js";
import { poster } from "../parts/poster.js";
import { isOpen, times } from "../parts/times.js";

/** Days to choose from. */
const AHEAD = 10;
/** The search runs after this pause in typing (ms). */
const REST = 250;
/** Posters that are visible at first on a wide screen. */
const EAGER = 5;

export default async function programme({ query, signal }) {
  // The next showtime gives the cinema's time zone, and the first day with showtimes left.
  const [soon, genres] = await Promise.all([get("/v1/showtimes", { pageSize: 1 }), all("/v1/genres")]);
  const next = soon.items[0];
  const zone = next?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const today = dateOf(now(), zone);
  const first = next ? dateOf(next.startsAt, zone) : today;
  const filter = { name: query.name ?? "", genre: query.genre ?? "", date: query.date ?? first, time: query.time ?? "" };
  const page = { filter, today, first, zone, genres, signal };
  const strip = h("div", {});
  const grid = h("div", { "aria-live": "polite", "aria-busy": "true" });
  const title = h("h1", { tabindex: "-1" });
  const node = h("div", { class: "programme" }, h("div", { class: "head" }, title), strip, controls(page, () => draw()), grid);

  async function draw() {
    const { date } = filter;
    const choices = Array.from({ length: AHEAD }, (_, at) => later(today, at));
    if (!choices.includes(date)) choices.push(date);
    const href = (day) => `/?${new URLSearchParams(kept({ ...filter, date: day, time: "" }, first))}`;
    replace(strip, days({ days: choices, now: today, chosen: date, href, label: t("programme.days") }));
    title.textContent = date === today ? t("programme.today") : t("programme.day", { day: dateParts(date).long });
    note(kept(filter, first));
    page.latest = {};
    await fill(page, grid, page.latest);
  }

  strip.addEventListener("click", (event) => {
    const day = event.target.closest("[data-date]")?.dataset.date;
    if (!day || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    Object.assign(filter, { date: day, time: "" });
    draw().then(() => strip.querySelector("[aria-current]")?.focus({ preventScroll: true }));
  });
  await draw();
  return { title: t("programme.title"), node };
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
  const genre = choice("filter-genre", [["", t("programme.all-genres")], ...page.genres.map((item) => [item.id, item.name])], filter.genre, (value) => (filter.genre = value));
  page.time = choice("filter-time", [["", t("programme.all-times")]], filter.time, (value) => (filter.time = value));
  const labelled = (control, key) => h("div", { class: "field" }, h("label", { for: control.id }, t(key)), control);
  return h("search", { class: "filters" }, labelled(name, "programme.name"), labelled(genre, "programme.genre"), labelled(page.time, "programme.time"));
}

async function fill(page, grid, mine) {
  const { filter, signal, zone } = page;
  grid.setAttribute("aria-busy", "true");
  try {
    const [movies, showtimes] = await Promise.all([
      all("/v1/movies", { name: filter.name, genre: filter.genre, date: filter.date, showTime: filter.time, sort: "nextShowtime" }, { signal }),
      all("/v1/showtimes", { date: filter.date }, { signal }),
    ]);
    if (page.latest !== mine) return;
    const shown = showtimes.filter((item) => item.status === "ON_SALE" || isOpen(item));
    offer(page, [...new Set(shown.filter(isOpen).map((item) => wall(item.startsAt, zone)))].sort());
    const order = (movie) => shown.findIndex((item) => item.movieId === movie.id && isOpen(item));
    const late = (movie) => (order(movie) < 0 ? Infinity : order(movie));
    const items = movies.toSorted((a, b) => late(a) - late(b));
    replace(grid, items.length ? h("ul", { class: "posters", role: "list" }, items.map((movie, at) => card(movie, shown, at < EAGER))) : empty(page));
  } catch (problem) {
    if (problem.name === "AbortError" || page.latest !== mine) return;
    replace(grid, message("bad", problemText(problem)));
  } finally {
    if (page.latest === mine) grid.setAttribute("aria-busy", "false");
  }
}

/** 20:15, as the API expects it, independent of the reader's locale. */
const wall = (at, zone) => new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(new Date(at));

function offer(page, found) {
  const { filter } = page;
  if (filter.time && !found.includes(filter.time)) found.push(filter.time);
  const shown = (text) => time(`2026-01-01T${text}Z`, "UTC");
  replace(page.time, h("option", { value: "" }, t("programme.all-times")), found.map((item) => h("option", { value: item, selected: item === filter.time }, shown(item))));
}

function card(movie, showtimes, eager) {
  const own = showtimes.filter((item) => item.movieId === movie.id);
  const facts = [duration(movie.durationMinutes), movie.rating && t("movie.rating", { rating: movie.rating }), ...movie.genres.map((genre) => genre.name)];
  return h(
    "li",
    { class: "ticketed" },
    h("a", { class: "to-movie", href: `/movies/${movie.id}` }, poster(movie, { small: true, eager, silent: true }), h("h2", {}, movie.title)),
    h("ul", { class: "facts", role: "list" }, facts.filter(Boolean).map((fact) => h("li", {}, fact))),
    times(own),
  );
}

function empty({ filter, first }) {
  const filtered = filter.name || filter.genre || filter.time;
  return h(
    "div",
    { class: "nothing" },
    h("p", {}, t(filtered ? "programme.none-filtered" : "programme.none")),
    h("a", { class: "button", href: filtered ? `/?date=${filter.date}` : "/" }, t(filtered ? "programme.clear" : "programme.next", { day: dateParts(first).long })),
  );
}

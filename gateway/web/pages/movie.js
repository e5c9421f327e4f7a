// One movie: showtimes by day, poster, facts, trailer. The times are first, also on a phone.

import { all, get } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, dateParts, duration, languageName, list, plainDate } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { days } from "../parts/days.js";
import { genreName, ratingBadge, ratingText } from "../parts/facts.js";
import { poster } from "../parts/poster.js";
import { versionText } from "../parts/showing.js";
import { times } from "../parts/times.js";

export default async function movie({ params, query, signal }) {
  const [movie, showtimes] = await Promise.all([
    get(`/v1/movies/${params.id}`, {}, { signal, isPublic: true }),
    all("/v1/showtimes", { movieId: params.id }, { signal, isPublic: true }),
  ]);
  return {
    title: movie.title,
    node: h(
      "article",
      { class: "movie" },
      h("div", { class: "movie-head stack" }, h("a", { class: "back", href: backTo(query) }, `← ${t("movie.back")}`), h("h1", { tabindex: "-1" }, movie.title)),
      programme(movie, showtimes, query),
      h("div", { class: "movie-poster" }, poster(movie, { eager: true })),
      h("div", { class: "movie-words stack" }, movie.synopsis && h("p", { class: "synopsis" }, movie.synopsis), facts(movie), trailer(movie)),
    ),
  };
}

/** The programme as it was left: its day and filters are in the address of this page. */
function backTo({ date, name, genre, part, version, format, age }) {
  const kept = Object.entries({ date, name, genre, part, version, format, age }).filter(([, value]) => value);
  return kept.length ? `/?${new URLSearchParams(kept)}` : "/";
}

function facts(movie) {
  const pairs = [
    ["duration", duration(movie.durationMinutes)],
    ["rating-label", movie.ageRating ? ratingBadge(movie) : ratingText(movie.rating, { alone: true })],
    ["genres", list(movie.genres.map(genreName))],
    ["language", languageName(movie.language)],
    ["versions", list((movie.versions ?? []).map(versionText))],
    ["formats", list(movie.formats ?? [])],
    ["released", plainDate(movie.releaseDate)],
  ];
  return h("dl", { class: "pairs" }, pairs.filter(([, value]) => value).map(([key, value]) => [h("dt", {}, t(`movie.${key}`)), h("dd", {}, value)]));
}

/** Loaded only on a click: a trailer is larger than everything else on the page. */
function trailer(movie) {
  if (!movie.trailerUrl) return null;
  const place = h("div", { class: "trailer" });
  const play = () => {
    const video = h("video", { src: movie.trailerUrl, controls: true, autoplay: true, playsinline: true, "aria-label": t("movie.trailer-of", { title: movie.title }) });
    replace(place, video);
    video.focus();
  };
  place.append(h("button", { class: "button", type: "button", on: { click: play } }, h("span", { "aria-hidden": "true" }, "▶"), t("movie.trailer")));
  return place;
}

function programme(movie, showtimes, query) {
  const { date: wanted, exchange } = query;
  const place = h("section", { class: "movie-times stack", "aria-labelledby": "showtimes" });
  const title = h("h2", { id: "showtimes" }, t("movie.showtimes"));
  const open = showtimes.filter((showtime) => showtime.status === "ON_SALE");
  if (open.length === 0) {
    place.append(title, h("p", { class: "soft" }, t("movie.none")));
    return place;
  }
  const byDay = groupBy(open, (showtime) => dateOf(showtime.startsAt, showtime.timeZone));
  const today = dateOf(now(), open[0].timeZone);
  let chosen = byDay.has(wanted) ? wanted : [...byDay.keys()][0];
  const strip = h("div", {});
  const shown = h("div", { class: "stack", "aria-live": "polite" });
  const draw = () => {
    replace(strip, days({ days: [...byDay.keys()], now: today, chosen, href: (date) => `/movies/${movie.id}?${new URLSearchParams({ ...query, date })}`, label: t("programme.days") }));
    replace(shown, h("h3", {}, dateParts(chosen).long), times(byDay.get(chosen), exchange));
  };
  strip.addEventListener("click", (event) => {
    const date = event.target.closest("[data-date]")?.dataset.date;
    if (!date || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    chosen = date;
    note({ ...query, date });
    document.querySelector(".movie-head .back").href = backTo({ ...query, date });
    draw();
    strip.querySelector("[aria-current]").focus({ preventScroll: true });
  });
  draw();
  place.append(title, strip, shown);
  return place;
}

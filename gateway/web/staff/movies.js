// All movies: search, create.

import { h } from "../lib/dom.js";
import { duration, plainDate } from "../lib/format.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { poster } from "../parts/poster.js";
import { everything, filters, fresh, head, pager, table } from "./listing.js";

export default async function movies({ query, signal }) {
  const sort = query.sort ?? "title";
  const [page, genres] = await Promise.all([
    fresh("/v1/movies", { name: query.name, genre: query.genre, sort, page: query.page, pageSize: 25 }, { signal }),
    everything("/v1/genres"),
  ]);
  const columns = [
    [t("staff.film"), (movie) => h("a", { class: "with-poster", href: `/staff/movies/${movie.id}` }, poster(movie, { small: true }), h("span", {}, movie.title))],
    [t("movie.duration"), (movie) => duration(movie.durationMinutes)],
    [t("movie.genres"), (movie) => movie.genres.map((genre) => genre.name).join(", ") || "–"],
    [t("movie.rating-label"), (movie) => movie.rating || "–"],
    [t("movie.released"), (movie) => plainDate(movie.releaseDate)],
    [t("staff.movies.media"), (movie) => [movie.posterUrl && t("staff.movies.poster"), movie.trailerUrl && t("staff.movies.trailer")].filter(Boolean).join(", ") || "–"],
  ];
  const sorts = ["title", "-title", "releaseDate", "-releaseDate", "nextShowtime"].map((item) => [item, t(`staff.movies.sort.${item}`)]);
  return {
    title: t("staff.place.movies"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.movies"), null, h("a", { class: "button main", href: "/staff/movies/new" }, t("staff.movies.new"))),
      filters([
        field("name", t("programme.name"), { type: "search", value: query.name, hint: t("staff.enter") }),
        field("genre", t("programme.genre"), { options: [["", t("programme.all-genres")], ...genres.map((item) => [item.id, item.name])], value: query.genre }),
        field("sort", t("staff.movies.sort-by"), { options: sorts, value: sort }),
      ], go),
      table(t("staff.place.movies"), columns, page.items),
      pager(page, query),
    ),
  };
}

// One movie: edit its fields, poster and trailer, delete it, or create a new one.

import { get, patch, post } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, moment, number, time } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { upload } from "../lib/upload.js";
import { ask, show } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice, message, problemText } from "../parts/notice.js";
import { poster } from "../parts/poster.js";
import { FORMATS } from "../parts/showing.js";
import { wrongText } from "../parts/wrong.js";
import { checkedIn, checks } from "./fields.js";
import { act, everything, fresh, head, remove } from "./listing.js";
import { versionsField } from "./versions.js";

/** The server's size limits, checked here before a long upload. */
const LIMITS = { poster: 10 * 1024 * 1024, trailer: 100 * 1024 * 1024 };
const TYPES = { poster: "image/jpeg,image/png,image/webp", trailer: "video/mp4,video/webm" };

export default async function movie({ params, signal }) {
  const isNew = params.id === "new";
  const [found, genres, coming, schemes] = await Promise.all([
    isNew ? null : fresh(`/v1/movies/${params.id}`, {}, { signal }),
    everything("/v1/genres"),
    isNew ? null : fresh("/v1/showtimes", { movieId: params.id, pageSize: 1 }, { signal }),
    get("/v1/rating-schemes", {}, { signal, isPublic: true }),
  ]);
  const title = isNew ? t("staff.movies.new") : found.title;
  return {
    title,
    node: h(
      "div",
      { class: "stack" },
      h("a", { class: "back", href: "/staff/movies" }, `← ${t("staff.place.movies")}`),
      head(title, isNew ? null : t("staff.movies.coming", { n: coming.total }), !isNew && h("a", { class: "button", href: `/movies/${found.id}` }, t("staff.movies.see"))),
      h("div", { class: "movie-edit" },
        h("section", { class: "card" }, facts(found, genres, schemes.items)),
        h("section", { class: "stack" }, isNew ? message("", t("staff.movies.media-later")) : [medium("poster", found, signal), medium("trailer", found, signal), h("div", { class: "card stack" }, h("h2", {}, t("staff.delete")), h("p", { class: "soft" }, t("staff.movies.delete-about")), end(found, coming.total))])),
    ),
  };
}

/** Every value of every scheme as a choice: FSK 12, MPA PG-13. */
const ratings = (schemes) => schemes.flatMap(({ code, values }) => values.map(({ value }) => [JSON.stringify({ scheme: code, value }), `${code} ${value}`]));

function facts(movie, genres, schemes) {
  const { scheme, value } = movie?.ageRating ?? {};
  const rating = scheme ? JSON.stringify({ scheme, value }) : "";
  const formats = checks("formats", t("movie.formats"), FORMATS.map((format) => [format, format]), movie?.formats ?? []);
  const versions = versionsField(movie?.versions ?? []);
  const chosen = new Set(movie?.genreIds ?? []);
  const picks = h("fieldset", { class: "field", dataset: { field: "genreIds" } }, h("legend", {}, t("movie.genres")), h("div", { class: "picks" }, genres.map((genre) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "genre", value: genre.id, checked: chosen.has(genre.id) }), genre.name))));
  return form({
    fields: [
      field("title", t("staff.movies.title"), { value: movie?.title, required: true, maxlength: 200, autocomplete: "off" }),
      field("synopsis", t("staff.movies.synopsis"), { value: movie?.synopsis ?? "", rows: 6, maxlength: 5000 }),
      h("div", { class: "two" },
        field("durationMinutes", t("staff.movies.minutes"), { type: "number", required: true, min: 1, max: 1000, value: movie?.durationMinutes ?? 100 }),
        field("releaseDate", t("movie.released"), { type: "date", required: true, value: movie?.releaseDate ?? dateOf(now(), Intl.DateTimeFormat().resolvedOptions().timeZone) })),
      field("ageRating", t("staff.movies.age-rating"), { options: [["", t("staff.movies.no-age-rating")], ...ratings(schemes)], value: rating, hint: t("staff.movies.age-rating-hint") }),
      h("div", { class: "two" },
        field("rating", t("movie.rating-label"), { value: movie?.rating ?? "", maxlength: 20, hint: t("staff.movies.rating-hint"), autocomplete: "off" }),
        field("language", t("movie.language"), { value: movie?.language ?? "", maxlength: 20, hint: t("staff.movies.language-hint"), autocomplete: "off" })),
      picks,
      versions.node,
      formats,
    ],
    label: t(movie ? "staff.save" : "staff.movies.create"),
    work: async (values) => {
      const genreIds = [...picks.querySelectorAll("input:checked")].map((item) => item.value);
      const body = { title: values.title.trim(), synopsis: values.synopsis.trim(), durationMinutes: Number(values.durationMinutes), rating: values.rating.trim(), releaseDate: values.releaseDate, language: values.language.trim(), genreIds, versions: versions.read(), formats: checkedIn(formats), ...rated(values, movie) };
      const saved = movie ? await change(movie, body) : await post("/v1/movies", body);
      if (!saved) return;
      notice(t("staff.saved", { name: saved.title }));
      if (movie) await again();
      else await go(`/staff/movies/${saved.id}`, { instead: true });
    },
  });
}

/** The age rating as the request has it; null removes the one that the film has. */
function rated({ ageRating }, movie) {
  if (ageRating) return { ageRating: JSON.parse(ageRating) };
  return movie ? { ageRating: null } : {};
}

/** Saves a change. If showtimes overlap because of the new length, shows them and asks; `null` if staff decline. */
async function change(movie, body) {
  const path = `/v1/movies/${movie.id}`;
  try {
    return await patch(path, body);
  } catch (problem) {
    if (problem.code !== "showtimes-overlap") throw problem;
    const title = t("staff.movies.overlap", { n: problem.overlaps.length, minutes: body.durationMinutes });
    const answer = await ask(title, overlapList(problem.overlaps), [["no", t("staff.keep")], ["yes", t("staff.movies.overlap-accept"), "grave"]]);
    if (answer !== "yes") return null;
    const saved = await patch(path, { ...body, acceptOverlaps: true });
    show(t("staff.movies.overlap-now", { n: saved.overlaps?.length ?? 0 }), overlapList(saved.overlaps ?? []));
    return saved;
  }
}

function overlapList(overlaps) {
  const item = ({ auditoriumName, timeZone, earlier, later }) => {
    const times = { first: earlier.movieTitle, from: moment(earlier.startsAt, timeZone), to: time(earlier.endsAt, timeZone), second: later.movieTitle, next: time(later.startsAt, timeZone) };
    return h("li", {}, h("strong", {}, auditoriumName), ` ${t("staff.movies.overlap-pair", times)} `, h("a", { href: `/staff/showtimes/${earlier.id}` }, time(earlier.startsAt, timeZone)), " · ", h("a", { href: `/staff/showtimes/${later.id}` }, time(later.startsAt, timeZone)));
  };
  return h("div", { class: "stack" }, h("p", {}, t("staff.movies.overlap-about")), h("ul", { class: "overlaps" }, overlaps.map(item)));
}

/** The current poster or trailer, and an upload that replaces it. */
function medium(kind, movie, signal) {
  const preview = h("div", { class: `preview ${kind}-preview` });
  const draw = (url) => {
    if (kind === "poster") replace(preview, poster({ ...movie, posterUrl: url, posterSmallUrl: null }));
    else replace(preview, url ? h("video", { src: url, controls: true, preload: "metadata", "aria-label": t("movie.trailer-of", { title: movie.title }) }) : h("p", { class: "soft" }, t("staff.movies.no-trailer")));
  };
  draw(movie[`${kind}Url`]);
  const state = h("div", { "aria-live": "polite" });
  const input = h("input", { type: "file", id: `file-${kind}`, class: "input", accept: TYPES[kind] });
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    if (file.size > LIMITS[kind]) {
      replace(state, message("bad", t("staff.movies.too-large", { most: LIMITS[kind] / 1024 / 1024 })));
      return;
    }
    const local = URL.createObjectURL(file);
    draw(local);
    const bar = h("progress", { max: 1, value: 0, "aria-label": t("staff.movies.sending", { name: file.name }) });
    const percent = h("span", {}, "0 %");
    const giveUp = new AbortController();
    signal.addEventListener("abort", () => giveUp.abort());
    replace(state, h("div", { class: "row sending" }, bar, percent, h("button", { class: "button small", type: "button", on: { click: () => giveUp.abort() } }, t("staff.stop"))));
    input.disabled = true;
    try {
      const progress = (part) => {
        bar.value = part;
        percent.textContent = part < 1 ? number(part, { style: "percent" }) : t("staff.movies.working");
      };
      const stored = await upload(`/v1/movies/${movie.id}/${kind}`, file, { progress, signal: giveUp.signal });
      draw(stored.url);
      movie[`${kind}Url`] = stored.url;
      replace(state, message("good", t("staff.movies.stored")));
    } catch (problem) {
      draw(movie[`${kind}Url`]);
      const wrong = problem.errors?.find((error) => error.field === "file");
      replace(state, problem.name === "AbortError" ? null : message("bad", wrong ? wrongText(wrong) : problemText(problem)));
    } finally {
      URL.revokeObjectURL(local);
      input.disabled = false;
      input.value = "";
    }
  });
  return h("div", { class: "card stack" }, h("h2", {}, t(`staff.movies.${kind}`)), preview, h("div", { class: "field" }, h("label", { for: input.id }, t(`staff.movies.choose-${kind}`)), input, h("span", { class: "hint" }, t(`staff.movies.${kind}-hint`))), state);
}

function end(movie, coming) {
  return act(t("staff.movies.delete"), async () => {
    const problemText = coming ? t("staff.movies.delete-coming", { n: coming }) : t("staff.movies.delete-none");
    const answer = await ask(t("staff.movies.delete-ask", { title: movie.title }), h("p", {}, problemText), [["no", t("staff.keep")], ["yes", t("staff.delete"), "grave"]]);
    if (answer !== "yes") return;
    await remove(`/v1/movies/${movie.id}`);
    notice(t("staff.deleted", { name: movie.title }));
    await go("/staff/movies");
  }, "grave");
}

// A movie's rating and genres in the reader's language. Staff type both as free text; what is known by name is translated.

import { language, t } from "../lib/text.js";
import { box } from "./showing.js";
import genres from "../text/genres.js";

/** A rating as words: 12 is an age (in German the FSK's), anything else is shown as it is. `alone` says that a label stands before it. */
export function ratingText(rating, { alone = false } = {}) {
  const age = /^(?:FSK\s*)?(\d{1,2})$/i.exec(rating ?? "")?.[1];
  if (age !== undefined) return Number(age) === 0 ? t("movie.rating-0") : t("movie.rating-age", { age: Number(age) });
  return rating && (alone ? rating : t("movie.rating", { rating }));
}

/** The age rating in a box with its scheme, such as FSK 12; free text stays text. */
export function ratingBadge({ ageRating, minimumAge, rating }) {
  if (!ageRating) return ratingText(rating);
  const age = minimumAge === undefined ? rating : minimumAge === 0 ? t("movie.rating-0") : t("movie.rating-age", { age: minimumAge });
  return box(rating, `${rating}: ${age}`, "rating");
}

/** A genre's name: that of a usual genre, in whichever of the page's languages staff typed it, in the reader's language. */
export function genreName({ name }) {
  const typed = name.trim().toLowerCase();
  const known = Object.values(genres).find((names) => Object.values(names).some((one) => one.toLowerCase() === typed));
  return known?.[language] ?? name;
}

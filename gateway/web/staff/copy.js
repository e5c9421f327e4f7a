// Copies the showtimes of a day or a week: first a preview that names what is in the way, then one request for each showtime, and a
// report of what was left out and why. Plain prices are copied as they are; a card is chosen anew for the new time, or is the same.

import { post } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, dateParts, later, moment } from "../lib/format.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { message, problemText } from "../parts/notice.js";
import { invalid, wrongText } from "../parts/wrong.js";
import { cardAt, weekdayOf } from "./card-match.js";
import { instant, wall } from "./clock.js";
import { everything, sheet, table } from "./listing.js";
import { surchargeNames } from "./pricing.js";

const DAY_MS = 24 * 3600_000;
/** How often a request that came too fast is repeated. */
const REPEATS = 5;

/** The dialog. `scene` is the schedule's. */
export function copyProgramme(scene) {
  const preview = h("div", { class: "stack", "aria-live": "polite" });
  let planned = null;
  const made = form({
    fields: [
      field("span", t("staff.copy.what"), { options: [["1", t("staff.copy.day", { day: dateParts(scene.date).long })], ["7", t("staff.copy.week", { day: dateParts(monday(scene.date)).long })]] }),
      field("day", t("staff.copy.to"), { type: "date", required: true, value: later(scene.date, 7), hint: t("staff.copy.to-hint") }),
      scene.cards.length > 0 && field("pricing", t("staff.prices"), { options: [["automatic", t("staff.pricing.automatic")], ["same", t("staff.copy.same-card")]], value: "automatic", hint: t("staff.copy.plain-hint") }),
      preview,
    ],
    label: t("staff.copy.action"),
    work: async () => {
      if (!planned?.some((item) => !item.reason)) throw invalid({ field: "day", text: t("staff.copy.nothing") });
      const outcome = await copy(planned, (text) => replace(preview, h("p", {}, text)));
      close();
      report(outcome);
      await again();
    },
  });
  const { close } = sheet(t("staff.copy.title"), made);
  const show = async () => {
    planned = null;
    const { span, day: to, pricing } = Object.fromEntries(new FormData(made));
    if (!to) return replace(preview);
    const wanted = { span, to, pricing };
    made.wanted = wanted;
    replace(preview, h("p", { class: "soft" }, t("wait.page")));
    try {
      const found = await plan(scene, Number(span), to, pricing === "same");
      // Another choice was made meanwhile.
      if (made.wanted !== wanted) return;
      planned = found;
      replace(preview, described(found));
    } catch (problem) {
      replace(preview, message("bad", problemText(problem)));
    }
  };
  made.addEventListener("change", show);
  show();
}

/** The Monday of a day's week. */
function monday(date) {
  const weekday = new Date(`${date}T00:00Z`).getUTCDay();
  return later(date, -((weekday + 6) % 7));
}

/** The copies: `{showtime, startsAt, endsAt, prices, reason?}` with their part of the request, and the reason why one cannot be made. */
async function plan(scene, span, to, isSameCard) {
  const from = span === 7 ? monday(scene.date) : scene.date;
  const target = span === 7 ? monday(to) : to;
  const days = Math.round((Date.parse(target) - Date.parse(from)) / DAY_MS);
  const read = async (first) => (await Promise.all(Array.from({ length: span }, (_, at) => everything("/v1/showtimes", { date: later(first, at) })))).flat().filter((item) => item.status === "ON_SALE");
  const [sources, there] = await Promise.all([read(from), read(target)]);
  return sources.map((showtime) => {
    const zone = showtime.timeZone;
    const startsAt = instant(later(dateOf(showtime.startsAt, zone), days), wall(showtime.startsAt, zone), zone);
    const endsAt = new Date(startsAt.valueOf() + (Date.parse(showtime.endsAt) - Date.parse(showtime.startsAt)));
    const conflict = there.find((other) => other.auditoriumId === showtime.auditoriumId && new Date(other.startsAt) < endsAt && new Date(other.endsAt) > startsAt);
    const priced = pricesOf(scene, showtime, startsAt, isSameCard);
    const reason = isPast(startsAt) ? t("staff.skip.in-the-past") : conflict ? t("staff.copy.conflict", { title: conflict.movieTitle, at: moment(conflict.startsAt, zone) }) : priced.reason;
    return { showtime, startsAt, endsAt, prices: priced.prices, reason };
  });
}

/** The prices of a copy: `{prices}` as the request has them, or `{reason}`. */
function pricesOf({ cards }, showtime, startsAt, isSameCard) {
  if (!showtime.priceCard) return { prices: { prices: showtime.prices } };
  const zone = showtime.timeZone;
  const own = cards.find((card) => card.id === showtime.priceCard.id);
  const card = isSameCard ? own : cardAt(cards, weekdayOf(dateOf(startsAt, zone)), wall(startsAt, zone));
  if (!card) return { reason: isSameCard ? t("staff.copy.no-card", { card: showtime.priceCard.name }) : t("problem.price-card-missing") };
  const find = (of, code) => of?.surcharges.find((item) => item.code === code);
  // Those for long films apply by themselves, by the rules of the card.
  const chosen = (showtime.surcharges ?? []).filter((code) => !find(own, code)?.minutesOver && !find(card, code)?.minutesOver);
  const missing = chosen.filter((code) => !find(card, code));
  if (missing.length) return { reason: t("staff.copy.no-surcharge", { card: card.name, names: surchargeNames(missing, own) }) };
  return { prices: { ...(isSameCard && { priceCardId: card.id }), ...(chosen.length > 0 && { surcharges: chosen }) } };
}

function described(planned) {
  if (!planned.length) return message("warn", t("staff.copy.empty"));
  const wrong = planned.filter((item) => item.reason);
  const free = planned.length - wrong.length;
  return [
    message(free ? "" : "warn", free ? t("staff.copy.count", { n: free }) : t("staff.copy.nothing")),
    free > 0 && h("details", { class: "fold" }, h("summary", {}, t("staff.copy.which")), list(t("staff.copy.which"), planned.filter((item) => !item.reason))),
    wrong.length > 0 && [h("h3", {}, t("staff.copy.skipped", { n: wrong.length })), list(t("staff.copy.skipped", { n: wrong.length }), wrong)],
  ];
}

function list(caption, items) {
  return table(caption, [
    [t("staff.when"), ({ showtime, startsAt }) => moment(startsAt, showtime.timeZone)],
    [t("staff.film"), ({ showtime }) => [showtime.movieTitle, h("p", { class: "soft" }, showtime.auditoriumName)]],
    ...(items.some((item) => item.reason) ? [[t("staff.why"), (item) => item.reason]] : []),
  ], items);
}

/** Makes the copies one after the other; the server has the last word on each. */
async function copy(planned, progress) {
  const outcome = { made: [], skipped: planned.filter((item) => item.reason) };
  const open = planned.filter((item) => !item.reason);
  for (const [at, item] of open.entries()) {
    progress(t("staff.copy.running", { at: at + 1, n: open.length }));
    const { movieId, auditoriumId, filmVersion, format, minutesBeforeFilm } = item.showtime;
    try {
      await patiently(() => post("/v1/showtimes", { movieId, auditoriumId, startsAt: item.startsAt.toISOString(), filmVersion, format, minutesBeforeFilm, ...item.prices }));
      outcome.made.push(item);
    } catch (problem) {
      outcome.skipped.push({ ...item, reason: reasonOf(problem) });
    }
  }
  return outcome;
}

/** Why the server refused a copy. */
const reasonOf = (problem) => (problem.errors?.length ? problem.errors.map((error) => wrongText(error)).join(" ") : problemText(problem));

/** Repeats a request that came too fast when the server allows it. */
async function patiently(send) {
  for (let tried = 0; ; tried++) {
    try {
      return await send();
    } catch (problem) {
      if (problem.status !== 429 || tried >= REPEATS) throw problem;
      await new Promise((done) => setTimeout(done, (problem.retryAfter ?? 1) * 1000));
    }
  }
}

function report({ made, skipped }) {
  const title = made.length ? t("staff.copy.done", { n: made.length }) : t("staff.copy.none-done");
  sheet(title, [
    made.length > 0 && h("p", {}, `${moment(made[0].startsAt, made[0].showtime.timeZone)} – ${moment(made.at(-1).startsAt, made.at(-1).showtime.timeZone)}`),
    skipped.length > 0 && [h("h3", {}, t("staff.copy.skipped", { n: skipped.length })), list(t("staff.copy.skipped", { n: skipped.length }), skipped)],
  ]);
}

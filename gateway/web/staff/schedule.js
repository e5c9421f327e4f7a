// Schedules showtimes: a single one, or several days at once.

import { post } from "../lib/api.js";
import { isPast, now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, later, money, moment } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { invalid } from "../parts/wrong.js";
import { WEEKDAYS, weekdayName, weekdayOf } from "./card-match.js";
import { instant } from "./clock.js";
import { check, checkedIn, checks } from "./fields.js";
import { sheet, table } from "./listing.js";
import { Pricing } from "./pricing.js";
import { forNew, showingFields } from "./showing.js";

/** Enough days to have each weekday. */
const WEEK = 7;

/** The start in a form's date and time. If it is past, the problem is at the field that is wrong: the date, or else the time. */
export function startIn({ date, time }, zone) {
  const at = instant(date, time, zone);
  if (isPast(at)) throw invalid({ field: date < dateOf(now(), zone) ? "date" : "time", code: "future" });
  return at.toISOString();
}

const TIME = /^([01]\d|2[0-3]):[0-5]\d$/;

/** The texts between commas, as 09:30; times without an hour's first digit or with a point are understood. */
const parted = (text) => [...new Set(text.split(/[\s,;]+/).filter(Boolean).map((time) => time.replace(".", ":").padStart(5, "0")))];

/** The times in a text such as 9:30, 20:15. */
function timesIn(text) {
  const times = parted(text);
  if (!times.every((time) => TIME.test(time))) throw invalid({ field: "times", code: "time" });
  return times;
}

/** The fields of both forms: movie and auditorium, and the prices, which follow the rest of the form. `starts()` are its times by now. */
function choices(scene, starts, { hall: wanted } = {}) {
  const first = scene.halls.find((item) => item.id === wanted) ?? scene.halls[0];
  const movies = field("movieId", t("staff.film"), { options: scene.movies.map((item) => [item.id, item.title]) });
  const halls = field("auditoriumId", t("staff.hall"), { options: scene.halls.map((item) => [item.id, item.name]), value: first.id });
  const chosen = (box, items) => items.find((item) => item.id === box.querySelector("select").value);
  const usual = (hall) => scene.showtimes.find((item) => item.auditoriumId === hall.id)?.prices;
  const pricing = new Pricing({ cards: scene.cards, hall: () => chosen(halls, scene.halls), movie: () => chosen(movies, scene.movies), starts, usual });
  const showing = showingFields({ movie: () => chosen(movies, scene.movies), zone: () => chosen(halls, scene.halls).timeZone });
  const draft = check("draft", t("staff.drafts.keep"), false);
  /** What the request says besides movie, auditorium, times and prices. */
  const shown = () => ({ ...forNew(showing.read()), ...(draft.querySelector("input").checked && { status: "DRAFT" }) });
  return { movies, halls, pricing, showing, draft, shown };
}

/** Shows a form whose prices and versions follow its other fields. Returns the dialog. */
function openForm(title, made, { pricing, showing }) {
  for (const event of ["input", "change"]) made.addEventListener(event, () => pricing.draw());
  made.addEventListener("change", () => showing.draw());
  pricing.draw();
  return sheet(title, made);
}

/** The form for one showtime. */
export function newShowtime(scene, { hall, time = "20:00" }) {
  const starts = () => {
    const { date, time } = made.elements;
    return date.value && time.value ? [{ weekday: weekdayOf(date.value), time: time.value }] : [];
  };
  const chosen = choices(scene, starts, { hall });
  const { movies, halls, pricing, showing, draft, shown } = chosen;
  const made = form({
    fields: [
      movies, halls,
      h("div", { class: "two" }, field("date", t("staff.date"), { type: "date", required: true, value: scene.date }), h("div", { dataset: { field: "startsAt" } }, field("time", t("staff.time"), { type: "time", required: true, value: time, hint: t("staff.wall-clock") }))),
      showing.node,
      pricing.node,
      draft,
    ],
    label: t("staff.showtimes.new"),
    work: async (values) => {
      const zone = scene.halls.find((item) => item.id === values.auditoriumId).timeZone;
      const startsAt = startIn(values, zone);
      const showtime = await pricing.send((prices) => post("/v1/showtimes", { movieId: values.movieId, auditoriumId: values.auditoriumId, startsAt, ...shown(), ...prices }));
      close();
      notice(t(showtime.status === "DRAFT" ? "staff.drafts.made" : "staff.showtimes.made", { title: showtime.movieTitle, at: moment(showtime.startsAt, showtime.timeZone) }));
      await again();
    },
  });
  const { close } = openForm(t("staff.showtimes.new"), made, chosen);
}

/** The form for several days: the given times on each day. */
export function newProgramme(scene) {
  const days = checks("weekdays", t("staff.bulk.weekdays"), WEEKDAYS.map((name) => [name, weekdayName(name)]), WEEKDAYS);
  const starts = () => {
    const { from, to, times } = made.elements;
    const dates = Array.from({ length: WEEK }, (_, at) => later(from.value, at)).filter((date) => date && date <= to.value);
    const weekdays = checkedIn(days).filter((weekday) => dates.some((date) => weekdayOf(date) === weekday));
    return weekdays.flatMap((weekday) => parted(times.value).filter((time) => TIME.test(time)).map((time) => ({ weekday, time })));
  };
  const chosen = choices(scene, starts);
  const { movies, halls, pricing, showing, draft, shown } = chosen;
  const made = form({
    fields: [
      movies, halls,
      h("div", { class: "two" }, field("from", t("staff.bulk.from"), { type: "date", required: true, value: scene.date }), field("to", t("staff.bulk.to"), { type: "date", required: true, value: later(scene.date, WEEK - 1) })),
      days,
      field("times", t("staff.bulk.times"), { required: true, value: "17:30, 20:15", hint: t("staff.bulk.times-hint"), autocomplete: "off" }),
      showing.node,
      pricing.node,
      draft,
    ],
    label: t("staff.bulk.action"),
    work: async (values) => {
      const weekdays = checkedIn(days);
      const times = timesIn(values.times);
      if (values.to < values.from) throw invalid({ field: "to", code: "not-before" });
      if (!weekdays.length) throw invalid({ field: "weekdays", code: "weekdays" });
      const body = { movieId: values.movieId, auditoriumId: values.auditoriumId, from: values.from, to: values.to, times, weekdays };
      const answer = await pricing.send((prices) => post("/v1/showtimes/bulk", { ...body, ...shown(), ...prices }));
      close();
      const zone = scene.halls.find((item) => item.id === values.auditoriumId).timeZone;
      result(answer, zone);
      await again();
    },
  });
  const { close } = openForm(t("staff.showtimes.bulk"), made, chosen);
}

function result({ created, skipped }, zone) {
  const when = (item) => (item.startsAt ? moment(item.startsAt, zone) : `${item.date} ${item.time}`);
  const priced = groupBy(created, ({ priceCard, prices }) => [priceCard?.name, Object.entries(prices).map(([kind, price]) => `${t(`kind.${kind}`)} ${money(price)}`).join(", ")].filter(Boolean).join(": "));
  const isDraft = created[0]?.status === "DRAFT";
  sheet(t(isDraft ? "staff.drafts.planned" : "staff.bulk.done", { n: created.length }), [
    created.length > 0 && h("p", {}, `${moment(created[0].startsAt, zone)} – ${moment(created.at(-1).startsAt, zone)}`),
    [...priced].map(([text, items]) => h("p", { class: "soft" }, priced.size > 1 ? `${items.length} × ${text}` : text)),
    skipped.length > 0 && [h("h3", {}, t("staff.bulk.skipped", { n: skipped.length })), table(t("staff.bulk.skipped", { n: skipped.length }), [[t("staff.when"), when], [t("staff.why"), (item) => t(`staff.skip.${item.reason}`)]], skipped)],
  ]);
}

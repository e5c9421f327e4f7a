// The showtimes of a day on a timeline, one line per auditorium. From here showtimes are scheduled, moved, priced and
// cancelled.

import { isPast, now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, dateParts, isDate, later, time } from "../lib/format.js";
import { go } from "../lib/router.js";
import { locale, t } from "../lib/text.js";
import { days } from "../parts/days.js";
import { versionText } from "../parts/showing.js";
import { clock, instant } from "./clock.js";
import { copyProgramme } from "./copy.js";
import { publishDrafts } from "./drafts.js";
import { act, everything, head, poll } from "./listing.js";
import { readCards } from "./price-cards.js";
import { newProgramme, newShowtime } from "./schedule.js";
import { showShowtime } from "./showtime.js";

/** The hours that are always shown (minutes since midnight); earlier or later showtimes extend them. */
const FROM = 10 * 60;
const TO = 24 * 60;
/** A click on the timeline is rounded to this many minutes. */
const STEP = 15;
const MINUTE = 60_000;
/** The width (px) of the column with the auditoriums' names. */
const NAMES = 150;

export default async function showtimes({ query, signal }) {
  const halls = (await everything("/v1/auditoriums")).sort((a, b) => a.name.localeCompare(b.name));
  const zone = halls[0]?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const today = dateOf(now(), zone);
  const date = isDate(query.date) ? query.date : today;
  const [shown, sold, movies, cards] = await Promise.all([
    everything("/v1/admin/showtimes", { date }),
    everything("/v1/admin/reports/occupancy", { from: instant(date, "00:00", zone).toISOString(), to: instant(later(date, 1), "04:00", zone).toISOString() }),
    everything("/v1/movies"),
    readCards(),
  ]);
  const scene = { date, zone, halls, movies, cards, showtimes: shown, sold: new Map(sold.map((item) => [item.showtimeId, item])) };
  const strip = Array.from({ length: 14 }, (_, at) => later(today, at - 1));
  if (!strip.includes(date)) strip.push(date);
  const other = h("input", { class: "input", type: "date", id: "other-day", value: date, "aria-label": t("staff.showtimes.other-day"), on: { change: (event) => event.target.value && go(`/staff/showtimes?date=${event.target.value}`) } });
  const made = halls.length && movies.length ? timeline(scene) : none(halls);
  return {
    title: t("staff.place.showtimes"),
    // On a narrow screen, scroll to the next showtime.
    onShow: () => {
      // The line of the present moves on.
      poll(async () => drawNow(made, scene), MINUTE, signal);
      drawNow(made, scene);
      const next = made.querySelector("[data-state=now], [data-state=to-come]");
      const [block, box] = [next?.getBoundingClientRect(), made.getBoundingClientRect()];
      if (block && block.right > box.right) made.scrollLeft = block.left - box.left - NAMES;
    },
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.showtimes"), dateParts(date).long,
        act(t("staff.showtimes.new"), () => newShowtime(scene, {}), "main"),
        act(t("staff.showtimes.bulk"), () => newProgramme(scene)),
        act(t("staff.copy.title"), () => copyProgramme(scene)),
        act(t("staff.drafts.title"), publishDrafts)),
      h("div", { class: "day-choice" }, days({ days: strip, now: today, chosen: date, href: (day) => `/staff/showtimes?date=${day}`, label: t("programme.days") }), other),
      made,
    ),
  };
}

function none(halls) {
  const [text, href, label] = halls.length ? ["staff.showtimes.no-movies", "/staff/movies/new", "staff.movies.new"] : ["staff.showtimes.no-halls", "/staff/halls/new", "staff.halls.new"];
  return h("p", { class: "card" }, t(text), " ", h("a", { href }, t(label)));
}

function timeline(scene) {
  const span = range(scene);
  const hours = Array.from({ length: Math.floor((span.to - span.from) / 60) + 1 }, (_, at) => span.from + at * 60);
  const hour = new Intl.DateTimeFormat(locale(), { hour: "numeric", timeZone: "UTC" });
  const scale = h("div", { class: "timeline-scale", "aria-hidden": "true" }, hours.map((minute) => h("span", { style: { "--at": at(minute, span) } }, hour.format(new Date(Date.UTC(2026, 0, 1, 0, minute))))));
  return h(
    "div",
    { class: "timeline", tabindex: "0", role: "region", "aria-label": t("staff.showtimes.timeline"), style: { "--hours": String((span.to - span.from) / 60) }, dataset: span },
    h("div", { class: "timeline-inside" }, scale, scene.halls.map((hall) => lane(scene, hall, span))),
  );
}

/** Draws the line of the present in each auditorium's row, by its own clock; none on another day. */
function drawNow(made, scene) {
  for (const row of made.querySelectorAll(".timeline-row")) {
    const hall = scene.halls.find((item) => item.id === row.dataset.hall);
    const [minute, span] = [minutes(now(), hall, scene), { from: Number(made.dataset.from), to: Number(made.dataset.to) }];
    row.querySelector(".timeline-now")?.remove();
    if (minute < span.from || minute > span.to) continue;
    row.append(h("li", { class: "timeline-now", style: { "--at": at(minute, span) } }, h("span", { class: "unseen" }, t("staff.showtimes.now"))));
  }
}

/** Minutes since midnight of that day in local time; times of the next day are above 24 hours. */
function minutes(instantText, hall, scene) {
  return Math.round((new Date(instantText) - instant(scene.date, "00:00", hall.timeZone)) / MINUTE);
}

function range(scene) {
  let [from, to] = [FROM, TO];
  const widen = (begin, end) => {
    from = Math.min(from, Math.floor(begin / 60) * 60);
    to = Math.max(to, Math.ceil(end / 60) * 60);
  };
  // The present is always there, also at night.
  for (const hall of scene.halls) if (dateOf(now(), hall.timeZone) === scene.date) widen(minutes(now(), hall, scene), minutes(now(), hall, scene));
  for (const showtime of scene.showtimes) {
    const hall = scene.halls.find((hall) => hall.id === showtime.auditoriumId) ?? { timeZone: showtime.timeZone };
    widen(minutes(showtime.startsAt, hall, scene), minutes(showtime.endsAt, hall, scene));
  }
  return { from, to };
}

const at = (minute, span) => String((minute - span.from) / (span.to - span.from));

function lane(scene, hall, span) {
  const own = scene.showtimes.filter((showtime) => showtime.auditoriumId === hall.id);
  const begin = (event) => {
    if (event.target.closest("button")) return;
    const box = event.currentTarget.getBoundingClientRect();
    const minute = span.from + ((event.clientX - box.left) / box.width) * (span.to - span.from);
    newShowtime(scene, { hall: hall.id, time: clock(Math.floor(minute / STEP) * STEP) });
  };
  return h(
    "div",
    { class: "timeline-lane" },
    h("h2", {}, h("a", { href: `/staff/halls/${hall.id}` }, hall.name)),
    h("ul", { class: "timeline-row", role: "list", dataset: { hall: hall.id }, title: t("staff.showtimes.click"), on: { click: begin } }, own.map((showtime) => h("li", { style: { "--at": at(minutes(showtime.startsAt, hall, scene), span), "--till": at(minutes(showtime.endsAt, hall, scene), span) } }, block(scene, showtime)))),
  );
}

function block(scene, showtime) {
  const sold = scene.sold.get(showtime.id);
  const isOff = showtime.status === "CANCELLED";
  const from = time(showtime.startsAt, showtime.timeZone);
  const isDraft = showtime.status === "DRAFT";
  const full = isDraft ? t("staff.drafts.one") : sold && !isOff ? t("staff.sold-of", { sold: sold.sold, capacity: sold.capacity }) : isOff ? t("staff.showtimes.off") : "";
  const state = isOff ? "off" : isDraft ? "draft" : isPast(showtime.endsAt) ? "past" : isPast(showtime.startsAt) ? "now" : "to-come";
  return h(
    "button",
    { type: "button", class: "timeline-block", dataset: { state }, "aria-haspopup": "dialog", style: { "--full": String(sold?.capacity ? (sold.sold + sold.held) / sold.capacity : 0) }, on: { click: () => showShowtime(scene, showtime) } },
    h("b", {}, from), " ", h("span", {}, showtime.movieTitle), " ", h("small", {}, [full, showtime.format, showtime.filmVersion && versionText(showtime.filmVersion)].filter(Boolean).join(" · ")),
  );
}

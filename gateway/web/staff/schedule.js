// Schedules showtimes: a single one, or several days at once. There is a price for each kind of seat in the auditorium.

import { post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { readPrice, refuse, writeAmount } from "../lib/amount.js";
import { currency as rulesOf, currencyCodes, defaultCurrency } from "../lib/currencies.js";
import { currencyName, later, money, moment } from "../lib/format.js";
import { again } from "../lib/router.js";
import { locale, t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { instant } from "./clock.js";
import { sheet, table } from "./listing.js";

export const KINDS = ["STANDARD", "LOVESEAT", "WHEELCHAIR", "COMPANION"];
const WEEKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
/** 5 January 2026 is a Monday. */
const weekday = (at) => new Date(Date.UTC(2026, 0, 5 + at));
/**
 * Suggested prices for a new auditorium, in multiples of the currency's least price: in euros 12, 16 and 6. The least price is worth
 * about half a euro in most currencies.
 */
const USUAL = { STANDARD: 24, LOVESEAT: 32, WHEELCHAIR: 24, COMPANION: 12 };

/** The kinds of seat in an auditorium. */
export const kindsOf = (hall) => KINDS.filter((kind) => hall.rows.some((row) => row.seats.some((seat) => seat.kind === kind)));

/** Fields for the price of each kind. `prices` are the current prices; all are in `currency`. */
export function priceFields(hall, prices = {}, currency = Object.values(prices)[0]?.currency ?? defaultCurrency()) {
  return h("fieldset", { class: "field prices", dataset: { field: "prices" } }, h("legend", {}, t("staff.prices")), kindsOf(hall).map((kind) => {
    const amount = prices[kind]?.currency === currency ? prices[kind].amount : USUAL[kind] * rulesOf(currency).least;
    return field(`price-${kind}`, `${t(`kind.${kind}`)} (${currency})`, { value: writeAmount(amount, currency), inputmode: "decimal", autocomplete: "off", dataset: { kind, currency } });
  }));
}

/** The prices in those fields; throws a problem with an explanation at each invalid one. */
export function pricesIn(box) {
  const read = [...box.querySelectorAll("[data-kind]")].map(({ value, dataset: { kind, currency } }) => ({ kind, currency, ...readPrice(value, currency) }));
  const wrong = read.filter((item) => item.wrong);
  if (wrong.length) refuse(wrong.map((item) => [`price-${item.kind}`, item.wrong]));
  return Object.fromEntries(read.map(({ kind, currency, amount }) => [kind, { amount, currency }]));
}

/** The fields of both forms: movie, auditorium and currency, and prices, which follow auditorium and currency. */
function choices(scene, { hall: wanted, movie } = {}) {
  const hall = scene.halls.find((item) => item.id === wanted) ?? scene.halls[0];
  const usual = (hall) => scene.showtimes.find((item) => item.auditoriumId === hall.id)?.prices;
  const prices = h("div", {}, priceFields(hall, usual(hall), defaultCurrency()));
  const movies = field("movieId", t("staff.film"), { options: scene.movies.map((item) => [item.id, item.title]), value: movie });
  const halls = field("auditoriumId", t("staff.hall"), { options: scene.halls.map((item) => [item.id, item.name]), value: hall.id });
  const currencies = field("currency", t("staff.currency"), { options: currencyCodes().map((code) => [code, currencyName(code)]), value: defaultCurrency() });
  const chosen = (box) => box.querySelector("select").value;
  const follow = () => {
    const hall = scene.halls.find((item) => item.id === chosen(halls));
    replace(prices, priceFields(hall, usual(hall), chosen(currencies)));
  };
  for (const box of [halls, currencies]) box.querySelector("select").addEventListener("change", follow);
  return { movies, halls, currencies, prices };
}

/** The form for one showtime. */
export function newShowtime(scene, { hall, time = "20:00" }) {
  const { movies, halls, currencies, prices } = choices(scene, { hall });
  const made = form({
    fields: [
      movies, halls,
      h("div", { class: "two" }, field("date", t("staff.date"), { type: "date", value: scene.date }), h("div", { dataset: { field: "startsAt" } }, field("time", t("staff.time"), { type: "time", value: time, hint: t("staff.wall-clock") }))),
      currencies, prices,
    ],
    label: t("staff.showtimes.new"),
    work: async (values) => {
      const zone = scene.halls.find((item) => item.id === values.auditoriumId).timeZone;
      const startsAt = instant(values.date, values.time, zone)?.toISOString() ?? "";
      const showtime = await post("/v1/showtimes", { movieId: values.movieId, auditoriumId: values.auditoriumId, startsAt, prices: pricesIn(prices) });
      close();
      notice(t("staff.showtimes.made", { title: showtime.movieTitle, at: moment(showtime.startsAt, showtime.timeZone) }));
      await again();
    },
  });
  const { close } = sheet(t("staff.showtimes.new"), made);
}

/** The form for several days: the given times on each day. */
export function newProgramme(scene) {
  const { movies, halls, currencies, prices } = choices(scene);
  const days = h("fieldset", { class: "field", dataset: { field: "weekdays" } }, h("legend", {}, t("staff.bulk.weekdays")), h("div", { class: "row" }, WEEKDAYS.map((name, at) => {
    const text = new Intl.DateTimeFormat(locale(), { weekday: "short", timeZone: "UTC" }).format(weekday(at));
    return h("label", { class: "check" }, h("input", { type: "checkbox", name: "weekday", value: name, checked: true }), text);
  })));
  const made = form({
    fields: [
      movies, halls,
      h("div", { class: "two" }, field("from", t("staff.bulk.from"), { type: "date", value: scene.date }), field("to", t("staff.bulk.to"), { type: "date", value: later(scene.date, 6) })),
      days,
      field("times", t("staff.bulk.times"), { value: "17:30, 20:15", hint: t("staff.bulk.times-hint"), autocomplete: "off" }),
      currencies, prices,
    ],
    label: t("staff.bulk.action"),
    work: async (values) => {
      const weekdays = [...days.querySelectorAll("input:checked")].map((item) => item.value);
      const times = values.times.split(/[\s,;]+/).filter(Boolean);
      const body = { movieId: values.movieId, auditoriumId: values.auditoriumId, from: values.from, to: values.to, times, weekdays, prices: pricesIn(prices) };
      const answer = await post("/v1/showtimes/bulk", body);
      close();
      const zone = scene.halls.find((item) => item.id === values.auditoriumId).timeZone;
      result(answer, zone);
      await again();
    },
  });
  const { close } = sheet(t("staff.showtimes.bulk"), made);
}

function result({ created, skipped }, zone) {
  const when = (item) => (item.startsAt ? moment(item.startsAt, zone) : `${item.date} ${item.time}`);
  sheet(t("staff.bulk.done", { n: created.length }), [
    created.length > 0 && h("p", {}, `${moment(created[0].startsAt, zone)} – ${moment(created.at(-1).startsAt, zone)}`, " · ", Object.entries(created[0].prices).map(([kind, price]) => `${t(`kind.${kind}`)} ${money(price)}`).join(", ")),
    skipped.length > 0 && [h("h3", {}, t("staff.bulk.skipped", { n: skipped.length })), table(t("staff.bulk.skipped", { n: skipped.length }), [[t("staff.when"), when], [t("staff.why"), (item) => t(`staff.skip.${item.reason}`)]], skipped)],
  ]);
}

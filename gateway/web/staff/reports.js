// Reports of tickets by film week, for distributors, and of sales by day, for the accountant: on the page, as CSV, printed.

import { Problem, get } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, isDate, later, moment, money, number, plainDate } from "../lib/format.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { save } from "../parts/ics.js";
import { message, partly, problemText } from "../parts/notice.js";
import { act, everything, filters, fresh, head, table } from "./listing.js";

const KINDS = ["tickets", "sales"];
const GROUPINGS = ["movie", "showtime", "day", "type"];
/** The lines of one request, which is the most that it may ask for. */
const LINES = 500;

export default async function reports({ query, signal }) {
  const halls = await fresh("/v1/auditoriums", { pageSize: 1 }, { signal });
  const zone = halls.items[0]?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const thursday = filmWeek(dateOf(now(), zone));
  const chosen = {
    kind: KINDS.includes(query.kind) ? query.kind : "tickets",
    from: isDate(query.from) ? query.from : thursday,
    to: isDate(query.to) ? query.to : later(thursday, 6),
    by: GROUPINGS.includes(query.by) ? query.by : "movie",
  };
  const span = { from: chosen.from, to: chosen.to, by: chosen.kind === "tickets" ? chosen.by : undefined, timeZone: zone };
  const path = `/v1/admin/reports/${chosen.kind}`;
  const found = await everything(path, { ...span, pageSize: LINES }).catch((problem) => {
    if (problem instanceof Problem && problem.status === 422) return problem;
    throw problem;
  });
  const title = t(`staff.reports.kind-${chosen.kind}`);
  const columns = chosen.kind === "tickets" ? ticketSums() : salesSums();
  const names = chosen.kind === "tickets" ? ticketNames(chosen.by, zone) : salesNames();
  const csv = async () => save(await get(path, { ...span, format: "csv" }, { headers: { Accept: "text/csv, application/problem+json" } }), `${chosen.kind}-${chosen.from}-${chosen.to}.csv`);
  return {
    title: t("staff.place.reports"),
    node: h(
      "div",
      { class: "stack report" },
      head(t("staff.place.reports"), t("staff.reports.about", { zone }), act(t("staff.reports.csv"), csv), act(t("staff.reports.print"), () => print())),
      filters([
        field("kind", t("staff.reports.kind"), { options: KINDS.map((kind) => [kind, t(`staff.reports.kind-${kind}`)]), value: chosen.kind }),
        field("from", t("staff.bulk.from"), { type: "date", value: chosen.from }),
        field("to", t("staff.bulk.to"), { type: "date", value: chosen.to }),
        chosen.kind === "tickets" && field("by", t("staff.sales.by"), { options: GROUPINGS.map((by) => [by, t(`staff.reports.by-${by}`)]), value: chosen.by }),
      ], go),
      h("h2", {}, t("staff.reports.from-to", { kind: title, from: plainDate(chosen.from), to: plainDate(chosen.to) })),
      found instanceof Problem ? message("bad", problemText(found)) : tables(found, title, names, columns),
    ),
  };
}

function tables(lines, title, names, columns) {
  const currency = [t("staff.reports.total"), (sums) => sums.gross.currency];
  return [
    partly(lines),
    table(t("staff.reports.total"), [currency, ...columns], lines.first.totals, t("staff.reports.none")),
    lines.length > 0 && table(title, [...names, ...columns], lines),
  ];
}

/** The Thursday on or before a day. */
function filmWeek(day) {
  const since = (new Date(`${day}T00:00Z`).getUTCDay() + 3) % 7;
  return later(day, -since);
}

function ticketNames(by, zone) {
  const week = [t("staff.reports.week"), (line) => plainDate(line.week)];
  const name = {
    movie: (line) => line.movieTitle ?? "–",
    showtime: (line) => `${line.movieTitle ?? ""} ${line.startsAt ? moment(line.startsAt, zone) : ""}`,
    day: (line) => plainDate(line.day),
    type: (line) => line.type ?? "–",
  }[by];
  return [week, [t(`staff.reports.by-${by}`), name]];
}

const salesNames = () => [
  [t("staff.sales.by-day"), (line) => plainDate(line.day)],
  [t("staff.reports.paid-by"), (line) => t(`staff.reports.paid-${line.paidBy}`)],
];

const count = (key, of) => [t(`staff.reports.${key}`), (sums) => number(of(sums)), "number"];
const amount = (key) => [t(`staff.reports.${key}`), (sums) => money(sums[key]), "number"];

const ticketSums = () => [
  ...["full", "reduced", "free", "total"].map((key) => count(`admissions-${key}`, (sums) => sums.admissions[key])),
  ...["gross", "fees"].map(amount),
  [t("staff.reports.taxes"), taxes],
  ...["returned", "net"].map(amount),
];

const salesSums = () => [
  count("sold", (sums) => sums.sold),
  count("ended", (sums) => sums.ended),
  [t("staff.reports.captured"), (sums) => money(sums.gross), "number"],
  ...["returned", "net", "fees"].map(amount),
  [t("staff.reports.taxes"), taxes],
];

/** One line for each rate. */
function taxes(sums) {
  const { currency } = sums.gross;
  const rate = (of) => number(of / 100_000, { style: "percent", maximumFractionDigits: 3 });
  return sums.taxes.map((sum) => h("div", {}, t("staff.reports.tax", { rate: rate(sum.rate), net: money({ amount: sum.net, currency }), tax: money({ amount: sum.tax, currency }) })));
}

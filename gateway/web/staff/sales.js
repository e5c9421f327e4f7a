// Sales: revenue and occupancy by day, movie or showtime, as charts with tables.

import { now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { defaultCurrency } from "../lib/currencies.js";
import { briefMoney, dateOf, dateParts, later, moment, money, number } from "../lib/format.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { partly } from "../parts/notice.js";
import { chart } from "./chart.js";
import { instant } from "./clock.js";
import { everything, filters, fresh, head, table } from "./listing.js";

export default async function sales({ query, signal }) {
  const halls = await fresh("/v1/auditoriums", { pageSize: 1 }, { signal });
  const zone = halls.items[0]?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const today = dateOf(now(), zone);
  const span = { from: query.from ?? later(today, -6), to: query.to ?? later(today, 7), by: query.by ?? "day", zone };
  const [revenue, occupancy] = await Promise.all([report(span), seats(span)]);
  const days = [];
  for (let day = span.from; day <= span.to && days.length < 367; day = later(day, 1)) days.push(day);
  const currencies = revenue.totals.map((one) => one.net.currency);
  return {
    title: t("staff.place.sales"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.sales"), t("staff.sales.about", { zone })),
      filters([
        field("from", t("staff.bulk.from"), { type: "date", value: span.from }),
        field("to", t("staff.bulk.to"), { type: "date", value: span.to }),
        field("by", t("staff.sales.by"), { options: ["day", "movie", "showtime"].map((one) => [one, t(`staff.sales.by-${one}`)]), value: span.by }),
      ], go),
      partly(revenue.items),
      partly(occupancy),
      totals(revenue, occupancy),
      (currencies.length ? currencies : [defaultCurrency()]).map((currency) => earned(revenue.items.filter((one) => one.net.currency === currency), currency, span, days)),
      filled(occupancy, span, days),
    ),
  };
}

async function report({ from, to, by, zone }) {
  const items = await everything("/v1/admin/reports/revenue", { from, to, by, timeZone: zone });
  return { ...items.first, items };
}

function seats({ from, to, zone }) {
  const [begin, end] = [instant(from, "00:00", zone), instant(later(to, 1), "00:00", zone)];
  return everything("/v1/admin/reports/occupancy", { from: begin.toISOString(), to: new Date(end - 1).toISOString() });
}

function totals({ totals }, occupancy) {
  const open = occupancy.filter((one) => one.status === "ON_SALE");
  const sum = (key) => open.reduce((sum, one) => sum + one[key], 0);
  const tile = (label, value, about) => h("div", { class: "card tile" }, h("span", { class: "soft" }, label), h("b", {}, value), about && h("small", { class: "soft" }, about));
  return h(
    "div",
    { class: "tiles" },
    totals.map((one) => tile(t("staff.sales.net"), money(one.net), t("staff.sales.net-about", { gross: money(one.gross), refunded: money(one.refunded) }))),
    totals.length === 0 && tile(t("staff.sales.net"), money({ amount: 0, currency: defaultCurrency() })),
    tile(t("staff.sales.tickets"), number(totals.reduce((sum, one) => sum + one.tickets, 0))),
    tile(t("staff.sales.full"), percent(sum("capacity") ? sum("sold") / sum("capacity") : 0), t("staff.sold-of", { sold: number(sum("sold")), capacity: number(sum("capacity")) })),
    tile(t("staff.sales.shows"), number(open.length)),
  );
}

/** Small shares are shown with one decimal: 0.4 %. */
const percent = (value) => number(value, { style: "percent", maximumFractionDigits: value < 0.1 ? 1 : 0 });

const dayLabel = (date) => {
  const { day, month } = dateParts(date);
  return `${day} ${month}`;
};

function earned(lines, currency, { by, zone }, days) {
  const none = { net: { amount: 0, currency }, gross: { amount: 0, currency }, refunded: { amount: 0, currency }, disputed: { amount: 0, currency }, tickets: 0 };
  const full = by === "day" ? days.map((day) => lines.find((one) => one.day === day) ?? { ...none, day }) : lines.toSorted((a, b) => b.net.amount - a.net.amount);
  const name = (one) => (by === "day" ? dayLabel(one.day) : by === "movie" ? (one.movieTitle ?? "–") : `${one.movieTitle ?? ""} ${one.startsAt ? moment(one.startsAt, zone) : ""}`);
  const best = full.reduce((best, one) => (!best || one.net.amount > best.net.amount ? one : best), null);
  const sum = full.reduce((sum, one) => sum + one.net.amount, 0);
  return chart({
    title: t("staff.sales.revenue"),
    summary: sum ? t("staff.sales.revenue-summary", { total: money({ amount: sum, currency }), best: name(best), most: money(best.net) }) : t("staff.sales.none"),
    items: sum ? full.map((one) => ({ label: name(one), value: one.net.amount, text: money(one.net), short: briefMoney(one.net) })) : [],
    lying: by !== "day",
    table: table(t("staff.sales.revenue"), [
      [t(`staff.sales.by-${by}`), name],
      [t("staff.sales.gross"), (one) => money(one.gross), "number"],
      [t("staff.sales.refunded"), (one) => money(one.refunded), "number"],
      [t("staff.sales.disputed"), (one) => money(one.disputed), "number"],
      [t("staff.sales.net"), (one) => money(one.net), "number"],
      [t("staff.sales.tickets"), (one) => number(one.tickets), "number"],
    ], full),
  });
}

function filled(shows, { by, zone }, days) {
  const open = shows.filter((one) => one.status === "ON_SALE");
  const key = (one) => (by === "day" ? dateOf(one.startsAt, zone) : by === "movie" ? one.movieTitle : one.showtimeId);
  const groups = Map.groupBy(open, key);
  const line = (name, some) => {
    const sum = (what) => some.reduce((sum, one) => sum + one[what], 0);
    return { name, sold: sum("sold"), held: sum("held"), capacity: sum("capacity"), shows: some.length };
  };
  const lines = by === "day"
    ? days.map((day) => line(dayLabel(day), groups.get(day) ?? []))
    : [...groups.values()].map((some) => line(by === "movie" ? some[0].movieTitle : `${some[0].movieTitle} ${moment(some[0].startsAt, zone)}`, some)).sort((a, b) => b.sold / b.capacity - a.sold / a.capacity);
  const share = (one) => (one.capacity ? one.sold / one.capacity : 0);
  const best = lines.reduce((best, one) => (!best || share(one) > share(best) ? one : best), null);
  return chart({
    title: t("staff.sales.occupancy"),
    summary: best && best.sold ? t("staff.sales.occupancy-summary", { best: best.name, most: percent(share(best)) }) : t("staff.sales.none"),
    items: best?.sold ? lines.map((one) => ({ label: one.name, value: share(one), text: percent(share(one)) })) : [],
    most: 1,
    lying: by !== "day",
    table: table(t("staff.sales.occupancy"), [
      [t(`staff.sales.by-${by}`), (one) => one.name],
      [t("staff.sales.shows"), (one) => number(one.shows), "number"],
      [t("staff.sales.sold"), (one) => number(one.sold), "number"],
      [t("staff.sales.held"), (one) => number(one.held), "number"],
      [t("staff.sales.capacity"), (one) => number(one.capacity), "number"],
      [t("staff.sales.full"), (one) => percent(share(one)), "number"],
    ], lines),
  });
}

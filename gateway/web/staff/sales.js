// Sales: revenue and occupancy by day, movie or showtime, as charts with tables.

import { now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { defaultCurrency } from "../lib/currencies.js";
import { briefMoney, dateOf, dateParts, isDate, later, moment, money, number } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
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
  const span = { from: isDate(query.from) ? query.from : later(today, -6), to: isDate(query.to) ? query.to : later(today, 7), by: query.by ?? "day", zone };
  const [revenue, occupancy] = await Promise.all([report(span), seats(span)]);
  const days = [];
  for (let day = span.from; day <= span.to && days.length < 367; day = later(day, 1)) days.push(day);
  const currencies = revenue.totals.map((item) => item.net.currency);
  return {
    title: t("staff.place.sales"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.sales"), t("staff.sales.about", { zone })),
      filters([
        field("from", t("staff.bulk.from"), { type: "date", value: span.from }),
        field("to", t("staff.bulk.to"), { type: "date", value: span.to }),
        field("by", t("staff.sales.by"), { options: ["day", "movie", "showtime"].map((kind) => [kind, t(`staff.sales.by-${kind}`)]), value: span.by }),
      ], go),
      partly(revenue.items),
      partly(occupancy),
      totals(revenue, occupancy),
      (currencies.length ? currencies : [defaultCurrency()]).map((currency) => earned(revenue.items.filter((item) => item.net.currency === currency), currency, span, days)),
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
  const open = occupancy.filter((item) => item.status === "ON_SALE");
  const sum = (key) => open.reduce((sum, item) => sum + item[key], 0);
  const tile = (label, value, about) => h("div", { class: "card tile" }, h("span", { class: "soft" }, label), h("b", {}, value), about && h("small", { class: "soft" }, about));
  return h(
    "div",
    { class: "tiles" },
    totals.map((item) => tile(t("staff.sales.net"), money(item.net), t("staff.sales.net-about", { gross: money(item.gross), refunded: money(item.refunded) }))),
    totals.length === 0 && tile(t("staff.sales.net"), money({ amount: 0, currency: defaultCurrency() })),
    tile(t("staff.sales.tickets"), number(totals.reduce((sum, item) => sum + item.tickets, 0))),
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
  const full = by === "day" ? days.map((day) => lines.find((item) => item.day === day) ?? { ...none, day }) : lines.toSorted((a, b) => b.net.amount - a.net.amount);
  const name = (item) => (by === "day" ? dayLabel(item.day) : by === "movie" ? (item.movieTitle ?? "–") : `${item.movieTitle ?? ""} ${item.startsAt ? moment(item.startsAt, zone) : ""}`);
  const best = full.reduce((best, item) => (!best || item.net.amount > best.net.amount ? item : best), null);
  const sum = full.reduce((sum, item) => sum + item.net.amount, 0);
  return chart({
    title: t("staff.sales.revenue"),
    summary: sum ? t("staff.sales.revenue-summary", { total: money({ amount: sum, currency }), best: name(best), most: money(best.net) }) : t("staff.sales.none"),
    items: sum ? full.map((item) => ({ label: name(item), value: item.net.amount, text: money(item.net), short: briefMoney(item.net) })) : [],
    lying: by !== "day",
    table: table(t("staff.sales.revenue"), [
      [t(`staff.sales.by-${by}`), name],
      [t("staff.sales.gross"), (item) => money(item.gross), "number"],
      [t("staff.sales.refunded"), (item) => money(item.refunded), "number"],
      [t("staff.sales.disputed"), (item) => money(item.disputed), "number"],
      [t("staff.sales.net"), (item) => money(item.net), "number"],
      [t("staff.sales.tickets"), (item) => number(item.tickets), "number"],
    ], full),
  });
}

function filled(shows, { by, zone }, days) {
  const open = shows.filter((item) => item.status === "ON_SALE");
  const key = (item) => (by === "day" ? dateOf(item.startsAt, zone) : by === "movie" ? item.movieTitle : item.showtimeId);
  const groups = groupBy(open, key);
  const group = (name, members) => {
    const sum = (what) => members.reduce((sum, item) => sum + item[what], 0);
    return { name, sold: sum("sold"), held: sum("held"), capacity: sum("capacity"), shows: members.length };
  };
  const lines = by === "day"
    ? days.map((day) => group(dayLabel(day), groups.get(day) ?? []))
    : [...groups.values()].map((members) => group(by === "movie" ? members[0].movieTitle : `${members[0].movieTitle} ${moment(members[0].startsAt, zone)}`, members)).sort((a, b) => b.sold / b.capacity - a.sold / a.capacity);
  const share = (item) => (item.capacity ? item.sold / item.capacity : 0);
  const best = lines.reduce((best, item) => (!best || share(item) > share(best) ? item : best), null);
  return chart({
    title: t("staff.sales.occupancy"),
    summary: best && best.sold ? t("staff.sales.occupancy-summary", { best: best.name, most: percent(share(best)) }) : t("staff.sales.none"),
    items: best?.sold ? lines.map((item) => ({ label: item.name, value: share(item), text: percent(share(item)) })) : [],
    most: 1,
    lying: by !== "day",
    table: table(t("staff.sales.occupancy"), [
      [t(`staff.sales.by-${by}`), (item) => item.name],
      [t("staff.sales.shows"), (item) => number(item.shows), "number"],
      [t("staff.sales.sold"), (item) => number(item.sold), "number"],
      [t("staff.sales.held"), (item) => number(item.held), "number"],
      [t("staff.sales.capacity"), (item) => number(item.capacity), "number"],
      [t("staff.sales.full"), (item) => percent(share(item)), "number"],
    ], lines),
  });
}

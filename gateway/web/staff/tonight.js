// The start page of staff: today's showtimes with what is sold, free and earned, today's money, and what needs a person.

import { isPast, now } from "../lib/clock.js";
import { defaultCurrency } from "../lib/currencies.js";
import { h, replace } from "../lib/dom.js";
import { dateOf, dateParts, later, money, number, time } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { t } from "../lib/text.js";
import { message } from "../parts/notice.js";
import { instant } from "./clock.js";
import { badge, chunks, everything, fresh, head, poll } from "./listing.js";

/** Milliseconds between reads. */
const EVERY = 30_000;
/** Showtimes that begin until then belong to the evening before. */
const NIGHT_ENDS = "04:00";
/** Days before, to which the money of a show is counted: the longest report. */
const SOLD_BEFORE_DAYS = 366;

export default async function tonight({ signal }) {
  const halls = await fresh("/v1/auditoriums", { pageSize: 1 }, { signal });
  const zone = halls.items[0]?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const today = () => dateOf(now(), zone);
  const body = h("div", { class: "stack" });
  const draw = async () => {
    const [day, needs] = await Promise.all([read(today(), zone, signal), needed(signal)]);
    // Drawn again only when no link has the focus, so that a key press reaches the link it was meant for.
    if (!body.contains(document.activeElement)) replace(body, attention(needs), tiles(day), shows(day));
  };
  await draw();
  return {
    title: t("staff.place.tonight"),
    onShow: () => poll(draw, EVERY, signal),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.tonight"), dateParts(today()).long,
        h("a", { class: "button main", href: "/door" }, t("staff.place.door")),
        h("a", { class: "button", href: "/staff/showtimes" }, t("staff.place.showtimes"))),
      body,
    ),
  };
}

async function read(date, zone, signal) {
  const [from, to] = [instant(date, "00:00", zone), instant(later(date, 1), NIGHT_ENDS, zone)];
  const listed = everything("/v1/showtimes", { from: from.toISOString(), to: to.toISOString() });
  const [showtimes, occupancy, revenue, earned] = await Promise.all([
    listed,
    everything("/v1/admin/reports/occupancy", { from: from.toISOString(), to: to.toISOString() }),
    fresh("/v1/admin/reports/revenue", { from: date, to: date, by: "day", timeZone: zone }, { signal }),
    listed.then((shows) => earnedBy(shows, date, zone)),
  ]);
  const sold = new Map(occupancy.map((item) => [item.showtimeId, item]));
  return { shows: showtimes.map((item) => ({ ...item, ...(sold.get(item.id) ?? { capacity: 0, sold: 0, held: 0 }), earned: earned.get(item.id) ?? [] })), totals: revenue.totals };
}

/** The money of these shows by their ids, a sum for each currency, on whatever day it was paid. */
async function earnedBy(shows, date, zone) {
  const report = (some) => everything("/v1/admin/reports/revenue", { by: "showtime", from: later(date, -SOLD_BEFORE_DAYS), to: date, timeZone: zone, showtimeIds: some.map(({ id }) => id).join(",") });
  const lines = (await Promise.all(chunks(shows).map(report))).flat();
  return new Map([...groupBy(lines, (line) => line.showtimeId)].map(([id, sums]) => [id, sums.map(({ net }) => net)]));
}

/** What waits for a person: `[text, address]` each. A part that cannot be read is one of them. */
async function needed(signal) {
  const count = async (key, href, path, query) => {
    try {
      const { total } = await fresh(path, { ...query, pageSize: 1 }, { signal });
      return total > 0 && [t(`staff.tonight.${key}`, { n: total }), href];
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      return [t("staff.tonight.away"), "/staff/operations"];
    }
  };
  const found = await Promise.all([
    count("orders", "/staff/operations?state=needs-attention", "/v1/admin/sagas", { state: "needs-attention" }),
    count("mails", "/staff/mails?status=FAILED", "/v1/notifications", { status: "FAILED" }),
    count("letters", "/staff/letters", "/v1/admin/dead-letters", {}),
  ]);
  return [...new Map(found.filter(Boolean)).entries()];
}

function attention(needs) {
  if (!needs.length) return message("good", t("staff.tonight.fine"));
  return message("bad", t("staff.tonight.needs"), h("ul", {}, needs.map(([text, href]) => h("li", {}, h("a", { href }, text)))));
}

function tiles({ shows, totals }) {
  const open = shows.filter((show) => show.status === "ON_SALE");
  const sum = (key) => open.reduce((sum, show) => sum + show[key], 0);
  const tile = (label, value, about) => h("div", { class: "card tile" }, h("span", { class: "soft" }, label), h("b", {}, value), about && h("small", { class: "soft" }, about));
  const share = sum("capacity") ? sum("sold") / sum("capacity") : 0;
  const earned = totals.length ? totals : [{ net: { amount: 0, currency: defaultCurrency() } }];
  return h(
    "div",
    { class: "tiles tonight-tiles" },
    tile(t("staff.sales.shows"), number(open.length)),
    tile(t("staff.tonight.sold"), number(sum("sold")), t("staff.sold-of", { sold: number(share, { style: "percent", maximumFractionDigits: 0 }), capacity: number(sum("capacity")) })),
    tile(t("staff.tonight.free"), number(sum("capacity") - sum("sold") - sum("held")), sum("held") > 0 && t("staff.tonight.held", { n: sum("held") })),
    earned.map((item) => tile(t("staff.tonight.earned"), money(item.net), t("staff.tonight.earned-about"))),
  );
}

function shows({ shows }) {
  if (!shows.length) return h("p", { class: "card" }, t("staff.tonight.none"), " ", h("a", { href: "/staff/showtimes" }, t("staff.place.showtimes")));
  return h("ol", { class: "tonight", role: "list", "aria-label": t("staff.sales.shows") }, shows.map(row));
}

function row(show) {
  const isOff = show.status === "CANCELLED";
  const state = isOff ? "off" : isPast(show.endsAt) ? "past" : isPast(show.startsAt) ? "now" : "to-come";
  const free = show.capacity - show.sold - show.held;
  const earned = show.earned.length ? show.earned : [{ amount: 0, currency: defaultCurrency() }];
  const words = [t("staff.tonight.of", { sold: number(show.sold), capacity: number(show.capacity) }), t("staff.tonight.left", { n: free }), show.held > 0 && t("staff.tonight.held", { n: show.held }), t("staff.tonight.show-earned", { total: earned.map(money).join(", ") })];
  return h(
    "li",
    { class: "card", dataset: { state } },
    h("p", { class: "tonight-time" }, h("b", {}, time(show.startsAt, show.timeZone)), h("small", { class: "soft" }, `– ${time(show.endsAt, show.timeZone)}`)),
    h("div", { class: "tonight-film" }, h("strong", {}, show.movieTitle), h("span", { class: "soft" }, show.auditoriumName)),
    h("div", { class: "tonight-full" },
      isOff ? badge(t("staff.showtimes.off"), "bad") : [h("span", { class: "bar", "aria-hidden": "true", style: { "--full": String(show.capacity ? (show.sold + show.held) / show.capacity : 0) } }), h("span", {}, words.filter(Boolean).join(" · "))],
      state === "now" && badge(t("staff.tonight.now"), "good")),
    h("p", { class: "row" },
      !isOff && h("a", { class: "button small", href: `/showtimes/${show.id}` }, t("staff.showtimes.seats")),
      h("a", { class: "button small", href: `/staff/orders?showtimeId=${show.id}` }, t("staff.showtimes.orders"))),
  );
}

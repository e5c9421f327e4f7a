// Orders: search by number, customer, showtime or state.

import { all } from "../lib/api.js";
import { readCode, shownCode } from "../lib/code.js";
import { h } from "../lib/dom.js";
import { list, moment, money } from "../lib/format.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { partly, message } from "../parts/notice.js";
import { badge, chunks, everything, filters, fresh, head, pager, table } from "./listing.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** The most customers that a search by name offers. */
const PEOPLE_MOST = 8;
const LOOK = { PENDING: "warn", CONFIRMED: "good", CANCELLED: "", REFUNDED: "" };

export const statusBadge = (status) => badge(t(`tickets.status.${status}`), LOOK[status]);

export default async function orders({ query, signal }) {
  const who = (query.who ?? "").trim();
  const found = UUID.test(who) ? who : await orderOf(who, signal);
  if (found) {
    await go(`/staff/orders/${found}`, { instead: true });
    return undefined;
  }
  const people = who ? await all("/v1/users", { email: who }, { most: PEOPLE_MOST, signal, cache: "no-cache" }) : [];
  const userId = query.userId ?? (people.length === 1 ? people[0].id : undefined);
  const isLost = who && !userId;
  const page = isLost ? null : await fresh("/v1/reservations", { status: query.status, when: query.when, showtimeId: query.showtimeId, userId, page: query.page, pageSize: 25 }, { signal });
  const [zones, customers] = page ? await Promise.all([zonesOf(page.items), peopleOf(page.items.map((order) => order.userId))]) : [];
  const columns = [
    [t("staff.orders.number"), (order) => h("a", { href: `/staff/orders/${order.id}` }, shownCode(order.code))],
    [t("staff.order.who"), (order) => [customers.get(order.userId)?.name ?? order.customer?.name, h("p", { class: "soft" }, order.email)]],
    [t("staff.film"), (order) => order.movieTitle],
    [t("staff.when"), (order) => moment(order.startsAt, zones.get(order.showtimeId) ?? "UTC")],
    [t("order.seats"), (order) => list(order.seats)],
    [t("order.total"), (order) => money(order.total), "number"],
    [t("staff.state"), (order) => [statusBadge(order.status), order.attention && [" ", badge(t("staff.attention"), "bad")]]],
    [t("staff.made"), (order) => moment(order.createdAt, zones.get(order.showtimeId) ?? "UTC")],
  ];
  return {
    title: t("staff.place.orders"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.orders")),
      filters([
        field("who", t("staff.orders.who"), { type: "search", value: who, hint: t("staff.orders.who-hint") }),
        field("status", t("staff.state"), { options: [["", t("staff.all")], ...["PENDING", "CONFIRMED", "CANCELLED", "REFUNDED"].map((status) => [status, t(`tickets.status.${status}`)])], value: query.status }),
        field("when", t("staff.when"), { options: [["", t("staff.all")], ["upcoming", t("tickets.upcoming")], ["past", t("staff.orders.past")]], value: query.when }),
        query.showtimeId && h("input", { type: "hidden", name: "showtimeId", value: query.showtimeId }),
        query.userId && h("input", { type: "hidden", name: "userId", value: query.userId }),
      ], go),
      (query.showtimeId || query.userId) && h("p", { class: "row" }, badge(t(query.showtimeId ? "staff.orders.of-showtime" : "staff.orders.of-person")), h("a", { href: "/staff/orders" }, t("staff.orders.clear"))),
      isLost && (people.length ? h("div", { class: "card stack" }, h("p", {}, t("staff.orders.which")), h("ul", { class: "stack", role: "list" }, people.map((person) => h("li", {}, h("a", { href: `/staff/orders?userId=${person.id}` }, `${person.name} · ${person.email}`)))), partly(people)) : message("warn", t("staff.orders.nobody", { who }))),
      page && table(t("staff.place.orders"), columns, page.items),
      page && pager(page, query),
    ),
  };
}

/** The id of the order with this code, or undefined. A name may look like a code. */
async function orderOf(who, signal) {
  const code = readCode(who);
  const [order] = code ? await all("/v1/reservations", { code }, { signal, cache: "no-cache" }) : [];
  return order?.id;
}

/** The accounts with these ids, by id; without those that cannot be read. */
export async function peopleOf(ids) {
  const wanted = [...new Set(ids.filter(Boolean))];
  const found = await Promise.all(chunks(wanted).map((some) => everything("/v1/users", { ids: some.join(",") }).catch(() => [])));
  return new Map(found.flat().map((person) => [person.id, person]));
}

/** The time zone of each order's auditorium. */
async function zonesOf(orders) {
  const ids = [...new Set(orders.map((order) => order.showtimeId))];
  const found = await Promise.all(ids.map((id) => fresh(`/v1/showtimes/${id}`).catch(() => null)));
  return new Map(found.filter(Boolean).map((showtime) => [showtime.id, showtime.timeZone]));
}

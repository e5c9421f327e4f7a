// Unpaid holds by account, most seats first, to find accounts that block a showtime.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/text.js";
import { badge, fresh, head, pager, table } from "./listing.js";

/** An account with this many holds that ended unpaid within a day is highlighted. */
const UNPAID_MANY = 5;

export default async function holds({ query, signal }) {
  const page = await fresh("/v1/admin/holds", { page: query.page, pageSize: 25 }, { signal });
  const unpaid = (one) => (one.unpaidEnded >= UNPAID_MANY ? badge(number(one.unpaidEnded), "warn") : number(one.unpaidEnded));
  const columns = [
    [t("login.email"), (one) => h("a", { href: `/staff/orders?userId=${one.userId}` }, one.email)],
    [t("staff.holds.seats"), (one) => number(one.seats), "number"],
    [t("staff.holds.orders"), (one) => number(one.holds), "number"],
    [t("staff.holds.unpaid"), unpaid, "number"],
    [t("staff.holds.networks"), (one) => one.networks.join(", ") || "–"],
  ];
  return {
    title: t("staff.place.holds"),
    node: h("div", { class: "stack" }, head(t("staff.place.holds"), t("staff.holds.about")), table(t("staff.place.holds"), columns, page.items, t("staff.holds.none")), pager(page, query)),
  };
}

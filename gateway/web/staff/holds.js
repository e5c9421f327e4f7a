// Unpaid holds by account, most seats first, to find accounts that block a showtime.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/text.js";
import { badge, fresh, head, pager, table } from "./listing.js";

/** An account with this many holds that ended unpaid within a day is highlighted. */
const UNPAID_MANY = 5;

export default async function holds({ query, signal }) {
  const page = await fresh("/v1/admin/holds", { page: query.page, pageSize: 25 }, { signal });
  const unpaid = (account) => (account.unpaidEnded >= UNPAID_MANY ? badge(number(account.unpaidEnded), "warn") : number(account.unpaidEnded));
  const columns = [
    [t("login.email"), (account) => h("a", { href: `/staff/orders?userId=${account.userId}` }, account.email || account.userId)],
    [t("staff.holds.seats"), (account) => number(account.seats), "number"],
    [t("staff.holds.orders"), (account) => number(account.holds), "number"],
    [t("staff.holds.unpaid"), unpaid, "number"],
    [t("staff.holds.networks"), (account) => account.networks.join(", ") || "–"],
  ];
  return {
    title: t("staff.place.holds"),
    node: h("div", { class: "stack" }, head(t("staff.place.holds"), t("staff.holds.about")), table(t("staff.place.holds"), columns, page.items, t("staff.holds.none")), pager(page, query)),
  };
}

// Dead letters: messages that their consumer could not handle, oldest first.

import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/text.js";
import { fresh, head, pager, table } from "./listing.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function letters({ query, signal }) {
  const page = await fresh("/v1/admin/dead-letters", { page: query.page, pageSize: 25 }, { signal });
  const columns = [
    [t("staff.letters.number"), (one) => h("a", { href: `/staff/letters/${one.sequence}` }, String(one.sequence))],
    [t("staff.letters.subject"), (one) => h("code", {}, one.subject)],
    [t("staff.letters.consumer"), (one) => one.consumer],
    [t("staff.letters.reason"), (one) => one.reason],
    [t("staff.mails.tries"), (one) => one.attempts, "number"],
    [t("staff.letters.parked"), (one) => moment(one.parkedAt, zone)],
  ];
  return {
    title: t("staff.place.letters"),
    node: h("div", { class: "stack" }, head(t("staff.place.letters"), t("staff.letters.about")), table(t("staff.place.letters"), columns, page.items, t("staff.letters.none")), pager(page, query)),
  };
}

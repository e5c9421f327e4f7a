// Dead letters: messages that their consumer could not handle, oldest first.

import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/text.js";
import { fresh, head, pager, table, technical } from "./listing.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function letters({ query, signal }) {
  const page = await fresh("/v1/admin/dead-letters", { page: query.page, pageSize: 25 }, { signal });
  const columns = [
    [t("staff.letters.number"), (letter) => h("a", { href: `/staff/letters/${letter.sequence}` }, String(letter.sequence))],
    [t("staff.letters.subject"), (letter) => h("code", {}, letter.subject)],
    [t("staff.letters.consumer"), (letter) => letter.consumer],
    [t("staff.letters.reason"), (letter) => letter.reason],
    [t("staff.mails.tries"), (letter) => letter.attempts, "number"],
    [t("staff.letters.parked"), (letter) => moment(letter.parkedAt, zone)],
  ];
  return {
    title: t("staff.place.letters"),
    node: h("div", { class: "stack" }, head(t("staff.place.letters"), t("staff.letters.about")), technical("letters"), table(t("staff.place.letters"), columns, page.items, t("staff.letters.none")), pager(page, query)),
  };
}

// Records of the audit as a table: when, what, by whom. Only the owner may read them; for others there is none.

import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { isOwner } from "../lib/session.js";
import { t } from "../lib/text.js";
import { fresh, table } from "./listing.js";

/** Records that are shown of each kind. */
const SHOWN = 10;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The latest records of these kinds, newest first; none for who may not read them. */
export async function auditOf(kinds, signal) {
  if (!isOwner()) return [];
  const read = (kind) => fresh("/v1/admin/audit", { kind, pageSize: SHOWN }, { signal }).then((page) => page.items, () => []);
  const found = (await Promise.all(kinds.map(read))).flat();
  return found.sort((a, b) => b.at.localeCompare(a.at)).slice(0, SHOWN);
}

/** A section with the records, or nothing without any. `columns` stand between the time and the acting person; `name(id)` names that one. */
export function auditTable(title, records, columns, name) {
  return records.length > 0 && h("section", { class: "stack" }, h("h2", {}, title), table(title, [
    [t("staff.when"), (record) => moment(record.at, zone)],
    ...columns,
    [t("staff.people.by"), (record) => name(record.actorId)],
  ], records));
}

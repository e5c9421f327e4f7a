// Accounts: search, orders, roles, disabling, erasing. Roles, disabling and the erasure of staff are for SUPER_ADMIN.

import { put } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { dateOf, plainDate } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { isOwner, user } from "../lib/session.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field } from "../parts/form.js";
import { notice, problemText } from "../parts/notice.js";
import { auditOf, auditTable } from "./audited.js";
import { erase } from "./erase.js";
import { badge, filters, fresh, head, pager, table } from "./listing.js";

const ROLES = ["USER", "ADMIN", "SUPER_ADMIN"];
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function people({ query, signal }) {
  const [page, audit] = await Promise.all([
    fresh("/v1/users", { email: query.email, page: query.page, pageSize: 25 }, { signal }),
    auditOf(["ROLE_CHANGED"], signal),
  ]);
  const columns = [
    // One column, so that a phone shows more than the two of them.
    [t("staff.name"), (account) => [account.name, h("p", { class: "soft" }, account.email), !account.emailVerified && h("p", { class: "soft" }, t("staff.people.unproven"))]],
    [t("staff.people.since"), (account) => plainDate(dateOf(account.createdAt, zone)), "whole"],
    [t("staff.people.role"), role],
    [t("staff.place.orders"), (account) => h("a", { href: `/staff/orders?userId=${account.id}` }, t("staff.people.orders")), "whole"],
    [t("staff.people.access"), access],
  ];
  const name = (id) => page.items.find((account) => account.id === id)?.email ?? id ?? "–";
  return {
    title: t("staff.place.people"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.people"), isOwner() ? t("staff.people.about") : t("staff.people.owner-only")),
      filters([field("email", t("staff.people.find"), { type: "search", value: query.email, hint: t("staff.enter") })], go),
      table(t("staff.place.people"), columns, page.items),
      pager(page, query),
      auditTable(t("staff.people.changes"), audit, [
        [t("staff.people.whom"), (record) => name(record.userId)],
        [t("staff.people.what"), (record) => Object.entries(record.details ?? {}).map(([key, value]) => `${key}: ${value}`).join(", ")],
      ], name),
    ),
  };
}

/** Whether the account is disabled; for a SUPER_ADMIN with the button that changes it. */
function access(account) {
  const state = account.disabled && badge(t("staff.people.disabled"), "bad");
  if (!isOwner()) return state || account.role === "USER" ? [state, account.role === "USER" && eraser(account)] : "–";
  const wanted = !account.disabled;
  const word = wanted ? "disable" : "enable";
  const button = h("button", { class: wanted ? "button grave" : "button", type: "button", "aria-label": t(`staff.people.${word}-of`, { name: account.name }) }, t(`staff.people.${word}`));
  button.addEventListener("click", async () => {
    if (wanted) {
      const about = [h("p", {}, t("staff.people.disable-about")), account.id === user()?.id && h("p", {}, t("staff.people.yourself"))];
      const answer = await ask(t("staff.people.disable-ask", { name: account.name }), about, [["no", t("staff.keep")], ["yes", t("staff.people.disable"), "grave"]]);
      if (answer !== "yes") return button.focus();
    }
    button.disabled = true;
    try {
      await put(`/v1/users/${account.id}/disabled`, { disabled: wanted });
      notice(t(`staff.people.${word}d-done`, { name: account.name }));
      await again();
    } catch (problem) {
      button.disabled = false;
      notice(problemText(problem), "bad");
    }
  });
  return [state, button, eraser(account)];
}

function eraser(account) {
  return h("button", { class: "button grave", type: "button", "aria-label": t("staff.people.erase-of", { name: account.name }), on: { click: () => erase(account) } }, t("staff.people.erase"));
}

function role(account) {
  const look = { ADMIN: "warn", SUPER_ADMIN: "good" }[account.role];
  if (!isOwner()) return badge(t(`staff.role.${account.role}`), look);
  const control = h("select", { class: "input", "aria-label": t("staff.people.role-of", { name: account.name }) }, ROLES.map((role) => h("option", { value: role, selected: role === account.role }, t(`staff.role.${role}`))));
  control.addEventListener("change", async () => {
    const wanted = control.value;
    const self = account.id === user()?.id;
    const about = [h("p", {}, t(`staff.role-about.${wanted}`)), h("p", {}, t("staff.people.at-once")), self && h("p", {}, t("staff.people.yourself"))];
    const answer = await ask(t("staff.people.ask", { name: account.name, role: t(`staff.role.${wanted}`) }), about, [["no", t("staff.keep")], ["yes", t("staff.people.change"), "main"]]);
    control.value = account.role;
    if (answer !== "yes") return control.focus();
    control.disabled = true;
    try {
      const changed = await put(`/v1/users/${account.id}/role`, { role: wanted });
      notice(t("staff.people.changed", { name: changed.name, role: t(`staff.role.${changed.role}`) }));
      await again();
    } catch (problem) {
      control.disabled = false;
      notice(problemText(problem), "bad");
    }
  });
  return control;
}

// Accounts: search, orders, roles, disabling. Roles and disabling are for SUPER_ADMIN.

import { put } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { isOwner, user } from "../lib/session.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field } from "../parts/form.js";
import { notice, words } from "../parts/notice.js";
import { badge, filters, fresh, head, pager, table } from "./listing.js";

const ROLES = ["USER", "ADMIN", "SUPER_ADMIN"];
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function people({ query, signal }) {
  const [page, audit] = await Promise.all([
    fresh("/v1/users", { email: query.email, page: query.page, pageSize: 25 }, { signal }),
    isOwner() ? fresh("/v1/admin/audit", { kind: "ROLE_CHANGED", pageSize: 10 }, { signal }).catch(() => null) : null,
  ]);
  const columns = [
    [t("staff.name"), (one) => one.name],
    [t("login.email"), (one) => [one.email, !one.emailVerified && h("p", { class: "soft" }, t("staff.people.unproven"))]],
    [t("staff.people.since"), (one) => moment(one.createdAt, zone)],
    [t("staff.people.role"), role],
    [t("staff.place.orders"), (one) => h("a", { href: `/staff/orders?userId=${one.id}` }, t("staff.people.orders"))],
    [t("staff.people.access"), access],
  ];
  const name = (id) => page.items.find((one) => one.id === id)?.email ?? id ?? "–";
  return {
    title: t("staff.place.people"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.people"), isOwner() ? t("staff.people.about") : t("staff.people.owner-only")),
      filters([field("email", t("staff.people.find"), { type: "search", value: query.email, hint: t("staff.enter") })], go),
      table(t("staff.place.people"), columns, page.items),
      pager(page, query),
      audit?.items.length > 0 && h("section", { class: "stack" }, h("h2", {}, t("staff.people.changes")), table(t("staff.people.changes"), [
        [t("staff.when"), (one) => moment(one.at, zone)],
        [t("staff.people.whom"), (one) => name(one.userId)],
        [t("staff.people.what"), (one) => Object.entries(one.details ?? {}).map(([key, value]) => `${key}: ${value}`).join(", ")],
        [t("staff.people.by"), (one) => name(one.actorId)],
      ], audit.items)),
    ),
  };
}

/** Whether the account is disabled; for a SUPER_ADMIN with the button that changes it. */
function access(one) {
  const state = one.disabled && badge(t("staff.people.disabled"), "bad");
  if (!isOwner()) return state || "–";
  const wanted = !one.disabled;
  const word = wanted ? "disable" : "enable";
  const button = h("button", { class: wanted ? "button grave" : "button", type: "button", "aria-label": t(`staff.people.${word}-of`, { name: one.name }) }, t(`staff.people.${word}`));
  button.addEventListener("click", async () => {
    if (wanted) {
      const about = [h("p", {}, t("staff.people.disable-about")), one.id === user()?.id && h("p", {}, t("staff.people.yourself"))];
      const answer = await ask(t("staff.people.disable-ask", { name: one.name }), about, [["no", t("staff.keep")], ["yes", t("staff.people.disable"), "grave"]]);
      if (answer !== "yes") return button.focus();
    }
    button.disabled = true;
    try {
      await put(`/v1/users/${one.id}/disabled`, { disabled: wanted });
      notice(t(`staff.people.${word}d-done`, { name: one.name }));
      await again();
    } catch (problem) {
      button.disabled = false;
      notice(words(problem), "bad");
    }
  });
  return [state, button];
}

function role(one) {
  const look = { ADMIN: "warn", SUPER_ADMIN: "good" }[one.role];
  if (!isOwner()) return badge(t(`staff.role.${one.role}`), look);
  const control = h("select", { class: "input", "aria-label": t("staff.people.role-of", { name: one.name }) }, ROLES.map((role) => h("option", { value: role, selected: role === one.role }, t(`staff.role.${role}`))));
  control.addEventListener("change", async () => {
    const wanted = control.value;
    const self = one.id === user()?.id;
    const about = [h("p", {}, t(`staff.role-about.${wanted}`)), h("p", {}, t("staff.people.at-once")), self && h("p", {}, t("staff.people.yourself"))];
    const answer = await ask(t("staff.people.ask", { name: one.name, role: t(`staff.role.${wanted}`) }), about, [["no", t("staff.keep")], ["yes", t("staff.people.change"), "main"]]);
    control.value = one.role;
    if (answer !== "yes") return control.focus();
    control.disabled = true;
    try {
      const changed = await put(`/v1/users/${one.id}/role`, { role: wanted });
      notice(t("staff.people.changed", { name: changed.name, role: t(`staff.role.${changed.role}`) }));
      await again();
    } catch (problem) {
      control.disabled = false;
      notice(words(problem), "bad");
    }
  });
  return control;
}

// The address of a guest's order: asked before paying, and corrected afterwards.

import { newKey, patch, put } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { money } from "../lib/format.js";
import { loginHere } from "../lib/router.js";
import { loadTexts, t } from "../lib/text.js";
import { emailField } from "./account-fields.js";
import { field, form } from "./form.js";
import { notice } from "./notice.js";

/** The form that asks for the address and then calls `pay(order)`; the account is the second way. `due` is what is paid. */
export async function customerForm(order, due, pay) {
  await loadTexts("wrong");
  const name = field("name", t("guest.name"), { autocomplete: "name", maxlength: 100 });
  const made = form({
    fields: [emailField({ hint: t("guest.email-hint"), autocomplete: "email" }), name],
    label: t("pay.action", { total: money(due) }),
    work: async ({ email, name }) => {
      const changed = await put(`/v1/reservations/${order.id}/customer`, { email: email.trim(), name: name.trim() || undefined }, { key: newKey() });
      await pay(changed);
    },
  });
  const account = h("p", {}, h("a", { href: loginHere() }, t("guest.log-in")));
  return h("section", { class: "stack", "aria-label": t("guest.title") }, h("h2", {}, t("guest.title")), made, h("p", { class: "soft" }, t("pay.how")), account);
}

/** The form that sends the tickets to another address; calls `done(order)`. */
export async function addressForm(order, done) {
  await loadTexts("wrong");
  return form({
    fields: [emailField({ value: order.customer?.email, autocomplete: "email" })],
    label: t("guest.correct-action"),
    work: async ({ email }) => {
      const changed = await patch(`/v1/reservations/${order.id}`, { email: email.trim() }, { key: newKey() });
      notice(t("guest.corrected", { email: changed.email }));
      done(changed);
    },
  });
}

// Erases a person who asked for it: an account, or a guest on the page of an order. The reason is for the audit.

import { post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { message, notice } from "../parts/notice.js";
import { sheet } from "./listing.js";

/** `person`: `{id, name}`. */
export function erase({ id, name }) {
  const made = form({
    fields: [
      message("warn", t("staff.people.erase-about"), h("p", {}, t("privacy.open"))),
      field("reason", t("staff.people.erase-reason"), { required: true, maxlength: 200, autocomplete: "off" }),
    ],
    label: t("staff.people.erase"),
    work: async ({ reason }) => {
      await post(`/v1/users/${id}/erase`, { reason: reason.trim() });
      close();
      notice(t("staff.people.erase-done"));
      await again();
    },
  });
  made.querySelector("[type=submit]").classList.replace("main", "grave");
  const { close } = sheet(t("staff.people.erase-ask", { name }), made);
}

// Requests the link to reset a password. The page does not reveal whether the account exists.

import { post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { emailField } from "../parts/account-fields.js";
import { form } from "../parts/form.js";
import { message } from "../parts/notice.js";

export default async function forgot() {
  const place = h("div", { class: "stack" });
  const asked = form({
    fields: [emailField()],
    label: t("forgot.action"),
    work: async ({ email }) => {
      await post("/v1/auth/password/forgot", { email: email.trim() });
      replace(place, message("good", t("forgot.sent"), h("p", {}, t("forgot.sent-text", { email: email.trim() }))));
    },
  });
  place.append(h("p", {}, t("forgot.text")), asked);
  return { title: t("forgot.title"), node: h("div", { class: "narrow stack" }, h("h1", { tabindex: "-1" }, t("forgot.title")), place) };
}

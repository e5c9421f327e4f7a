// The page of a mail's link: sets a new password with the link's token, and logs in.

import { h } from "../lib/dom.js";
import { go, note } from "../lib/router.js";
import { resetPassword } from "../lib/session.js";
import { t } from "../lib/text.js";
import { newPasswordField } from "../parts/account-fields.js";
import { form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";

export default async function reset({ query }) {
  const { token } = query;
  // The token is as secret as a password: remove it from the address and the history.
  if (token) note({});
  const title = h("h1", { tabindex: "-1" }, t("reset.title"));
  if (!token) {
    return {
      title: t("reset.title"),
      node: h("div", { class: "narrow stack" }, title, message("bad", t("reset.no-token")), h("a", { class: "button main", href: "/forgot" }, t("reset.ask"))),
    };
  }
  return {
    title: t("reset.title"),
    node: h(
      "div",
      { class: "narrow stack" },
      title,
      form({
        fields: [newPasswordField("password", t("reset.password"))],
        label: t("reset.action"),
        work: async ({ password }) => {
          await resetPassword(token, password);
          await go("/", { instead: true });
          notice(t("reset.done"));
        },
      }),
      h("p", {}, h("a", { href: "/forgot" }, t("reset.ask"))),
    ),
  };
}

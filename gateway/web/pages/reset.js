// The page of a mail's link: sets a new password with the link's token.

import { setSession, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { go, note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
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
        fields: [field("password", t("reset.password"), { type: "password", autocomplete: "new-password", required: true, hint: t("register.password-hint") })],
        label: t("reset.action"),
        work: async ({ password }) => {
          await post("/v1/auth/password/reset", { token, password });
          // The server has ended every login of this account, so this page's login is removed too.
          setSession(null);
          notice(t("reset.done"));
          go("/login", { instead: true });
        },
      }),
      h("p", {}, h("a", { href: "/forgot" }, t("reset.ask"))),
    ),
  };
}

// Where a mail's link leads: a new password, by the link's token.

import { keep, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { go, note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice, say } from "../parts/notice.js";

export default async function reset({ query }) {
  const { token } = query;
  // It is as good as a password: not in the history, not on a screenshot.
  if (token) note({});
  const title = h("h1", { tabindex: "-1" }, t("reset.title"));
  if (!token) {
    return {
      title: t("reset.title"),
      node: h("div", { class: "narrow stack" }, title, say("bad", t("reset.no-token")), h("a", { class: "button main", href: "/forgot" }, t("reset.ask"))),
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
          // The house ended every login of this account: the page must not go on as if it had one.
          keep(null);
          notice(t("reset.done"));
          go("/login", { instead: true });
        },
      }),
      h("p", {}, h("a", { href: "/forgot" }, t("reset.ask"))),
    ),
  };
}

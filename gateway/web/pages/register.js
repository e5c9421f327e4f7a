// Registers an account, which also logs in.

import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { register } from "../lib/session.js";
import { t } from "../lib/text.js";
import { emailField, nameField, newPasswordField } from "../parts/account-fields.js";
import { form } from "../parts/form.js";
import { message, notice, problemText } from "../parts/notice.js";
import { inside } from "./login.js";

export default async function open({ query }) {
  const to = inside(query.to);
  return {
    title: t("register.title"),
    node: h(
      "div",
      { class: "narrow stack" },
      h("h1", { tabindex: "-1" }, t("register.title")),
      to.startsWith("/showtimes/") && message("", t("register.for-seats")),
      form({
        fields: [
          nameField(t("register.name")),
          emailField(),
          newPasswordField("password", t("login.password")),
        ],
        label: t("register.action"),
        busy: t("register.busy"),
        work: async ({ name, email, password }) => {
          const problem = await register(name.trim(), email.trim(), password, query.order);
          if (problem) notice(problemText(problem), "bad");
          go(to, { instead: true });
        },
      }),
      h("p", {}, h("a", { href: `/login?to=${encodeURIComponent(to)}${query.order ? `&order=${encodeURIComponent(query.order)}` : ""}` }, t("register.login"))),
    ),
  };
}

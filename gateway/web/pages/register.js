// Registers an account, which also logs in.

import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { register } from "../lib/session.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { message } from "../parts/notice.js";
import { inside } from "./login.js";

export default async function open({ query }) {
  const to = inside(query.to);
  return {
    title: t("register.title"),
    node: h(
      "div",
      { class: "narrow stack" },
      h("h1", { tabindex: "-1" }, t("register.title")),
      to.startsWith("/showtimes/") && message("", t("login.for-seats")),
      form({
        fields: [
          field("name", t("register.name"), { autocomplete: "name", required: true }),
          field("email", t("login.email"), { type: "email", autocomplete: "username", required: true, inputmode: "email" }),
          field("password", t("login.password"), { type: "password", autocomplete: "new-password", required: true, hint: t("register.password-hint") }),
        ],
        label: t("register.action"),
        busy: t("register.busy"),
        work: async ({ name, email, password }) => {
          await register(name.trim(), email.trim(), password);
          go(to, { instead: true });
        },
      }),
      h("p", {}, h("a", { href: `/login?to=${encodeURIComponent(to)}` }, t("register.login"))),
    ),
  };
}
